//! Over socket files.

use std::{
    fs,
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    time::Duration,
};

use busbar_registry::{Address, Millis};
use it::{App, Router, Wire, fakes, fakes::ok};
use router_core::server::Listener;
use tempfile::TempDir;

use super::{GET, get};

/// A directory, and a path for a socket file in it.
fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let path = directory.path().join("a.sock");
    (directory, path)
}

fn connect(path: &PathBuf) -> Wire {
    Wire::over_unix(UnixStream::connect(path).expect("somebody listens there"))
}

fn accept(dyno: &UnixListener) -> Wire {
    Wire::over_unix(dyno.accept().expect("the router comes").0)
}

#[test]
fn a_client_on_a_socket_file_is_served_and_adds_no_address() {
    let (_directory, path) = place();
    let dyno = fakes::echoes();
    let listener = Listener::bind_unix(&path, 0o640).expect("it can be made");
    assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o640);
    let mut router = Router::start_on(listener, App::new([dyno.address]), |_| {});
    let mut client = connect(&path);
    for (sent, forwarded, fwd) in [
        ("X-Forwarded-For: 192.0.2.7, 192.0.2.8\r\n", Some("192.0.2.7, 192.0.2.8"), "192.0.2.7, 192.0.2.8"),
        ("", None, ""),
    ] {
        client.send(get(sent));
        let echo: serde_json::Value = serde_json::from_slice(&client.response().body).expect("it is JSON");
        let headers = echo["headers"].as_array().expect("a list");
        let found = headers.iter().find(|header| header[0] == "X-Forwarded-For");
        assert_eq!(found.and_then(|header| header[1].as_str()), forwarded);
        assert_eq!(router.line().get("fwd"), fwd);
    }
    drop(router);
    assert!(!path.exists(), "the file goes with its router");
}

#[test]
fn a_request_that_cannot_be_read_is_refused_on_a_socket_file_too() {
    let (_directory, path) = place();
    let listener = Listener::bind_unix(&path, 0o600).expect("it can be made");
    let _router = Router::start_on(listener, App::new([] as [Address; 0]), |_| {});
    let mut client = connect(&path);
    client.send("nonsense\r\n\r\n");
    assert_eq!(client.response().status(), 400);
    client.is_closed();
}

#[test]
fn a_dyno_on_a_socket_file_is_reached_and_its_connection_is_kept() {
    let (_directory, path) = place();
    let dyno = UnixListener::bind(&path).expect("it can be made");
    let router = Router::start(App::new([Address::Unix(path.into())]));
    let mut client = router.client();
    client.send(GET);
    let mut wire = accept(&dyno);
    for answer in ["one", "two"] {
        assert_eq!(wire.request().get("X-Forwarded-For"), Some("127.0.0.1"));
        wire.send(ok(answer));
        assert_eq!(client.response().text(), answer);
        client.send(GET);
    }
    router.until("the third request is sent", |totals| (totals.dials, totals.reused) == (1, 2));
}

#[test]
fn a_socket_file_nobody_listens_at_is_h21() {
    let (_directory, path) = place();
    drop(UnixListener::bind(&path).expect("it can be made")); // the file stays
    let mut router = Router::start(App::new([Address::Unix(path.into())]));
    let mut client = router.client();
    client.send(GET);
    assert_eq!(client.response().status(), 503);
    assert_eq!(router.code(), "H21");
}

#[test]
fn a_dyno_whose_queue_is_full_for_a_moment_is_waited_for() {
    let (_directory, path) = place();
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket can be had");
    socket.bind(&socket2::SockAddr::unix(&path).expect("it fits")).expect("it can be bound");
    socket.listen(0).expect("it can listen");
    let dyno = UnixListener::from(std::os::fd::OwnedFd::from(socket));
    let _first_in_the_queue = UnixStream::connect(&path).expect("there is room for one");
    let router = Router::start(App::new([Address::Unix(path.into())]));
    let mut client = router.client();
    client.send(GET);
    router.until("it is dialled", |totals| totals.dials == 1);
    drop(accept(&dyno)); // whoever came first; now there is room
    let mut wire = accept(&dyno);
    wire.request();
    wire.send(ok("late"));
    assert_eq!(client.response().text(), "late");
}

#[test]
fn a_dyno_whose_queue_stays_full_is_h19() {
    let (_directory, path) = place();
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket can be had");
    socket.bind(&socket2::SockAddr::unix(&path).expect("it fits")).expect("it can be bound");
    socket.listen(0).expect("it can listen");
    let _first_in_the_queue = UnixStream::connect(&path).expect("there is room for one");
    let soon = Millis(100);
    let app = App::new([Address::Unix(path.into())]).routed(|routing| routing.connect_timeout_ms = soon);
    let mut router = Router::start(app);
    let mut client = router.client();
    client.send(GET);
    assert_eq!(client.response().status(), 503);
    let line = router.line();
    assert_eq!(line.get("code"), "H19");
    assert!(Duration::from_millis(line.number("connect")) >= soon.duration());
}
