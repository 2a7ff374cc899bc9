//! `Expect: 100-continue`, and other 1xx. End to end where not said otherwise.

use busbar_registry::Routing;
use it::{Dyno, Router, Wire, fakes::ok, router::no_keepalive};

use super::{GET, get, is_refused, post};

const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

/// The dyno answers `100 Continue` itself.
fn end_to_end(routing: &mut Routing) {
    routing.answer_continue = false;
    no_keepalive(routing);
}

fn expecting() -> String {
    post("Expect: 100-continue\r\nContent-Length: 5\r\n", "")
}

/// A router, a client that has sent `request`, and the dyno that has read its head.
fn sent(request: &str) -> (Dyno, Router, Wire, Wire) {
    let dyno = Dyno::listening();
    let router = Router::with(dyno.address, end_to_end);
    let mut client = router.client();
    client.send(request);
    let mut wire = dyno.accept();
    assert_eq!(wire.head().get("Expect"), request.contains("Expect").then_some("100-continue"));
    (dyno, router, client, wire)
}

fn gets_100(client: &mut Wire) {
    assert_eq!(client.exactly(CONTINUE.len()), CONTINUE.as_bytes());
}

fn ping_pong(client: &mut Wire, wire: &mut Wire) {
    client.send("ping");
    assert_eq!(wire.exactly(4), b"ping");
    wire.send("pong");
    assert_eq!(client.exactly(4), b"pong");
}

#[test]
fn s001_the_dynos_100_is_passed_on_bare_and_the_body_follows() {
    let (_dyno, router, mut client, mut wire) = sent(&expecting());
    wire.send("HTTP/1.1 100 Continue\r\nX-From: the dyno\r\n\r\n");
    gets_100(&mut client);
    client.send("hello");
    assert_eq!(wire.exactly(5), b"hello");
    wire.send(ok("done"));
    assert_eq!(client.response().text(), "done");
    wire.is_closed();
    router.still_serves(&mut client);
}

#[test]
fn s002_a_body_sent_without_waiting_for_100_is_passed_on() {
    let (_dyno, _router, mut client, mut wire) = sent(&expecting());
    client.send("hello");
    assert_eq!(wire.exactly(5), b"hello");
    wire.send(ok("done"));
    assert_eq!(client.response().text(), "done");
}

#[test]
fn s003_a_second_100_is_a_server_error() {
    let (_dyno, mut router, mut client, mut wire) = sent(&expecting());
    wire.send(CONTINUE);
    gets_100(&mut client);
    client.send("hello");
    assert_eq!(wire.exactly(5), b"hello");
    wire.send(CONTINUE);
    assert_eq!(client.response().status(), 503);
    assert_eq!(router.code(), "H17");
}

#[test]
fn s004_100_then_101_makes_a_tunnel() {
    let upgrading = "Expect: 100-continue\r\nContent-Length: 5\r\nConnection: Upgrade\r\nUpgrade: echo\r\n";
    let (_dyno, _router, mut client, mut wire) = sent(&post(upgrading, ""));
    wire.send(CONTINUE);
    gets_100(&mut client);
    client.send("hello");
    assert_eq!(wire.exactly(5), b"hello");
    wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    assert_eq!(client.head().status(), 101);
    ping_pong(&mut client, &mut wire);
}

#[test]
fn s005_101_without_100_makes_a_tunnel() {
    let (_dyno, _router, mut client, mut wire) =
        sent(&get("Expect: 100-continue\r\nConnection: Upgrade\r\nUpgrade: echo\r\n"));
    wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    assert_eq!(client.head().status(), 101);
    ping_pong(&mut client, &mut wire);
}

#[test]
fn s006_a_final_answer_before_the_body_closes_both() {
    let (_dyno, _router, mut client, mut wire) = sent(&expecting());
    wire.send(ok("no, thanks"));
    let response = client.response();
    assert_eq!((response.status(), response.text().as_str()), (200, "no, thanks"));
    assert!(response.connection_has("close"));
    client.is_closed();
    wire.is_closed();
}

#[test]
fn s007_a_final_answer_during_the_body_closes_both() {
    let (_dyno, _router, mut client, mut wire) = sent(&expecting());
    client.send("hel");
    assert_eq!(wire.exactly(3), b"hel");
    wire.send(ok("no, thanks"));
    let response = client.response();
    assert_eq!((response.status(), response.text().as_str()), (200, "no, thanks"));
    assert!(response.connection_has("close"));
    client.is_closed();
    wire.is_closed();
}

#[test]
fn s008_a_100_nobody_asked_for_is_passed_on() {
    let (_dyno, _router, mut client, mut wire) = sent(GET);
    wire.send([CONTINUE.as_bytes(), &ok("done")].concat());
    gets_100(&mut client);
    assert_eq!(client.response().text(), "done");
}

#[test]
fn s009_a_100_is_kept_from_an_http10_client() {
    let (_dyno, _router, mut client, mut wire) = sent("GET / HTTP/1.0\r\nHost: app.test\r\n\r\n");
    wire.send([CONTINUE.as_bytes(), &ok("done")].concat());
    let response = client.response();
    assert_eq!((response.status(), response.text().as_str()), (200, "done"));
}

#[test]
fn s010_another_expectation_is_417() {
    is_refused(get("Expect: whatever\r\n"), 417, "H26");
}

#[test]
fn s011_an_expectation_that_is_no_token_is_400() {
    is_refused(get("Expect: 100 continue\r\n"), 400, "H26");
}

#[test]
fn s012_by_default_the_router_says_100_and_the_dyno_never_hears_of_it() {
    let dyno = Dyno::listening();
    let router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(expecting());
    gets_100(&mut client);
    client.send("hello");
    let mut wire = dyno.accept();
    let request = wire.request();
    assert_eq!((request.get("Expect"), request.text().as_str()), (None, "hello"));
    wire.send(ok("done"));
    assert_eq!(client.response().text(), "done");
    router.still_serves(&mut client);
}

#[test]
fn s013_an_empty_expectation_expects_nothing() {
    let dyno = Dyno::listening();
    let router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(get("Expect:\r\n"));
    let mut wire = dyno.accept();
    wire.request();
    wire.send(ok("done"));
    assert_eq!(client.response().status(), 200);
}

#[test]
fn s014_an_expectation_that_begins_with_100_is_417() {
    is_refused(get("Expect: 100-stay\r\n"), 417, "H26");
}
