//! Into another dyno, or the runtime.

use std::{
    collections::HashSet,
    fs,
    net::TcpListener,
    os::linux::net::SocketAddrExt as _,
    os::unix::net::{SocketAddr, UnixListener},
};

use dyno_runtime::Formation;

use crate::{all_refused, attempts, full, full_house, root, support::House};

/// A web dyno with everything somebody could want to reach.
const NEIGHBOUR: &str = r#"
import http.server, os, socket
abstract = socket.socket(socket.AF_UNIX)
abstract.bind("\0busbar-neighbour")
abstract.listen()
open("/tmp/secret", "w").write("x")
open("/app/secret", "w").write("x")
print("neighbour is", os.getpid(), flush=True)
http.server.test(http.server.SimpleHTTPRequestHandler, port=int(os.environ["PORT"]))
"#;

#[tokio::test]
async fn f32_a_dyno_reaches_neither_another_dyno_nor_the_machine_nor_the_runtime() {
    if !root() {
        return;
    }
    let neighbour = full_house().await;
    fs::write(neighbour.directory.path().join("neighbour.py"), NEIGHBOUR).unwrap();
    let mut log = neighbour.run("web: exec python3 -u neighbour.py", |_| {}).await;
    log.until("to up").await;
    let status = &neighbour.runtime.ps(&neighbour.app).await.unwrap()[0];
    let (address, pid) = (status.address.unwrap(), status.pid.unwrap());
    assert!(!address.ip().is_loopback(), "{address}");

    let everywhere = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = everywhere.local_addr().unwrap().port();
    let name = format!("busbar-test-{}", std::process::id());
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let socket = neighbour.directory.path().join("control.sock");
    let _control = UnixListener::bind(&socket).unwrap();
    let tries = [
        format!("connect={address}"),
        format!("connect=169.254.1.1:{port}"),
        format!("connect=127.0.0.1:{port}"),
        format!("unix=@{name}"),
        "unix=@busbar-neighbour".into(),
        format!("unix={}", socket.display()),
        format!("kill={pid}"),
        "kill=1".into(),
        "read=/tmp/secret".into(),
        "read=/app/secret".into(),
        format!("list={}", neighbour.directory.path().display()),
        "see".into(),
    ];
    let house = full_house().await;
    let mut tried = attempts(&house, &tries.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let seen = tried.remove("see").unwrap();
    assert!(seen.split(' ').all(|pid| pid.parse::<i32>().unwrap() < 100), "only its own: {seen}");
    all_refused(&tried, &["ENETUNREACH", "TimeoutError", "ECONNREFUSED", "EPERM", "ENOENT", "ESRCH"]);
    assert_eq!(tried[&format!("kill={pid}")], "ESRCH");
    house.close().await;
    neighbour.close().await;
}

#[tokio::test]
async fn f32_a_dyno_that_may_call_nobody_sends_nothing_by_its_cable_but_answers() {
    if !root() {
        return;
    }
    let house = full_house().await;
    let tries =
        ["send=192.0.2.1", "send=255.255.255.255", "send=169.254.1.1", "send6=2001:db8::5", "send6=fe80::5"];
    let tried = attempts(&house, &tries).await;
    // A filter that drops says so; without IPv6 there is no way to anywhere.
    all_refused(&tried, &["EPERM", "ENETUNREACH"]);
    house.close().await;
}

#[tokio::test]
async fn f33_each_dyno_has_every_port_for_itself() {
    if !root() {
        return;
    }
    let house = House::open(full).await;
    let serve = "exec python3 -u -c 'import socket, time; s = socket.create_server((\"\", 5000)); print(\"has it\"); time.sleep(600)'";
    let mut log = house.run(&format!("one: {serve}\ntwo: {serve}"), |_| {}).await;
    log.until_nth(2, "has it").await;
    house.close().await;
}

#[tokio::test]
async fn f38_no_two_dynos_that_live_have_a_user_or_an_address_in_common() {
    if !root() {
        return;
    }
    let house = House::open(full).await;
    let look = "worker: echo user $(id -u) $(hostname -I); exec sleep 600";
    let eight: Formation = "worker=8".parse().unwrap();
    let mut log = house.run(look, |app| app.formation = eight).await;
    log.until_nth(8, "]: user ").await;
    let words = |at: usize| -> HashSet<String> {
        log.with("]: user ").iter().map(|line| line.split(' ').nth(at).unwrap().to_owned()).collect()
    };
    assert_eq!((words(2).len(), words(3).len()), (8, 8), "{:?}", log.with("]: user "));
    house.close().await;
}
