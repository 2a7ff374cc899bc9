//! One after the other: pipelining, `100 Continue`, responses before their request is whole, upgrades.

use std::io::Write as _;

use busbar_registry::Routing;
use it::{Dyno, Router, Wire, fakes, fakes::ok};

use super::{get, post, post_chunked, sent};

const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let dyno = fakes::echoes();
    let router = Router::to(dyno.address);
    let mut client = router.client();
    let requests: String = (0..50)
        .map(|n| match n % 3 {
            0 => format!("GET /{n} HTTP/1.1\r\nHost: app.test\r\n\r\n"),
            1 => format!("POST /{n} HTTP/1.1\r\nHost: app.test\r\nContent-Length: 3\r\n\r\na{n:02}"),
            _ => format!("POST /{n} HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na{n:02}\r\n0\r\n\r\n"),
        })
        .collect();
    client.send(requests);
    for n in 0..50 {
        let text = client.response().text();
        assert!(text.contains(&format!("\"target\":\"/{n}\"")), "{n}: {text}");
        assert!(n % 3 == 0 || text.contains(&format!("\"body\":\"a{n:02}\"")), "{n}: {text}");
    }
}

#[test]
fn a_pipelined_request_waits_for_the_response_before_it() {
    let (dyno, _router, mut client, mut wire) = sent(get("X-N: 1\r\n") + &get("X-N: 2\r\n"));
    assert_eq!(wire.request().get("X-N"), Some("1"));
    dyno.nobody_else_came();
    wire.is_quiet();
    wire.send(ok("one"));
    assert_eq!(client.response().text(), "one");
    assert_eq!(wire.request().get("X-N"), Some("2"));
    wire.send(ok("two"));
    assert_eq!(client.response().text(), "two");
}

#[test]
fn behind_an_error_or_a_close_nothing_is_served() {
    for (label, request, answers) in [
        ("a flaw", get("X-A : b\r\n"), 1),
        ("close", get("Connection: close\r\n"), 1),
        ("HTTP/1.0", get("").replace("HTTP/1.1", "HTTP/1.0"), 1),
        ("a good one, then a flaw", get("") + &get("X-A : b\r\n"), 2),
    ] {
        let dyno = fakes::answers("ok");
        let router = Router::to(dyno.address);
        let mut client = router.client();
        client.try_send(request + &get("X-Late: 1\r\n"));
        let text = it::message::latin1(&client.rest());
        assert_eq!(text.matches("HTTP/1.1 ").count(), answers, "{label}: {text}");
        drop(router);
        let received = dyno.received().concat();
        assert!(!it::message::latin1(&received).contains("X-Late"), "{label}");
    }
}

#[test]
fn bytes_behind_a_body_are_the_next_request_and_nothing_else() {
    let dyno = fakes::echoes();
    let router = Router::to(dyno.address);
    for body in ["5\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"] {
        let mut client = router.client();
        client.send(post_chunked(body) + "GET /next HTTP/1.1\r\nHost: app.test\r\n\r\n");
        assert!(client.response().text().contains("hello"));
        assert!(client.response().text().contains("/next"));
    }
    let mut client = router.client();
    client.send(post("Content-Length: 5\r\n", "helloGET /next HTTP/1.1\r\nHost: app.test\r\n\r\n"));
    assert!(client.response().text().contains("\"body\":\"hello\""));
    assert!(client.response().text().contains("/next"));
}

fn end_to_end(routing: &mut Routing) {
    routing.answer_continue = false;
}

/// A router that leaves `100 Continue` to the dyno, or not; a client that has sent this; the dyno's end.
fn expecting(end: bool, fields: &str, body: &str) -> (Dyno, Router, Wire, Wire) {
    let dyno = Dyno::listening();
    let router = Router::with(dyno.address, |routing| {
        if end {
            end_to_end(routing);
        }
    });
    let mut client = router.client();
    client.send(post(&format!("Expect: 100-continue\r\n{fields}"), body));
    let mut wire = dyno.accept();
    assert_eq!(wire.head().get("Expect"), end.then_some("100-continue"));
    (dyno, router, client, wire)
}

fn gets_100(client: &mut Wire) {
    assert_eq!(client.exactly(CONTINUE.len()), CONTINUE.as_bytes());
}

const FRAMINGS: [(&str, &str); 2] =
    [("Content-Length: 5\r\n", "hello"), ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n")];

#[test]
fn continue_then_the_body_then_the_response() {
    for end in [true, false] {
        for (fields, body) in FRAMINGS {
            let (_dyno, router, mut client, mut wire) = expecting(end, fields, "");
            if end {
                client.is_quiet();
                wire.send(CONTINUE);
            }
            gets_100(&mut client);
            client.send(body);
            assert_eq!(wire.exactly(body.len()), body.as_bytes());
            wire.send(ok("done"));
            assert_eq!(client.response().text(), "done");
            router.still_serves(&mut client);
        }
    }
}

#[test]
fn the_body_without_waiting_then_the_response_has_no_100_of_the_router() {
    for (fields, body) in FRAMINGS {
        let (_dyno, router, mut client, mut wire) = expecting(false, fields, body);
        assert_eq!(wire.exactly(body.len()), body.as_bytes());
        wire.send(ok("done"));
        assert_eq!(client.response().text(), "done");
        router.still_serves(&mut client);
    }
}

#[test]
fn a_final_response_in_place_of_100_closes_and_the_body_is_not_a_request() {
    let (_dyno, router, mut client, mut wire) = expecting(true, "Content-Length: 42\r\n", "");
    wire.send("HTTP/1.1 413 Too Much\r\nContent-Length: 0\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status(), response.connection_has("close")), (413, true));
    client.try_send(get("X-Smuggled: 1\r\n"));
    client.is_closed();
    wire.is_closed();
    router.still_serves(&mut router.client());
}

#[test]
fn a_refusal_of_the_router_in_place_of_100_closes_and_the_body_is_not_a_request() {
    let dyno = fakes::answers("ok");
    let router = Router::to(dyno.address);
    let mut client = router.client();
    let request =
        post("Expect: 100-continue\r\nContent-Length: 42\r\n", "").replace("app.test", "unknown.test");
    client.send(request);
    let response = client.response();
    assert_eq!((response.status(), response.connection_has("close")), (404, true));
    client.try_send(get("X-Smuggled: 1\r\n"));
    client.is_closed();
}

#[test]
fn a_100_of_the_dyno_is_not_repeated_to_a_client_that_was_answered() {
    let (_dyno, _router, mut client, mut wire) = expecting(false, "Content-Length: 5\r\n", "");
    gets_100(&mut client);
    wire.send(CONTINUE);
    client.send("hello");
    assert_eq!(wire.exactly(5), b"hello");
    wire.send(ok("done"));
    assert_eq!(client.response().text(), "done");
}

#[test]
fn a_100_with_the_response_right_behind_it_is_both() {
    let (_dyno, _router, mut client, mut wire) = expecting(true, "Content-Length: 5\r\n", "hello");
    assert_eq!(wire.exactly(5), b"hello");
    wire.send([CONTINUE.as_bytes(), &ok("done")].concat());
    gets_100(&mut client);
    assert_eq!(client.response().text(), "done");
}

#[test]
fn responses_of_1xx_without_an_end_are_h17() {
    let (_dyno, mut router, mut client, mut wire) = sent(get(""));
    wire.request();
    wire.try_send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(5000));
    client.rest();
    wire.is_closed();
    assert_eq!(router.code(), "H17");
}

#[test]
fn a_client_that_takes_no_1xx_holds_the_dyno_back() {
    let (_dyno, _router, mut client, mut wire) = sent(get(""));
    socket2::SockRef::from(&client.stream()).set_recv_buffer_size(64 << 10).expect("it can be set");
    wire.request();
    let mut stream = wire.stream();
    socket2::SockRef::from(&stream).set_send_buffer_size(64 << 10).expect("it can be set");
    let hint = format!("HTTP/1.1 103 Early Hints\r\nX-Hint: {}\r\n\r\n", "x".repeat(200_000)).repeat(90);
    stream.set_write_timeout(Some(std::time::Duration::from_millis(300))).expect("it can be set");
    let mut taken = 0;
    while let Some(Ok(n)) =
        hint.as_bytes().get(taken..).filter(|rest| !rest.is_empty()).map(|rest| stream.write(rest))
    {
        taken += n;
    }
    assert!(taken < 14_000_000, "{taken} bytes are kept somewhere");
    let dyno = std::thread::spawn(move || {
        stream.set_write_timeout(None).expect("it can be set");
        stream.write_all(hint.as_bytes().get(taken..).unwrap_or_default()).expect("it is taken now");
        stream.write_all(&ok("done")).expect("it is taken now");
    });
    for _ in 0..90 {
        assert_eq!(client.head().status(), 103);
    }
    assert_eq!(client.response().text(), "done");
    dyno.join().expect("it did not panic");
}

#[test]
fn an_early_response_to_an_endless_upload_is_relayed_whole_and_closes_both() {
    for fields in ["Content-Length: 1000000\r\n", "Transfer-Encoding: chunked\r\n"] {
        let start = if fields.starts_with('C') { "hello" } else { "5\r\nhello\r\n" };
        let (dyno, router, mut client, mut wire) = sent(post(fields, start));
        wire.head();
        wire.exactly(start.len());
        let big = "x".repeat(200_000);
        wire.send(ok(&big));
        let response = client.response();
        assert_eq!((response.text().len(), response.connection_has("close")), (200_000, true));
        client.try_send(get("X-Smuggled: 1\r\n"));
        client.is_closed();
        wire.rest();
        dyno.nobody_else_came();
        router.still_serves(&mut router.client());
    }
}

fn upgrading(fields: &str, body: &str) -> String {
    post(&format!("Connection: Upgrade\r\nUpgrade: echo\r\n{fields}"), body)
}

#[test]
fn an_upgrade_with_a_body_gives_the_dyno_the_body_first_and_then_a_tunnel() {
    for (fields, body) in FRAMINGS {
        let (_dyno, _router, mut client, mut wire) = sent(upgrading(fields, &format!("{body}ping")));
        assert_eq!(wire.request().text(), "hello");
        wire.is_quiet();
        wire.send(format!("{SWITCH}pong"));
        assert_eq!(client.head().status(), 101);
        assert_eq!(client.exactly(4), b"pong");
        assert_eq!(wire.exactly(4), b"ping");
    }
}

#[test]
fn an_upgrade_that_is_declined_is_an_ordinary_response_and_what_follows_is_a_request() {
    let (_dyno, router, mut client, mut wire) = sent(upgrading("", ""));
    wire.request();
    wire.send(ok("no"));
    assert_eq!(client.response().text(), "no");
    router.still_serves(&mut client);
}

#[test]
fn a_101_nobody_asked_for_is_h17_and_there_is_no_tunnel() {
    for (label, request) in [
        ("no upgrade", get("")),
        ("HTTP/1.0", upgrading("", "").replace("HTTP/1.1", "HTTP/1.0")),
        ("Upgrade without Connection", get("Upgrade: echo\r\n")),
        ("h2c", get("Connection: Upgrade\r\nUpgrade: h2c\r\n")),
        ("before the body", upgrading("Content-Length: 5\r\n", "he")),
    ] {
        let (_dyno, mut router, mut client, mut wire) = sent(request);
        wire.head();
        wire.send(format!("{SWITCH}{}", get("")));
        assert_eq!(client.response().status(), 503, "{label}");
        client.is_closed();
        wire.rest();
        assert_eq!(router.code(), "H17", "{label}");
    }
}

#[test]
fn a_101_keeps_what_it_upgrades_to_and_has_no_framing() {
    let (_dyno, _router, mut client, mut wire) = sent(upgrading("", ""));
    wire.request();
    wire.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nContent-Length: 5\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
    );
    let head = client.head();
    assert_eq!((head.status(), head.get("Upgrade")), (101, Some("echo")));
    assert_eq!((head.get("Content-Length"), head.get("Transfer-Encoding")), (None, None));
    client.send("ping");
    assert_eq!(wire.exactly(4), b"ping");
}
