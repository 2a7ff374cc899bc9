//! The chunked coding of requests and responses: sizes, extensions, ends, trailers, and their bounds.

use it::{Dyno, Router, message::latin1};

use super::{get, post, post_chunked, sent};

/// Bodies that are no chunked bodies, each after one good chunk or none.
const BAD: [(&str, &str); 34] = [
    ("no size", "\r\n"),
    ("an extension without a size", ";a=b\r\nhello\r\n0\r\n\r\n"),
    ("no hex", "g\r\nhello\r\n0\r\n\r\n"),
    ("a plus", "+5\r\nhello\r\n0\r\n\r\n"),
    ("a minus", "-5\r\nhello\r\n0\r\n\r\n"),
    ("0x", "0x5\r\nhello\r\n0\r\n\r\n"),
    ("an underscore", "0_5\r\nhello\r\n0\r\n\r\n"),
    ("a blank before the size", " 5\r\nhello\r\n0\r\n\r\n"),
    ("a blank behind the size", "5 \r\nhello\r\n0\r\n\r\n"),
    ("a tab behind the size", "5\t\r\nhello\r\n0\r\n\r\n"),
    ("two sizes", "5 5\r\nhello\r\n0\r\n\r\n"),
    ("a comma", "5,5\r\nhello\r\n0\r\n\r\n"),
    ("a dot", "5.\r\nhello\r\n0\r\n\r\n"),
    ("17 digits", "00000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("beyond 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("beyond 63 bits", "8000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("all ones", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    ("a bare LF behind the size", "5\nhello\r\n0\r\n\r\n"),
    ("a bare CR behind the size", "5\rhello\r\n0\r\n\r\n"),
    ("CR CR LF behind the size", "5\r\r\nhello\r\n0\r\n\r\n"),
    ("a bare LF in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
    ("a bare CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
    ("a NUL in an extension", "5;\0\r\nhello\r\n0\r\n\r\n"),
    ("a DEL in an extension", "5;\x7f\r\nhello\r\n0\r\n\r\n"),
    ("a chunk longer than it says", "5\r\nhelloX\r\n0\r\n\r\n"),
    ("a chunk shorter than it says", "6\r\nhello\r\n0\r\n\r\n"),
    ("no CRLF behind the data", "5\r\nhello0\r\n\r\n"),
    ("a bare LF behind the data", "5\r\nhello\n0\r\n\r\n"),
    ("a bare CR behind the data", "5\r\nhello\r0\r\n\r\n"),
    ("a NUL for a size", "\0\r\nhello\r\n0\r\n\r\n"),
    ("a full-width digit", "\u{ff15}\r\nhello\r\n0\r\n\r\n"),
    ("a header for a chunk", "Content-Length: 5\r\n\r\nhello"),
    ("a minus zero", "-0\r\n\r\n"),
    ("LF LF at the end", "5\r\nhello\r\n0\n\n"),
];

/// Trailer sections that are none.
const BAD_TRAILERS: [(&str, &str); 10] = [
    ("no colon", "0\r\nno trailer\r\n\r\n"),
    ("no name", "0\r\n: x\r\n\r\n"),
    ("a blank before the colon", "0\r\nX-A : x\r\n\r\n"),
    ("a folded line", "0\r\nX-A: x\r\n y\r\n\r\n"),
    ("a blank before the first name", "0\r\n X-A: x\r\n\r\n"),
    ("a bare LF", "0\r\nX-A: x\n\r\n"),
    ("a bare CR", "0\r\nX-A: x\ry\r\n\r\n"),
    ("a NUL", "0\r\nX-A: \0\r\n\r\n"),
    ("a name that is no token", "0\r\nX(A): x\r\n\r\n"),
    ("a bare LF at the end", "0\r\nX-A: x\r\n\n"),
];

/// Why a chunked request with this body was not refused with H26 and this cause.
fn not_refused(body: &str, cause: &str) -> Option<String> {
    let dyno = Dyno::listening();
    let mut router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(post_chunked(body));
    let mut wire = dyno.accept();
    client.try_send(get("")); // must not be served
    let answer = latin1(&client.rest());
    let reached = latin1(&wire.rest());
    dyno.nobody_else_came();
    let line = router.line();
    let sound = answer.starts_with("HTTP/1.1 400 ")
        && answer.matches("HTTP/1.1").count() == 1
        && !reached.ends_with("0\r\n\r\n")
        && reached.matches("HTTP/1.1").count() <= 1
        && (line.get("code"), line.get("cause")) == ("H26", cause);
    (!sound).then(|| format!("{answer:?}, the dyno got {reached:?}, logged {line:?}"))
}

#[test]
fn a_request_with_a_bad_chunk_is_400_and_its_dyno_is_cut_off() {
    let wrong: Vec<_> = BAD
        .iter()
        .filter_map(|(label, body)| not_refused(body, "bad chunk").map(|why| format!("{label}: {why}")))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_request_with_a_bad_trailer_is_400_and_its_dyno_is_cut_off() {
    let wrong: Vec<_> = BAD_TRAILERS
        .iter()
        .filter_map(|(label, body)| not_refused(body, "bad trailer").map(|why| format!("{label}: {why}")))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_response_with_a_bad_chunk_or_trailer_is_cut_and_its_connection_not_used_again() {
    for (label, body) in BAD.iter().chain(&BAD_TRAILERS) {
        let (dyno, mut router, mut client, mut wire) = sent(get(""));
        wire.request();
        wire.send(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n{body}"));
        assert_eq!(client.head().status(), 200, "{label}");
        let rest = client.rest();
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{label}: the client got {:?}", latin1(&rest));
        wire.is_closed();
        dyno.nobody_else_came();
        assert_eq!(router.code(), "H17", "{label}");
    }
}

#[test]
fn chunk_extensions_and_leading_zeros_are_understood_and_extensions_go_no_further() {
    let body = "005;a=b;c=\"d\"\r\nhello\r\n0;last\r\n\r\n";
    let (_dyno, _router, mut client, mut wire) = sent(post_chunked(body));
    wire.head();
    assert_eq!(wire.chunks().0, [b"hello"]);
    wire.send(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
    assert_eq!(client.response().text(), "hello");
}

#[test]
fn trailers_that_frame_route_or_authenticate_are_dropped_both_ways() {
    let forbidden = [
        "Content-Length: 9",
        "Transfer-Encoding: gzip",
        "Host: evil.test",
        "Connection: close",
        "Trailer: X-A",
        "Authorization: Basic eDp5",
        "Cookie: a=b",
        "Set-Cookie: a=b",
        "Content-Type: text/html",
        "Content-Encoding: gzip",
        "Content-Range: bytes 0-1/2",
        "X-Forwarded-For: 10.0.0.1",
        "X-Forwarded-Host: evil.test",
        "X_Forwarded_For: 10.0.0.1",
        "Transfer_Encoding: gzip",
        "Via: 1.1 x",
        "X-Request-Id: 0123456789abcdef0123",
        "Forwarded: for=x",
        "Expect: 100-continue",
        "TE: gzip",
        "Upgrade: x",
        "Proxy: http://evil.test",
        "Proxy-Authorization: x",
        "Cache-Control: public",
        "Location: /evil",
        "WWW-Authenticate: x",
        "If-Match: x",
        "Range: bytes=0-1",
        "Vary: *",
        "Age: 1",
    ]
    .join("\r\n");
    let body = format!("5\r\nhello\r\n0\r\nX-Sum: 5\r\n{forbidden}\r\nX-Own_Name: 6\r\n\r\n");
    let passed = [("X-Sum".to_owned(), "5".to_owned()), ("X-Own_Name".to_owned(), "6".to_owned())];
    let (_dyno, _router, mut client, mut wire) = sent(post_chunked(&body));
    wire.head();
    assert_eq!(wire.chunks().1, passed);
    wire.send(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
    assert_eq!(client.response().trailers(), passed);
}

#[test]
fn size_lines_and_trailers_longer_than_their_bounds_are_400() {
    let long = |n: usize| "x".repeat(n);
    for (label, body, cause) in [
        ("a size line", format!("5;{}\r\nhello\r\n0\r\n\r\n", long(2000)), "bad chunk"),
        ("a size line without an end", format!("5;{}", long(3000)), "bad chunk"),
        ("one trailer", format!("0\r\nX-A: {}\r\n\r\n", long(9000)), "bad trailer"),
        ("many trailers", format!("0\r\n{}\r\n", "X-A: b\r\n".repeat(2000)), "bad trailer"),
        ("trailers without an end", format!("0\r\n{}", "X-A: b\r\n".repeat(2000)), "bad trailer"),
        ("many extensions", format!("1;{}\r\nx\r\n", long(900)).repeat(100), "bad chunk"),
    ] {
        if let Some(why) = not_refused(&body, cause) {
            panic!("{label}: {}", why.get(..300).unwrap_or(&why));
        }
    }
}

#[test]
fn a_chunked_body_with_a_length_of_zero_has_no_data_and_the_next_request_is_served() {
    let (_dyno, router, mut client, mut wire) = sent(post("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"));
    let seen = wire.request();
    assert_eq!(seen.text(), "");
    wire.send(it::fakes::ok("ok"));
    assert_eq!(client.response().text(), "ok");
    router.still_serves(&mut client);
}
