//! Clients that do not take their response: how far a dyno is freed of them, and how far not.

use it::{Dyno, Router, Wire, filler, router::App};
use std::num::NonZeroU32;

const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";
/// More than the system's buffers take.
const BIG: usize = 24 << 20;
const BUFFER: u32 = 32 << 20;

/// A router that gives its dyno one request at a time and takes so much of a response ahead of its client; the dyno
/// has a request of a client that takes nothing.
fn stalled(ahead: u32) -> (Dyno, Router, Wire, Wire) {
    let dyno = Dyno::listening();
    let router = Router::start(App::new([dyno.address]).routed(|routing| {
        routing.concurrency_per_dyno = NonZeroU32::new(1);
        routing.response_buffer_bytes = ahead;
    }));
    let mut slow = router.client();
    slow.send(GET);
    let mut wire = dyno.accept();
    wire.request();
    (dyno, router, slow, wire)
}

fn head(length: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")
}

#[test]
fn a_dyno_is_done_with_a_response_that_its_client_has_not_taken_yet() {
    let (dyno, router, mut slow, mut wire) = stalled(BUFFER);
    let body = filler(BIG);
    wire.send(head(body.len()));
    wire.send(&body); // returns when all of it was taken
    let mut next = router.client();
    next.send(GET);
    wire.request(); // over the same connection: place and connection are free
    wire.send(head(4));
    wire.send("next");
    assert_eq!(next.response().text(), "next");
    dyno.nobody_else_came();
    assert!(slow.response().body == body, "another body");
    router.still_serves(&mut slow);
}

#[test]
fn a_dyno_that_is_done_with_a_slow_clients_response_is_held_by_the_table_alone() {
    let dyno = Dyno::listening();
    let router = Router::with(dyno.address, |routing| routing.response_buffer_bytes = BUFFER);
    // Who drains a dyno waits until it is so again.
    let by_the_table = router.holders("web.1");
    let mut slow = router.client();
    slow.send(GET);
    let mut wire = dyno.accept();
    wire.request();
    assert!(router.holders("web.1") > by_the_table);
    let body = filler(BIG);
    wire.send(head(body.len()));
    wire.send(&body);
    router.until("only the table holds it", |_| router.holders("web.1") == by_the_table);
    assert!(slow.response().body == body, "another body");
}

#[test]
fn chunks_that_were_taken_ahead_arrive_as_they_were() {
    let (_dyno, router, mut slow, mut wire) = stalled(BUFFER);
    let chunk = filler(70_000);
    let chunks = BIG / chunk.len();
    wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..chunks {
        wire.send(format!("{:x}\r\n", chunk.len()));
        wire.send(&chunk);
        wire.send("\r\n");
    }
    wire.send("0\r\n\r\n");
    let mut next = router.client();
    next.send(GET);
    wire.request();
    wire.send(head(0));
    next.response();
    let taken = slow.response().body;
    assert!(taken == chunk.repeat(chunks), "another body");
    router.still_serves(&mut slow);
}

#[test]
fn no_more_is_taken_ahead_than_the_app_allows() {
    let (_dyno, router, mut slow, mut wire) = stalled(0);
    let body = filler(BIG);
    let length = body.len();
    let sends = std::thread::spawn(move || {
        wire.send(head(length));
        wire.send(&body);
        wire
    });
    let mut next = router.client();
    next.send(GET);
    router.waits_until(1);
    assert!(!sends.is_finished(), "all of it was taken");
    assert_eq!(slow.response().body.len(), length);
    let mut wire = sends.join().expect("it sent all");
    wire.request();
    wire.send(head(0));
    next.response();
}
