//! Where a response's body ends, and that a connection about which there is any doubt is never used again: a client
//! must not get another one's response.

use it::{Dyno, Router, Wire, fakes::ok, message::latin1, router::no_keepalive};

use super::{get, post, sent};

/// Whether the dyno's connection is used for the next request, which is answered in any case.
fn is_reused(dyno: &Dyno, router: &Router, wire: &mut Wire) -> bool {
    let mut next = router.client();
    next.send(get("X-Next: 1\r\n"));
    let reused = wire.has_more();
    if reused {
        assert_eq!(wire.request().get("X-Next"), Some("1"));
        wire.send(ok("next"));
    } else {
        let mut new = dyno.accept();
        assert_eq!(new.request().get("X-Next"), Some("1"));
        new.send(ok("next"));
    }
    assert_eq!(next.response().text(), "next");
    reused
}

#[test]
fn a_length_that_is_no_plain_number_is_h25() {
    for length in [
        "",
        "+2",
        "-2",
        "0x2",
        "2 2",
        "2, 2",
        "2,3",
        "2;",
        "two",
        "2 ",
        "9223372036854775808",
        "18446744073709551618",
        "2\r\nContent-Length: 3",
        "3\r\nContent-Length: 2",
        "2\r\nContent-Length: x",
    ] {
        let (dyno, mut router, mut client, mut wire) = sent(get(""));
        wire.request();
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nok"));
        assert_eq!(client.response().status(), 502, "{length:?}");
        client.is_closed();
        assert!(wire.rest().is_empty(), "{length:?}");
        let line = router.line();
        assert_eq!(
            (line.get("code"), line.get("desc")),
            ("H25", "HTTP restriction: invalid content length"),
            "{length:?}"
        );
        dyno.nobody_else_came();
    }
}

#[test]
fn a_coding_that_is_not_one_chunked_is_h17() {
    for coding in [
        "",
        ",",
        "gzip",
        "identity",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "chunked;q=1",
        "\"chunked\"",
        "xchunked",
        "chunked\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: identity",
    ] {
        let (dyno, mut router, mut client, mut wire) = sent(get(""));
        wire.request();
        wire.send(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n2\r\nok\r\n0\r\n\r\n"));
        assert_eq!(client.response().status(), 503, "{coding:?}");
        client.is_closed();
        assert!(wire.rest().is_empty(), "{coding:?}");
        assert_eq!(router.code(), "H17", "{coding:?}");
        dyno.nobody_else_came();
    }
}

#[test]
fn a_response_with_a_length_and_a_coding_is_chunked_loses_its_length_and_its_connection() {
    for fields in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 999\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
    ] {
        let (dyno, router, mut client, mut wire) = sent(get(""));
        wire.request();
        wire.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n2\r\nok\r\n0\r\n\r\n"));
        let response = client.response();
        assert_eq!((response.text().as_str(), response.get("Content-Length")), ("ok", None), "{fields}");
        assert!(!is_reused(&dyno, &router, &mut wire), "{fields}");
    }
}

#[test]
fn a_doubtful_response_is_passed_on_and_its_connection_is_not_used_again() {
    for (label, request, response) in [
        (
            "chunks in HTTP/1.0",
            get(""),
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("HTTP/1.0", get(""), "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("close", get(""), "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
        (
            "close among others",
            get(""),
            "HTTP/1.1 200 OK\r\nConnection: keep-alive, Close\r\nContent-Length: 0\r\n\r\n",
        ),
        ("more than its length", get(""), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokX"),
        ("a line break behind its length", get(""), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n"),
        ("more than its chunks", get(""), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX"),
        (
            "two responses",
            get(""),
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        ),
        ("a body in a 204", get(""), "HTTP/1.1 204 No Content\r\n\r\nbody"),
        ("a 204 with a length", get(""), "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n"),
        ("a 204 with a coding", get(""), "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("a body in a 304", get(""), "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nbody"),
        (
            "a body to HEAD",
            get("").replace("GET", "HEAD"),
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
        ),
        (
            "chunks to HEAD",
            get("").replace("GET", "HEAD"),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
    ] {
        let (dyno, router, mut client, mut wire) = sent(request);
        wire.request();
        wire.send(response);
        assert!(matches!(client.head().status(), 200 | 204 | 304), "{label}");
        assert!(!is_reused(&dyno, &router, &mut wire), "{label}");
    }
}

#[test]
fn nothing_of_a_body_that_must_not_be_there_reaches_the_client() {
    for (label, request, response, expected) in [
        (
            "HEAD",
            get("").replace("GET", "HEAD"),
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
            "Content-Length: 4\r\n",
        ),
        ("204", get(""), "HTTP/1.1 204 No Content\r\n\r\nevil", ""),
        ("304", get(""), "HTTP/1.1 304 Not Modified\r\n\r\nevil", ""),
    ] {
        let (_dyno, router, mut client, mut wire) = sent(request);
        wire.request();
        wire.send(response);
        let head = latin1(&client.until(b"\r\n\r\n"));
        assert!(head.contains(expected), "{label}: {head}");
        router.still_serves(&mut client);
    }
}

#[test]
fn a_sound_response_leaves_its_connection_for_the_next_request() {
    for (label, response) in [
        ("a length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-A: b\r\n\r\n"),
        ("204", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("304 with a length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 40\r\n\r\n"),
        (
            "HTTP/1.0 with keep-alive",
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        ),
    ] {
        let (dyno, router, mut client, mut wire) = sent(get(""));
        wire.request();
        wire.send(response);
        let _body = client.response();
        router.still_serves(&mut client);
        assert!(is_reused(&dyno, &router, &mut wire), "{label}");
    }
}

#[test]
fn what_a_dyno_says_while_its_connection_is_kept_never_answers_anybody() {
    for unasked in [
        "X",
        "\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 408 Request Timeout\r\n\r\n",
    ] {
        let (dyno, router, mut client, mut wire) = sent(get(""));
        wire.request();
        wire.send(ok("first"));
        assert_eq!(client.response().text(), "first");
        wire.send(unasked);
        router.still_serves(&mut client);
        assert!(!is_reused(&dyno, &router, &mut wire), "{unasked:?}");
    }
}

#[test]
fn a_body_until_close_ends_by_closing_and_a_reset_is_no_end() {
    let (_dyno, mut router, mut client, mut wire) = sent(get(""));
    wire.request();
    wire.send("HTTP/1.1 200 OK\r\n\r\nto the end");
    drop(wire);
    let response = client.response();
    assert_eq!((response.text().as_str(), response.connection_has("close")), ("to the end", true));
    assert_eq!(router.code(), "");

    let (_dyno, mut router, mut client, mut wire) = sent(get(""));
    wire.request();
    wire.send("HTTP/1.1 200 OK\r\n\r\nto the");
    assert_eq!(client.head().status(), 200);
    assert_eq!(client.exactly(6), b"to the");
    wire.reset();
    client.is_closed();
    assert_eq!(router.code(), "H18");
}

#[test]
fn an_http_1_0_dyno_that_keeps_its_word_is_read_by_length() {
    let (_dyno, router, mut client, mut wire) = sent(get(""));
    wire.request();
    wire.send("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.response().text(), "ok");
    router.still_serves(&mut client);
}

#[test]
fn a_response_before_the_request_is_whole_costs_both_connections() {
    let (dyno, router, mut client, mut wire) = sent(post("Content-Length: 10\r\n", "01234"));
    wire.head();
    assert_eq!(wire.exactly(5), b"01234");
    wire.send(ok("early"));
    let response = client.response();
    assert_eq!((response.text().as_str(), response.connection_has("close")), ("early", true));
    client.try_send(["56789", &get("X-Smuggled: 1\r\n")].concat());
    client.is_closed();
    assert!(!is_reused(&dyno, &router, &mut wire));
}

#[test]
fn without_keepalive_the_dyno_is_told_and_its_connection_closed() {
    let dyno = Dyno::listening();
    let router = Router::with(dyno.address, no_keepalive);
    let mut client = router.client();
    client.send(get(""));
    let mut wire = dyno.accept();
    assert!(wire.request().connection_has("close"));
    wire.send(ok("ok"));
    assert_eq!(client.response().text(), "ok");
    wire.is_closed();
    router.still_serves(&mut client);
}
