//! What must not reach HTTP/1.1: each is refused, and the dyno never sees it.

use it::{App, Dyno, Wire, fakes};

use super::{
    client::Front,
    frames::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PROTOCOL_ERROR, Raw, block, field, frame, get,
        head,
    },
};

/// The outcome of a GET with this block, and what the dyno saw of it, if anything.
fn outcome(block: &[u8]) -> (Result<u16, u32>, Option<String>) {
    let dyno = fakes::echoes();
    let front = Front::clear(App::new([dyno.address]));
    let mut raw = Raw::connect(&front.router);
    raw.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, block));
    let (outcome, body) = raw.answer(1);
    let seen = (front.router.totals().dials > 0).then(|| String::from_utf8_lossy(&body).into_owned());
    (outcome, seen)
}

/// It is refused so, and the dyno is not even connected to.
#[track_caller]
fn refused(block: &[u8], how: Result<u16, u32>) {
    assert_eq!(outcome(block), (how, None), "{:?}", String::from_utf8_lossy(block));
}

const MALFORMED: Result<u16, u32> = Err(PROTOCOL_ERROR);
const PAGE: Result<u16, u32> = Ok(400);

#[test]
fn what_the_harness_sends_is_served() {
    let (outcome, seen) = outcome(&head("GET", &[("x-kept", "yes")]));
    assert_eq!(outcome, Ok(200));
    assert!(seen.expect("it was asked").contains("[\"x-kept\",\"yes\"]"));
}

#[test]
fn control_bytes_and_names_that_are_none_are_malformed() {
    for (name, value) in [
        ("x-a", "b\r\nEvil: 1"),
        ("x-a", "b\rc"),
        ("x-a", "b\nc"),
        ("x-a", "b\0c"),
        ("x-a", "b\u{7f}c"),
        ("x-a\r\nevil", "b"),
        ("x-a:", "b"),
        ("x a", "b"),
        ("X-A", "b"),
        ("x-\u{e4}", "b"),
        ("", "b"),
    ] {
        refused(&head("GET", &[(name, value)]), MALFORMED);
    }
    for path in ["/\r\nEvil: 1", "/\n", "/\0", "/ HTTP/1.1\r\nHost: evil\r\n\r\n"] {
        let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "app.test"), (":path", path)];
        refused(&block(&fields), MALFORMED);
    }
    for method in ["GET /evil HTTP/1.1\r\nx:", "GE T", "", "GET\r\n"] {
        refused(&head(method, &[]), MALFORMED);
    }
}

#[test]
fn blanks_around_a_value_are_400() {
    for value in [" b", "b ", "\tb", "b\t", " "] {
        refused(&head("GET", &[("x-a", value)]), PAGE);
    }
}

#[test]
fn headers_of_one_connection_are_malformed() {
    for (name, value) in [
        ("connection", "close"),
        ("connection", "upgrade"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("te", "trailers, deflate"),
    ] {
        refused(&head("GET", &[(name, value)]), MALFORMED);
    }
}

#[test]
fn pseudo_headers_are_there_once_first_known_and_sound() {
    let usual = [(":method", "GET"), (":scheme", "http"), (":authority", "app.test"), (":path", "/")];
    for missing in [0, 1, 3] {
        let mut fields = usual.to_vec();
        fields.remove(missing);
        refused(&block(&fields), MALFORMED);
    }
    for twice in usual {
        refused(&block(&[&usual[..], &[twice]].concat()), MALFORMED);
    }
    refused(&block(&[&usual[..], &[(":status", "200")]].concat()), MALFORMED);
    refused(&block(&[&usual[..3], &[("x-a", "b")], &usual[3..]].concat()), MALFORMED);
    refused(&block(&[&usual[..], &[(":evil", "1")]].concat()), MALFORMED);
}

#[test]
fn a_path_is_a_path() {
    let with = |method: &str, path: &str| {
        block(&[(":method", method), (":scheme", "http"), (":authority", "app.test"), (":path", path)])
    };
    refused(&with("GET", ""), MALFORMED);
    for path in ["*", "a", "http://app.test/", "http://evil.test/", "//", "?a"] {
        let (outcome, seen) = outcome(&with("GET", path));
        if path == "//" {
            assert_eq!(outcome, Ok(200), "an odd path, but one");
        } else {
            assert!(matches!(outcome, Ok(400) | Err(PROTOCOL_ERROR)), "{path}: {outcome:?}");
            assert_eq!(seen, None, "{path}");
        }
    }
    let (asterisk, seen) = outcome(&with("OPTIONS", "*"));
    assert_eq!(asterisk, Ok(200));
    assert!(seen.expect("it was asked").contains("\"target\":\"*\""));
}

#[test]
fn there_is_one_host_and_it_is_the_authority() {
    let with = |authority: &str, more: &[(&str, &str)]| {
        let first = block(&[(":method", "GET"), (":scheme", "http"), (":path", "/")]);
        let authority = if authority.is_empty() { vec![] } else { field(":authority", authority) };
        [first, authority, block(more)].concat()
    };
    for (authority, host) in [("app.test", "app.test"), ("", "app.test"), ("App.Test", "app.test")] {
        assert_eq!(outcome(&with(authority, &[("host", host)])).0, Ok(200), "{authority} {host}");
    }
    refused(&with("app.test", &[("host", "evil.test")]), PAGE);
    refused(&with("app.test", &[("host", "app.test:81")]), PAGE);
    refused(&with("app.test", &[("host", "app.test"), ("host", "evil.test")]), PAGE);
    refused(&with("", &[]), PAGE);
    for authority in
        ["user@app.test", "user:pass@app.test", "@app.test", "app.test/", "app.test#", "a b", "app.test\\"]
    {
        let (outcome, seen) = outcome(&with(authority, &[]));
        assert!(matches!(outcome, Ok(400) | Err(PROTOCOL_ERROR)), "{authority}: {outcome:?}");
        assert_eq!(seen, None, "{authority}");
    }
}

#[test]
fn a_refusal_has_a_page_and_a_line() {
    let dyno = fakes::answers("ok");
    let mut front = Front::clear(App::new([dyno.address]));
    let mut raw = Raw::connect(&front.router);
    raw.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, head("GET", &[("host", "evil.test")])));
    assert_eq!(raw.outcome(1), Ok(400));
    let line = front.router.line();
    assert_eq!((line.get("status"), line.get("protocol"), line.get("method")), ("400", "http2.0", "GET"));
}

#[test]
fn a_body_that_is_not_as_long_as_was_said_is_reset_and_its_dyno_cut() {
    for (said, pieces) in [("5", ["1234", ""]), ("5", ["123", "456"]), ("0", ["1", ""])] {
        let dyno = Dyno::listening();
        let front = Front::clear(App::new([dyno.address]));
        let mut raw = Raw::connect(&front.router);
        raw.send(frame(HEADERS, END_HEADERS, 1, head("POST", &[("content-length", said)])));
        if said == "0" {
            raw.send(frame(DATA, END_STREAM, 1, pieces[0]));
            assert_eq!(raw.outcome(1), MALFORMED, "{said} {pieces:?}");
            continue;
        }
        let mut wire = dyno.accept();
        assert_eq!(wire.head().get("content-length"), Some("5"));
        raw.send(frame(DATA, 0, 1, pieces[0]));
        assert_eq!(wire.exactly(pieces[0].len()), pieces[0].as_bytes());
        raw.send(frame(DATA, END_STREAM, 1, pieces[1]));
        assert_eq!(raw.outcome(1), MALFORMED, "{said} {pieces:?}");
        assert!(wire.rest().len() < 5 - pieces[0].len(), "the dyno has no whole request");
    }
    for lengths in [["5", "6"], ["+5", "5"], ["5, 5", "5"], ["x", "x"]] {
        let fields = lengths.map(|length| ("content-length", length));
        refused(&head("POST", &fields), MALFORMED);
    }
}

/// A POST whose body is `some` in chunks and whose end is this block, at a dyno.
fn with_trailers(block: &[u8]) -> (Wire, Raw, Front) {
    let dyno = Dyno::listening();
    let front = Front::clear(App::new([dyno.address]));
    let mut raw = Raw::connect(&front.router);
    raw.send(frame(HEADERS, END_HEADERS, 1, head("POST", &[])));
    raw.send(frame(DATA, 0, 1, "some"));
    let mut wire = dyno.accept();
    wire.head();
    assert_eq!(wire.exactly(9), b"4\r\nsome\r\n");
    raw.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, block));
    (wire, raw, front)
}

#[test]
fn a_trailer_that_is_none_cuts_the_dyno() {
    for trailer in [field("X-Up", "1"), field("x-a", "b\r\nc"), field("connection", "x")] {
        let (mut wire, mut raw, _front) = with_trailers(&trailer);
        assert!(wire.rest().is_empty(), "the dyno has no whole request");
        assert_eq!(raw.outcome(1), MALFORMED);
    }
    // h2 drops pseudo headers there.
    let (mut wire, mut raw, _front) = with_trailers(&field(":path", "/evil"));
    assert_eq!(wire.exactly(5), b"0\r\n\r\n");
    wire.send(fakes::ok("ok"));
    assert_eq!(raw.outcome(1), Ok(200));
}

#[test]
fn a_head_beyond_its_limits_is_told_so() {
    let dyno = fakes::answers("ok");
    let mut front = Front::clear(App::new([dyno.address]));
    let mut raw = Raw::connect(&front.router);
    let long = "x".repeat(9000);
    raw.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, head("GET", &[("x-long", &long)])));
    assert_eq!(raw.outcome(1), Ok(400));
    assert_eq!(front.router.line().get("status"), "400");
    // 20 headers of 8000 bytes: more than `head`, so that they need CONTINUATION frames.
    let long = "x".repeat(8000);
    let fields: Vec<_> = (0..20).map(|_| ("x-long", &*long)).collect();
    let whole = head("GET", &fields);
    let mut pieces = whole.chunks(16384);
    raw.send(frame(HEADERS, END_STREAM, 3, pieces.next().expect("one")));
    let rest: Vec<_> = pieces.collect();
    for (at, piece) in rest.iter().enumerate() {
        let flags = if at + 1 == rest.len() { END_HEADERS } else { 0 };
        raw.send(frame(CONTINUATION, flags, 3, piece));
    }
    assert_eq!(raw.outcome(3), Ok(0), "a status that is none of the usual ones: 431");
    assert_eq!(front.router.line().get("status"), "431");
    raw.send(get(5));
    assert_eq!(raw.outcome(5), Ok(200));
}
