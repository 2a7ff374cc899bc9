//! Dynos that misbehave, and what the client and the log make of it.

use busbar_registry::Millis;
use it::{
    App, Fake, Router, Wire,
    dyno::{Full, Refusing},
    fakes,
    fakes::Gate,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\r\nhello";

/// Status and code for a request to this dyno that could not be answered.
fn fault(dyno: &Fake, request: &str) -> (u16, String) {
    let mut router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(request);
    (client.response().status(), router.code())
}

/// What of the body arrives before the response breaks off, and the code.
fn breaks_off(router: &mut Router, client: &mut Wire) -> (Vec<u8>, String) {
    assert_eq!(client.head().status(), 200);
    (client.rest(), router.code())
}

#[test]
fn a_dyno_that_closes_without_a_byte_is_h13() {
    assert_eq!(fault(&fakes::closes_without_a_byte(), GET), (503, "H13".into()));
    assert_eq!(fault(&fakes::closes_without_a_byte(), POST), (503, "H13".into()));
}

#[test]
fn a_dyno_that_speaks_something_else_is_h17() {
    assert_eq!(fault(&fakes::speaks_garbage(), GET), (503, "H17".into()));
}

#[test]
fn a_dyno_that_says_100_twice_is_h17() {
    let dyno = fakes::says_100_twice();
    let mut router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(GET);
    let mut response = client.response();
    if response.status() == 100 {
        response = client.response(); // sent before the second one came
    }
    assert_eq!((response.status(), router.code().as_str()), (503, "H17"));
}

#[test]
fn a_dyno_that_sends_an_oversized_header_is_h25() {
    assert_eq!(fault(&fakes::sends_a_header_of(1 << 20), GET), (502, "H25".into()));
}

#[test]
fn a_dyno_that_closes_in_its_head_is_h18() {
    let dyno = fakes::sends_and_closes("HTTP/1.1 200 OK\r\nContent-Le");
    assert_eq!(fault(&dyno, GET), (503, "H18".into()));
}

#[test]
fn a_dyno_that_closes_in_its_body_is_h18_and_cuts_the_client() {
    let dyno = fakes::sends_half_a_response();
    let mut router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(GET);
    assert_eq!(breaks_off(&mut router, &mut client), (b"12345".to_vec(), "H18".into()));
}

#[test]
fn a_dyno_that_resets_in_its_body_is_h18_and_cuts_the_client() {
    let gate = Gate::default();
    let dyno = fakes::resets_in_the_middle(gate.clone());
    let mut router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(GET);
    assert_eq!(client.head().status(), 200);
    assert_eq!(client.exactly(5), b"12345");
    gate.open();
    client.is_closed();
    assert_eq!(router.code(), "H18");
}

#[test]
fn a_dyno_that_sends_more_than_it_said_never_answers_another_request_with_it() {
    let dyno = fakes::lies_about_its_length();
    let router = Router::to(dyno.address);
    let mut client = router.client();
    for _ in 0..5 {
        client.send(GET);
        assert_eq!(client.response().text(), "12345");
    }
}

#[test]
fn what_a_dyno_says_unasked_is_never_taken_for_an_answer() {
    let dyno = it::Dyno::listening();
    let router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(GET);
    let mut wire = dyno.accept();
    wire.request();
    wire.send(fakes::ok("first"));
    assert_eq!(client.response().text(), "first");
    wire.send(fakes::ok("evil"));
    client.send(GET);
    let mut wire = dyno.accept();
    wire.request();
    wire.send(fakes::ok("second"));
    assert_eq!(client.response().text(), "second");
}

#[test]
fn a_dyno_that_refuses_is_h21() {
    let dyno = Refusing::new();
    let mut router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(GET);
    assert_eq!(client.response().status(), 503);
    let line = router.line();
    assert_eq!((line.get("code"), line.get("desc")), ("H21", "Backend connection refused"));
}

#[test]
fn a_dyno_that_accepts_no_connection_is_h19() {
    let dyno = Full::new();
    let mut router = Router::with(dyno.address, |routing| routing.connect_timeout_ms = Millis(200));
    let mut client = router.client();
    client.send(GET);
    assert_eq!(client.response().status(), 503);
    assert_eq!(router.code(), "H19");
}

#[test]
fn a_dyno_that_accepts_no_connection_is_passed_over() {
    let (full, dyno) = (Full::new(), fakes::answers("ok"));
    let app = App::new([full.address, dyno.address]).routed(|r| r.connect_timeout_ms = Millis(100));
    let router = Router::start(app);
    let mut client = router.client();
    for _ in 0..10 {
        client.send(GET);
        assert_eq!(client.response().text(), "ok");
    }
}

#[test]
fn a_dyno_that_drips_is_heard_to_the_end() {
    let dyno = fakes::drips("drop by drop");
    let router = Router::to(dyno.address);
    let mut client = router.client();
    for _ in 0..2 {
        client.send(GET);
        assert_eq!(client.response().text(), "drop by drop");
    }
}

#[test]
fn a_dyno_that_answers_late_is_waited_for() {
    let gate = Gate::default();
    let dyno = fakes::answers_when(gate.clone());
    let router = Router::to(dyno.address);
    let (mut client, mut other) = (router.client(), router.client());
    client.send(GET);
    router.still_serves(&mut other);
    client.is_quiet();
    gate.open();
    assert_eq!(client.response().text(), "late");
}

#[test]
fn a_client_that_leaves_while_it_waits_is_h27_and_the_dyno_is_told() {
    let dyno = it::Dyno::listening();
    let mut router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(GET);
    let mut wire = dyno.accept();
    wire.request();
    drop(client);
    wire.is_closed();
    let line = router.line();
    assert_eq!((line.get("sock"), line.get("code"), line.number("status")), ("client", "H27", 499));
}

#[test]
fn a_client_that_resets_in_its_body_is_h27_and_the_dyno_is_told() {
    let dyno = it::Dyno::listening();
    let mut router = Router::to(dyno.address);
    let mut client = router.client();
    client.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 10\r\n\r\n12345");
    let mut wire = dyno.accept();
    wire.head();
    assert_eq!(wire.exactly(5), b"12345");
    client.reset();
    wire.is_closed();
    assert_eq!(router.code(), "H27");
}

#[test]
fn a_kept_connection_that_the_dyno_has_closed_is_replaced_for_a_get() {
    let dyno = it::Dyno::listening();
    let router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(GET);
    let mut wire = dyno.accept();
    wire.request();
    wire.send(fakes::ok("first"));
    assert_eq!(client.response().text(), "first");
    drop(wire);
    client.send(GET);
    let mut wire = dyno.accept();
    wire.request();
    wire.send(fakes::ok("second"));
    assert_eq!(client.response().text(), "second");
}

#[test]
fn a_post_that_a_kept_connection_has_swallowed_is_not_repeated() {
    let dyno = it::Dyno::listening();
    let mut router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(GET);
    let mut wire = dyno.accept();
    wire.request();
    wire.send(fakes::ok("first"));
    assert_eq!(client.response().text(), "first");
    assert_eq!(router.code(), "");
    client.send(POST);
    assert_eq!(wire.request().text(), "hello");
    drop(wire);
    assert_eq!(client.response().status(), 503);
    assert!(["H13", "H18"].contains(&router.code().as_str()));
    dyno.nobody_else_came();
}

#[test]
fn a_dyno_upgrades_and_echoes() {
    let dyno = fakes::upgrades_and_echoes();
    let router = Router::to(dyno.address);
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
    assert_eq!(client.head().status(), 101);
    client.send("there and back");
    assert_eq!(client.exactly(14), b"there and back");
}

#[test]
fn a_dyno_answers_in_chunks_or_until_it_closes() {
    let dyno = fakes::answers_in_chunks();
    let router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(GET);
    assert_eq!(client.response().text(), "abcdefg");
    let dyno = fakes::ends_by_closing("to the end");
    let router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(GET);
    assert_eq!(client.response().text(), "to the end");
}
