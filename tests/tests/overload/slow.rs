//! Clients that drip: they cost bounded memory, and end in the right code.

use std::{
    thread,
    time::{Duration, Instant},
};

use busbar_registry::{Millis, Routing};
use it::{App, Dyno, PATIENCE, Router, Wire, filler};

use super::GET;

/// 1000 bytes in every 200 ms, or H28.
fn paced(routing: &mut Routing) {
    routing.min_rate = 5000;
    routing.min_rate_period_ms = Millis(200);
}

/// Sends byte after byte, never pausing for as long as `idle_timeout` or `min_rate_period`, until the router closes.
fn drips(client: &mut Wire) {
    let begin = Instant::now();
    let mut stream = client.stream();
    while std::io::Write::write_all(&mut stream, b"x").is_ok() {
        assert!(begin.elapsed() < PATIENCE, "nobody stops it");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_head_that_drips_is_408_however_steadily_it_comes() {
    let dyno = Dyno::listening();
    let mut router = Router::start_with(App::new([dyno.address]), |options| {
        options.head_timeout = Duration::from_millis(200);
    });
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: app.test\r\nX-Slow: ");
    drips(&mut client);
    let line = router.line();
    assert_eq!((line.number("status"), line.get("desc")), (408, "Bad request"), "{line:?}");
    dyno.nobody_else_came();
}

#[test]
fn a_body_that_drips_below_the_rate_is_h28_and_the_dyno_is_told() {
    let dyno = Dyno::listening();
    let mut router = Router::with(dyno.address, paced);
    let mut client = router.client();
    client.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1000000\r\n\r\n");
    let mut wire = dyno.accept();
    drips(&mut client);
    let line = router.line();
    assert_eq!((line.get("code"), line.number("status")), ("H28", 499));
    wire.rest(); // its connection is closed, too
}

#[test]
fn a_body_above_the_rate_is_served_however_long_it_takes() {
    let dyno = Dyno::listening();
    let mut router = Router::with(dyno.address, |routing| {
        routing.min_rate = 2000;
        routing.min_rate_period_ms = Millis(500);
    });
    let mut client = router.client();
    client.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 110000\r\n\r\n");
    let mut wire = dyno.accept();
    for _ in 0..110 {
        client.send(filler(1000));
        thread::sleep(Duration::from_millis(10)); // 1.1 s in all: two periods
    }
    assert_eq!(wire.request().body.len(), 110_000);
    wire.send("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(client.response().status(), 204);
    assert_eq!(router.code(), "");
}

#[test]
fn a_response_that_is_read_too_slowly_is_h28_and_holds_no_more_than_buffers() {
    let dyno = Dyno::listening();
    let mut router = Router::with(dyno.address, paced);
    let mut client = router.client();
    socket2::SockRef::from(&client.stream()).set_recv_buffer_size(4096).expect("it can be set");
    client.send(GET);
    let mut wire = dyno.accept();
    wire.request();
    wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1 << 30));
    let (mut stream, piece, mut taken) = (wire.stream(), filler(64 << 10), 0u64);
    // The dyno sends as long as somebody takes it; the client takes nothing.
    while std::io::Write::write_all(&mut stream, &piece).is_ok() {
        taken += piece.len() as u64;
    }
    assert!(taken < 64 << 20, "{taken} bytes went somewhere");
    let line = router.line();
    assert_eq!((line.get("code"), line.number("status")), ("H28", 200));
}

#[test]
fn a_request_that_takes_too_long_altogether_is_h12() {
    let dyno = Dyno::listening();
    let mut router = Router::with(dyno.address, |routing| routing.total_timeout_ms = Some(Millis(100)));
    let mut client = router.client();
    client.send(GET);
    let mut wire = dyno.accept();
    wire.request();
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    let mut stream = wire.stream();
    while std::io::Write::write_all(&mut stream, b"x").is_ok() {
        thread::sleep(Duration::from_millis(10)); // it never falls silent
    }
    client.rest();
    assert_eq!(router.code(), "H12");
}
