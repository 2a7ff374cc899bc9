//! Responses without a body: to HEAD, 204, 304.

use it::{Dyno, Head, Router, Wire, router::no_keepalive};

use super::is_refused;

const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: app.test\r\n\r\n";
const GET: &str = super::GET;

/// The head the client gets, and both ends of the connections. No connection to a dyno is kept.
fn exchange(request: &str, response: &str) -> (Router, Head, Wire, Wire) {
    let dyno = Dyno::listening();
    let router = Router::with(dyno.address, no_keepalive);
    let mut client = router.client();
    client.send(request);
    let mut wire = dyno.accept();
    wire.request();
    wire.send(response);
    let head = client.head();
    (router, head, client, wire)
}

/// Fails unless the client gets this `Content-Length` and no body, and only the dyno's connection closes.
fn passes_length_alone(request: &str, status: &str, length: usize, body: &str) {
    let response = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
    let (router, head, mut client, mut wire) = exchange(request, &response);
    assert_eq!(head.content_length(), Some(length));
    wire.is_closed();
    router.still_serves(&mut client);
}

#[test]
fn s049_head_with_a_small_length_has_no_body() {
    passes_length_alone(HEAD, "200 OK", 43, "");
}

#[test]
fn s050_head_with_a_large_length_has_no_body() {
    passes_length_alone(HEAD, "200 OK", 430_000, "");
}

#[test]
fn s051_head_with_a_length_of_zero_keeps_it() {
    passes_length_alone(HEAD, "200 OK", 0, "");
}

#[test]
fn s052_head_with_chunked_keeps_it() {
    let (router, head, mut client, _wire) =
        exchange(HEAD, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(head.get("Transfer-Encoding"), Some("chunked"));
    router.still_serves(&mut client);
}

#[test]
fn s053_head_without_a_length_gets_none_and_the_clients_connection_stays() {
    let (router, head, mut client, _wire) = exchange(HEAD, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    assert_eq!(head.content_length(), None);
    assert!(!head.connection_has("close"));
    router.still_serves(&mut client);
}

#[test]
fn s054_head_of_a_client_that_asks_for_close_closes() {
    let request = "HEAD / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n";
    let (_router, head, mut client, _wire) =
        exchange(request, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    assert!(head.connection_has("close"));
    client.is_closed();
}

#[test]
fn s055_a_204_keeps_its_length_and_loses_its_body() {
    passes_length_alone(GET, "204 No Content", 14, "not to be seen");
}

#[test]
fn s056_a_304_keeps_its_length_and_loses_its_body() {
    passes_length_alone(GET, "304 Not Modified", 430_000, "");
}

#[test]
fn s057_a_204_with_chunked_keeps_it() {
    let (router, head, mut client, _wire) =
        exchange(GET, "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(head.get("Transfer-Encoding"), Some("chunked"));
    router.still_serves(&mut client);
}

#[test]
fn s058_a_304_that_closes_leaves_the_clients_connection_open() {
    let response = "HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n";
    let (router, head, mut client, mut wire) = exchange(GET, response);
    assert!(!head.connection_has("close"));
    wire.is_closed();
    router.still_serves(&mut client);
    let (_router, head, mut client, _wire) = exchange(&super::get("Connection: close\r\n"), response);
    assert!(head.connection_has("close"));
    client.is_closed();
}

#[test]
fn s059_one_client_connection_carries_two_of_each() {
    let dyno = Dyno::listening();
    let router = Router::with(dyno.address, no_keepalive);
    let mut client = router.client();
    for (request, response) in [
        (GET, "HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
        (HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
    ] {
        for _ in 0..2 {
            client.send(request);
            let mut wire = dyno.accept();
            wire.request();
            wire.send(response);
            assert_eq!(client.head().start, response.split("\r\n").next().unwrap());
            wire.is_closed();
        }
    }
}

#[test]
fn s060_an_empty_transfer_encoding_is_400() {
    is_refused(super::post("Transfer-Encoding: ,\r\n", "hello"), 400, "");
}
