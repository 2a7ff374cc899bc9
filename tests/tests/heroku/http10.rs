//! HTTP/1.0 clients and dynos.

use it::{Dyno, Message, Router, Wire, router::no_keepalive};

/// What both sides see: the request, the response, and their ends of the connections.
fn exchange(fields: &str, response: &str) -> (Router, Message, Message, Wire, Wire) {
    let dyno = Dyno::listening();
    let router = Router::with(dyno.address, no_keepalive);
    let mut client = router.client();
    client.send(format!("GET / HTTP/1.0\r\nHost: app.test\r\n{fields}\r\n"));
    let mut wire = dyno.accept();
    let request = wire.request();
    wire.send(response);
    let response = client.response();
    (router, request, response, client, wire)
}

const OK: &str = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn s032_both_sides_see_http11() {
    let (_router, request, response, ..) = exchange("", OK);
    assert_eq!((request.start.as_str(), response.start.as_str()), ("GET / HTTP/1.1", "HTTP/1.1 200 OK"));
}

#[test]
fn s033_by_default_both_connections_close() {
    let (_router, _, response, mut client, mut wire) = exchange("", OK);
    assert!(response.connection_has("close"));
    client.is_closed();
    wire.is_closed();
}

#[test]
fn s034_keep_alive_keeps_the_clients_connection() {
    let (router, _, response, mut client, mut wire) = exchange("Connection: keep-alive\r\n", OK);
    assert!(response.connection_has("keep-alive"));
    wire.is_closed();
    router.still_serves(&mut client);
}

#[test]
fn s035_a_chunked_response_is_unchunked_and_ends_by_closing() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nX-Sum: 7\r\n\r\n";
    let (_router, _, response, mut client, _wire) = exchange("Connection: keep-alive\r\n", chunked);
    assert_eq!((response.get("Transfer-Encoding"), response.content_length()), (None, None));
    assert!(response.connection_has("close"));
    assert_eq!(response.text(), "abcdefg");
    client.is_closed();
}
