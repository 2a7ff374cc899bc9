//! Larger bodies, and dynos that answer before they have the whole request.

use it::{Dyno, Router, Wire, fakes::ok, filler};

use super::{breaks_a_limit, post};

/// A router, a client and the dyno after 8000 bytes went each way.
fn exchange_8000(fields: &str) -> (Router, Wire) {
    let (dyno, body) = (Dyno::listening(), filler(8000));
    let router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(post(&format!("Content-Length: 8000\r\n{fields}"), ""));
    client.send(&body);
    let mut wire = dyno.accept();
    assert_eq!(wire.request().body, body);
    wire.send(ok(&body));
    assert_eq!(client.response().body, body);
    (router, client)
}

#[test]
fn s061_8000_bytes_pass_both_ways() {
    let (router, mut client) = exchange_8000("");
    router.still_serves(&mut client);
}

#[test]
fn s062_8000_bytes_pass_both_ways_and_the_client_closes() {
    let (_router, mut client) = exchange_8000("Connection: close\r\n");
    client.is_closed();
}

#[test]
fn s063_a_body_that_ends_by_closing_closes_the_client() {
    let (dyno, body) = (Dyno::listening(), filler(8000));
    let router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(super::GET);
    let mut wire = dyno.accept();
    wire.request();
    wire.send("HTTP/1.1 200 OK\r\n\r\n");
    wire.send(&body);
    drop(wire);
    let response = client.response();
    assert!(response.connection_has("close"));
    assert_eq!(response.body, body);
}

/// What a client that has sent only this much of its request gets when the dyno answers so and closes.
fn answered_early(head: &str, body: &[u8], response: &[u8]) -> it::Message {
    let dyno = Dyno::listening();
    let router = Router::to(dyno.address);
    let mut client = router.client();
    client.send([head.as_bytes(), body].concat());
    let mut wire = dyno.accept();
    wire.head();
    assert_eq!(wire.exactly(body.len()), body);
    wire.send(response);
    drop(wire);
    client.response()
}

const NOT_MODIFIED: &[u8] = b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n";

#[test]
fn s064_an_answer_during_a_slow_upload_arrives() {
    let head = post("Content-Length: 16384\r\n", "");
    assert_eq!(answered_early(&head, &filler(8192), NOT_MODIFIED).status(), 304);
}

#[test]
fn s065_an_answer_during_an_endless_chunked_upload_arrives() {
    assert_eq!(answered_early(&super::post_chunked(""), b"5\r\nhello\r\n", NOT_MODIFIED).status(), 304);
}

fn early_body_arrives(len: usize) {
    let head = post("Content-Length: 16384\r\n", "");
    let response = [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", &*filler(len)].concat();
    let response = answered_early(&head, &filler(8192), &response);
    assert_eq!(response.status(), 200);
    assert!(response.body == filler(len), "{} of {len} bytes", response.body.len());
}

#[test]
fn s066_30_kb_sent_during_an_upload_arrive_whole() {
    early_body_arrives(30_000);
}

#[test]
fn s067_80_kb_sent_during_an_upload_arrive_whole() {
    early_body_arrives(80_000);
}

#[test]
fn s068_a_blank_behind_a_responses_length_is_502() {
    breaks_a_limit(
        "HTTP/1.1 200 OK\r\nContent-Length: 2 \r\n\r\nok",
        "HTTP restriction: invalid content length",
    );
}
