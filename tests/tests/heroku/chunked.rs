//! Chunked bodies, sound and broken, both ways.

use it::{Dyno, Router, Wire, fakes::ok, message::Framing};

use super::{GET, is_refused, post, post_chunked};

/// A router, a client that has sent `request`, and the dyno that has read its head.
fn sent(request: &str) -> (Dyno, Router, Wire, Wire) {
    let dyno = Dyno::listening();
    let router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(request);
    let mut wire = dyno.accept();
    wire.head();
    (dyno, router, client, wire)
}

/// A dyno's chunked response with this body.
fn chunked(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

fn strings(chunks: &[Vec<u8>]) -> Vec<String> {
    chunks.iter().map(|chunk| it::message::latin1(chunk)).collect()
}

#[test]
fn s036_chunks_pass_both_ways() {
    let (_dyno, _router, mut client, mut wire) = sent(&post_chunked("3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"));
    let (chunks, _) = wire.chunks();
    assert_eq!(strings(&chunks).concat(), "abcdefg");
    wire.send(chunked("2\r\nhi\r\n5\r\nthere\r\n0\r\n\r\n"));
    let response = client.response();
    assert_eq!(response.text(), "hithere");
    assert!(matches!(response.framing, Framing::Chunked(..)));
}

#[test]
fn s036_content_length_beside_chunked_is_400() {
    is_refused(post("Content-Length: 10\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400, "");
}

#[test]
fn s037_without_the_last_crlf_everybody_waits() {
    let (_dyno, mut router, client, mut wire) = sent(&post_chunked("5\r\nhello\r\n0\r\n"));
    assert_eq!(wire.chunk(), b"hello");
    drop(client);
    let rest = wire.rest();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "the dyno was told that the body is whole");
    assert_eq!(router.code(), "H27");
}

#[test]
fn s038_a_chunk_after_the_last_one_is_400() {
    let (_dyno, mut router, mut client, mut wire) =
        sent(&post_chunked("5\r\nhello\r\n0\r\n5\r\nworld\r\n0\r\n\r\n"));
    assert_eq!(wire.chunk(), b"hello");
    assert_eq!(client.response().status(), 400);
    client.is_closed();
    assert!(!wire.rest().ends_with(b"0\r\n\r\n"), "the dyno was told that the body is whole");
    assert_eq!(router.code(), "H26");
}

#[test]
fn s039_a_dyno_that_answers_before_the_broken_part_is_heard() {
    let (_dyno, _router, mut client, mut wire) = sent(&post_chunked("5\r\nhello\r\n0\r\n"));
    assert_eq!(wire.chunk(), b"hello");
    wire.send(ok("early"));
    let response = client.response();
    assert_eq!((response.status(), response.text().as_str()), (200, "early"));
    assert!(response.connection_has("close"));
    client.try_send("5\r\nworld\r\n0\r\n\r\n");
    client.is_closed();
    wire.rest();
}

#[test]
fn s040_a_dyno_that_has_not_answered_before_the_broken_part_is_not_heard() {
    let (_dyno, mut router, mut client, mut wire) = sent(&post_chunked("5\r\nhello\r\n0\r\n"));
    assert_eq!(wire.chunk(), b"hello");
    client.send("5\r\nworld\r\n0\r\n\r\n");
    assert_eq!(client.response().status(), 400);
    wire.rest();
    wire.try_send(ok("late"));
    client.is_closed();
    assert_eq!(router.code(), "H26");
}

/// Fails unless of this response the client gets the head and one chunk, `hello`, and then the connection is cut.
fn is_cut_after_hello(body: &str) {
    let (_dyno, mut router, mut client, mut wire) = sent(GET);
    wire.send(chunked(body));
    assert_eq!(client.head().status(), 200);
    assert_eq!(client.until(b"hello"), b"5\r\nhello");
    let rest = client.rest();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "the client was told that the body is whole");
    assert!([&b""[..], b"\r\n", b"\r\n0\r\n"].contains(&&*rest), "{rest:?}");
    wire.is_closed();
    let line = router.line();
    assert_eq!((line.get("code"), line.number("status")), ("H17", 200));
}

#[test]
fn s041_bad_chunks_of_a_dyno_cut_the_response() {
    is_cut_after_hello("5\r\nhello\r\nworld\r\n0\r\n\r\n");
}

#[test]
fn s042_a_client_that_leaves_in_mid_chunk_takes_the_dyno_with_it() {
    let (_dyno, mut router, client, mut wire) = sent(&post_chunked("5\r\nhel"));
    assert_eq!(wire.until(b"hel"), b"5\r\nhel");
    drop(client);
    assert!(wire.rest().is_empty());
    assert_eq!(router.code(), "H27");
}

#[test]
fn s043_a_dyno_that_leaves_in_mid_chunk_takes_the_client_with_it() {
    let (_dyno, mut router, mut client, mut wire) = sent(GET);
    wire.send(chunked("5\r\nhel"));
    drop(wire);
    assert_eq!(client.head().status(), 200);
    assert!(!client.rest().ends_with(b"0\r\n\r\n"), "the client was told that the body is whole");
    assert_eq!(router.code(), "H18");
}

#[test]
fn s044_a_chunk_longer_than_it_says_cuts_the_response() {
    is_cut_after_hello("5\r\nhelloworld\r\n0\r\n\r\n");
}

#[test]
fn s045_announced_trailers_pass_both_ways() {
    for connection in ["", "Connection: close\r\n"] {
        let fields = format!("Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n{connection}");
        let (_dyno, router, mut client, mut wire) =
            sent(&post(&fields, "5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n"));
        let sum = [("X-Sum".to_owned(), "5".to_owned())];
        assert_eq!(wire.chunks().1, sum);
        wire.send(
            "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n",
        );
        let response = client.response();
        assert_eq!((response.get("Trailer"), response.trailers()), (Some("X-Sum"), &sum[..]));
        if connection.is_empty() {
            router.still_serves(&mut client);
        } else {
            client.is_closed();
        }
    }
}

#[test]
fn s046_a_bad_trailer_of_a_client_is_400() {
    let (_dyno, mut router, mut client, mut wire) =
        sent(&post_chunked("5\r\nhello\r\n0\r\nno trailer\r\n\r\n"));
    assert_eq!(client.response().status(), 400);
    client.is_closed();
    assert!(!wire.rest().ends_with(b"0\r\n\r\n"), "the dyno was told that the body is whole");
    assert_eq!(router.code(), "H26");
}

#[test]
fn s047_a_bad_trailer_of_a_dyno_cuts_the_response() {
    is_cut_after_hello("5\r\nhello\r\n0\r\nno trailer\r\n\r\n");
}

#[test]
fn s048_trailers_nobody_announced_pass() {
    let (_dyno, router, mut client, mut wire) = sent(&post_chunked("5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n"));
    let sum = [("X-Sum".to_owned(), "5".to_owned())];
    assert_eq!(wire.chunks().1, sum);
    wire.send(chunked("5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n"));
    assert_eq!(client.response().trailers(), sum);
    router.still_serves(&mut client);
}
