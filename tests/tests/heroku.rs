//! What Heroku's routers do. Numbers are those of `HEROKU.md`, which also says where Busbar differs and why.

mod bodyless;
mod chunked;
mod continues;
mod headers;
mod http10;
mod keepalive;
mod large_bodies;
mod limits_and_lookup;
mod proxy_headers;
mod table;
mod timeouts;

use it::{Dyno, Message, Router, fakes, message::latin1};

/// A request without more than it must have.
const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";

/// A GET with these header lines, each with its CRLF.
fn get(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: app.test\r\n{fields}\r\n")
}

/// A POST with these header lines and this body.
fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: app.test\r\n{fields}\r\n{body}")
}

/// A chunked POST with this body, its framing included.
fn post_chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", body)
}

/// What a dyno gets for this request.
fn seen_by_dyno(request: impl AsRef<[u8]>) -> Message {
    let dyno = Dyno::listening();
    let router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(request);
    let mut wire = dyno.accept();
    let seen = wire.request();
    wire.send(fakes::ok("ok"));
    assert_eq!(client.response().status(), 200);
    seen
}

/// What a client gets when a dyno sends these bytes.
fn seen_by_client(response: impl AsRef<[u8]>) -> Message {
    let dyno = Dyno::listening();
    let router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(GET);
    let mut wire = dyno.accept();
    wire.request();
    wire.send(response);
    client.response()
}

/// Fails unless the router refuses the request with this status and this code and closes, and no dyno hears of it.
fn is_refused(request: impl AsRef<[u8]>, status: u16, code: &str) {
    let dyno = Dyno::listening();
    let mut router = Router::to(dyno.address);
    let mut client = router.client();
    client.try_send(&request);
    let (response, request) = (client.response(), latin1(request.as_ref()));
    let request = request.get(..300).unwrap_or(&request);
    assert_eq!(response.status(), status, "{request:?}");
    assert!(response.connection_has("close"), "{request:?}");
    client.is_closed();
    let line = router.line();
    assert_eq!((line.get("code"), line.number("status")), (code, u64::from(status)), "{request:?}");
    dyno.nobody_else_came();
}

/// Fails unless the router answers 502 with H25 to this response, and closes both connections.
fn breaks_a_limit(response: impl AsRef<[u8]>, desc: &str) {
    let dyno = Dyno::listening();
    let mut router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(GET);
    let mut wire = dyno.accept();
    wire.request();
    wire.try_send(response);
    assert_eq!(client.response().status(), 502);
    client.is_closed();
    wire.is_closed();
    let line = router.line();
    assert_eq!((line.get("code"), line.get("desc")), ("H25", desc));
}
