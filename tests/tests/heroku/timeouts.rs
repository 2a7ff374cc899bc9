//! Status lines, time, chunk parsing, tunnels.

use busbar_registry::{Millis, Routing};
use it::{Dyno, Router, Wire, fakes, fakes::ok};

use super::{GET, get, post, post_chunked, seen_by_client, seen_by_dyno};

/// Short enough that no test waits long, long enough that no machine is that slow between two lines of one.
const SOON: Millis = Millis(200);

#[test]
fn s109_a_status_needs_no_phrase() {
    for line in ["421", "421 ", "421 Misdirected Request"] {
        let response = seen_by_client(format!("HTTP/1.1 {line}\r\nContent-Length: 2\r\n\r\nok"));
        assert_eq!((response.status(), response.text().as_str()), (421, "ok"));
    }
}

#[test]
fn s110_no_first_byte_in_time_is_h12() {
    let dyno = fakes::says_nothing();
    let mut router = Router::with(dyno.address, |routing| routing.first_byte_timeout_ms = SOON);
    let mut client = router.client();
    client.send(GET);
    assert_eq!(client.response().status(), 503);
    let line = router.line();
    assert_eq!((line.get("code"), line.get("desc"), line.get("dyno")), ("H12", "Request timeout", "web.1"));
    assert!(line.number("service") >= SOON.0, "{line:?}");
}

#[test]
fn s110_the_first_byte_is_awaited_from_when_the_whole_request_was_sent() {
    let dyno = Dyno::listening();
    let mut router = Router::with(dyno.address, |routing| routing.first_byte_timeout_ms = Millis(0));
    let (mut slow, mut quick) = (router.client(), router.client());
    slow.send(post("Content-Length: 5\r\n", "hell"));
    let mut wire = dyno.accept();
    wire.head();
    assert_eq!(wire.exactly(4), b"hell");
    quick.send(GET); // begun later, sent whole, and over before the other one
    assert_eq!((quick.response().status(), router.code().as_str()), (503, "H12"));
    slow.is_quiet();
    slow.send("o");
    assert_eq!(wire.exactly(1), b"o");
    assert_eq!((slow.response().status(), router.code().as_str()), (503, "H12"));
}

fn idle_soon(routing: &mut Routing) {
    routing.idle_timeout_ms = SOON;
}

#[test]
fn s110_a_dyno_silent_in_mid_response_is_h15() {
    let dyno = Dyno::listening();
    let mut router = Router::with(dyno.address, idle_soon);
    let mut client = router.client();
    client.send(GET);
    let mut wire = dyno.accept();
    wire.request();
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
    assert_eq!(client.head().status(), 200);
    assert_eq!(client.rest(), b"12345");
    wire.is_closed();
    let line = router.line();
    assert_eq!((line.get("code"), line.number("status")), ("H15", 200));
}

#[test]
fn s110_a_client_silent_in_its_body_is_h28() {
    let dyno = Dyno::listening();
    let mut router = Router::with(dyno.address, idle_soon);
    let mut client = router.client();
    client.send(post("Content-Length: 10\r\n", "12345"));
    let mut wire = dyno.accept();
    wire.head();
    assert_eq!(wire.exactly(5), b"12345");
    client.is_closed();
    wire.is_closed();
    let line = router.line();
    assert_eq!((line.get("code"), line.number("status")), ("H28", 499));
}

#[test]
fn s110_a_head_that_is_not_finished_in_time_is_408() {
    let dyno = Dyno::listening();
    let soon = |options: &mut router_core::server::ServerOptions| options.head_timeout = SOON.duration();
    let mut router = Router::start_with(it::App::new([dyno.address]), soon);
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: ");
    assert_eq!(client.response().status(), 408);
    client.is_closed();
    assert_eq!(router.line().number("status"), 408);
}

#[test]
fn s110_an_idle_client_is_closed_without_a_word() {
    let dyno = fakes::answers("ok");
    let soon = |options: &mut router_core::server::ServerOptions| options.keepalive_timeout = SOON.duration();
    let router = Router::start_with(it::App::new([dyno.address]), soon);
    let mut client = router.client();
    client.send(GET);
    assert_eq!(client.response().text(), "ok");
    client.is_closed();
}

/// Fails unless this chunked body is refused, whether it comes at once or byte by byte.
fn is_bad(body: &str) {
    for drip in [false, true] {
        let dyno = Dyno::listening();
        let mut router = Router::to(dyno.address);
        let mut client = router.client();
        client.send(post_chunked(""));
        if drip {
            body.bytes().for_each(|byte| client.try_send([byte]));
        } else {
            client.send(body);
        }
        assert_eq!(client.response().status(), 400, "{body:?}");
        assert_eq!(router.code(), "H26", "{body:?}");
        let mut wire = dyno.accept();
        assert!(!wire.rest().ends_with(b"0\r\n\r\n"), "the dyno was told that the body is whole");
    }
}

#[test]
fn s111_a_bad_size_line_is_refused() {
    for body in [
        "01\n\r\n0\r\n\r\n",
        "c\r\r\n0\r\n\r\n",
        "\r\n0\r\n\r\n",
        "-1\r\n0\r\n\r\n",
        "0x1\r\n0\r\n\r\n",
        "g\r\n0\r\n\r\n",
    ] {
        is_bad(body);
    }
    is_bad("10000000000000000\r\n0\r\n\r\n");
}

#[test]
fn s111_bad_ends_are_refused() {
    is_bad("1\r\naX0\r\n\r\n");
    is_bad("1\r\na\n0\r\n\r\n");
    is_bad("0\r\n1\r\na\r\n0\r\n\r\n");
    is_bad("0\r\nGET / HTTP/1.1\r\nHost: app.test\r\n\r\n");
    is_bad("0\r\nX-Folded: a\r\n b\r\n\r\n");
}

#[test]
fn s111_every_byte_may_come_alone() {
    let dyno = Dyno::listening();
    let router = Router::to(dyno.address);
    let mut client = router.client();
    client.drip(post_chunked("A;x=\"y\"\r\n\r\n0\r\n\r\n1\r\n\r\n0\r\nX-Quoted: \"a,b\"\r\n\r\n"));
    let mut wire = dyno.accept();
    let request = wire.request();
    assert_eq!(request.text(), "\r\n0\r\n\r\n1\r\n");
    assert_eq!(request.trailers(), [("X-Quoted".to_owned(), "\"a,b\"".to_owned())]);
    wire.send(ok("done"));
    assert_eq!(client.response().text(), "done");
}

#[test]
fn s111_a_stream_cut_anywhere_reads_the_same() {
    let request = post_chunked("3\r\nabc\r\n2;ext\r\nd\r\r\n0\r\nX-T: 1\r\n\r\n") + &get("X-Next: 1\r\n");
    let dyno = fakes::echoes();
    let router = Router::to(dyno.address);
    for cut in 1..request.len() {
        let mut client = router.client();
        let (start, end) = request.split_at(cut);
        client.send(start);
        client.send(end);
        for (body, method) in [("abcd\r", "POST"), ("", "GET")] {
            let echo: serde_json::Value = serde_json::from_slice(&client.response().body).unwrap();
            assert_eq!((&echo["body"], &echo["method"]), (&body.into(), &method.into()), "cut at {cut}");
        }
    }
}

#[test]
fn s111_a_large_chunk_passes() {
    let body = format!("{:x}\r\n{}\r\n0\r\n\r\n", 100_000, "x".repeat(100_000));
    assert_eq!(seen_by_dyno(post_chunked(&body)).body.len(), 100_000);
}

fn upgraded(change: impl FnOnce(&mut Routing)) -> (Router, Wire, Wire) {
    let dyno = Dyno::listening();
    let router = Router::with(dyno.address, change);
    let mut client = router.client();
    client.send(get("Connection: Upgrade\r\nUpgrade: echo\r\n"));
    let mut wire = dyno.accept();
    wire.head();
    wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    assert_eq!(client.head().status(), 101);
    (router, client, wire)
}

#[test]
fn s112_a_tunnel_carries_bytes_both_ways() {
    let (mut router, mut client, mut wire) = upgraded(|_| {});
    for _ in 0..3 {
        client.send("ping");
        assert_eq!(wire.exactly(4), b"ping");
        wire.send("pong");
        assert_eq!(client.exactly(4), b"pong");
    }
    drop(client);
    wire.is_closed();
    drop(wire);
    let line = router.line();
    assert_eq!((line.get("code"), line.number("status")), ("", 101));
}

#[test]
fn s112_an_idle_tunnel_is_h15_and_closes_both() {
    let (mut router, mut client, mut wire) = upgraded(idle_soon);
    client.is_closed();
    wire.is_closed();
    assert_eq!(router.code(), "H15");
}
