//! The router as a library in somebody else's program.
//!
//! - [`tower`]: behind a server of axum's, as a `tower::Service`. [`outer`]: that server.

pub(crate) mod outer;
mod tower;

use std::{
    collections::BTreeSet,
    env,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Command, Stdio},
};

use it::{Router, Wire, fakes};

/// Built by cargo together with the tests.
fn example(name: &str) -> PathBuf {
    let here = env::current_exe().expect("a test has a file");
    let target = here.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps/it-…");
    target.join("examples").join(name)
}

#[test]
fn the_embedding_example_serves_two_dynos_and_ends_in_order() {
    let (one, two) = (fakes::answers("one"), fakes::answers("two"));
    let mut program = Command::new(example("embed"))
        .args([one.address.to_string(), two.address.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("examples are built with the tests: cargo build -p router-core --examples");
    let mut said = BufReader::new(program.stdout.take().expect("it is piped")).lines();
    let mut line = || said.next().expect("it says more").expect("it says text");
    let first = line();
    let port = first.split([':', '/']).find_map(|part| part.parse().ok()).expect("it says its port");
    assert!(line().contains("web.2"));

    let mut client = Wire::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let answers: BTreeSet<_> = (0..64)
        .map(|_| {
            client.send("GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n");
            client.response().text()
        })
        .collect();
    assert_eq!(answers, BTreeSet::from(["one".to_owned(), "two".to_owned()]));

    program.stdin.take().expect("it is piped").write_all(b"\n").expect("it listens");
    assert_eq!(line(), "64 requests served, 0 connections cut");
    assert!(program.wait().expect("it ends").success());
    client.is_closed();
}

#[test]
fn the_axum_example_serves_two_dynos_and_ends_in_order() {
    let (one, two) = (fakes::answers("one"), fakes::answers("two"));
    let mut program = Command::new(example("axum"))
        .args([one.address.to_string(), two.address.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("examples are built with the tests: cargo build -p router-core --features tower --examples");
    let mut said = BufReader::new(program.stdout.take().expect("it is piped")).lines();
    let mut line = || said.next().expect("it says more").expect("it says text");
    let port = line().split([':', '/']).find_map(|part| part.parse().ok()).expect("it says its port");

    let mut client = Wire::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let mut ask = |path: &str| {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: shop.localhost\r\n\r\n"));
        client.response().text()
    };
    assert_eq!(ask("/healthz"), "fine");
    let answers: BTreeSet<_> = (0..64).map(|_| ask("/")).collect();
    assert_eq!(answers, BTreeSet::from(["one".to_owned(), "two".to_owned()]));

    drop(client);
    program.stdin.take().expect("it is piped").write_all(b"\n").expect("it listens");
    assert_eq!(line(), "64 requests served, 0 cut");
    assert!(program.wait().expect("it ends").success());
}

#[test]
fn two_routers_in_one_process_do_not_know_of_each_other() {
    let (one, two) = (fakes::answers("one"), fakes::answers("two"));
    let (first, second) = (Router::to(one.address), Router::to(two.address));
    for (router, answer) in [(&first, "one"), (&second, "two")] {
        let mut client = router.client();
        client.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n");
        assert_eq!(client.response().text(), answer);
    }
    drop(first);
    let mut client = second.client();
    client.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n");
    assert_eq!(client.response().text(), "two");
}
