//! Faults are responses with the router's pages, and lines in its log.

use axum::body::Body;
use busbar_registry::Millis;
use http_body_util::BodyExt as _;
use hyper::Request;
use it::{App, Router, fakes};

use super::super::outer::Outer;

const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\nAccept: text/plain\r\n\r\n";

/// Asks over axum; the status, the page and the code in the log.
fn ask(mut router: Router) -> (u16, String, String) {
    let outer = Outer::before(&router);
    let mut client = outer.client();
    client.send(GET);
    let response = client.response();
    (response.status(), response.text(), router.code())
}

#[test]
fn an_app_without_dynos_is_h14() {
    let (status, page, code) = ask(Router::start(App::new(std::iter::empty::<std::net::SocketAddr>())));
    assert_eq!((status, code.as_str()), (503, "H14"));
    assert!(page.contains("H14"), "{page}");
}

#[test]
fn a_dyno_that_says_nothing_is_h12() {
    let dyno = fakes::says_nothing();
    let router = Router::with(dyno.address, |routing| routing.first_byte_timeout_ms = Millis(100));
    let (status, page, code) = ask(router);
    assert_eq!((status, code.as_str()), (503, "H12"));
    assert!(page.contains("H12"), "{page}");
}

#[test]
fn a_dyno_that_closes_is_h13() {
    let dyno = fakes::closes_without_a_byte();
    let (status, _, code) = ask(Router::to(dyno.address));
    assert_eq!((status, code.as_str()), (503, "H13"));
}

#[test]
fn a_host_nobody_knows_is_404() {
    let router = Router::start(App::new(std::iter::empty::<std::net::SocketAddr>()));
    let outer = Outer::before(&router);
    let request = Request::get("http://nobody.test/").body(Body::empty()).expect("a request");
    assert_eq!(outer.call(request).status(), 404);
}

#[test]
fn a_dyno_that_closes_in_its_body_is_h18_and_the_body_is_an_error() {
    let dyno = fakes::sends_half_a_response();
    let mut router = Router::to(dyno.address);
    let outer = Outer::before(&router);
    let request = Request::get("http://app.test/").body(Body::empty()).expect("a request");
    let mut body = outer.call(request).into_body();
    let first = outer.wait(body.frame()).expect("some of it").expect("no error yet");
    assert_eq!(first.into_data().expect("data"), "12345");
    assert!(outer.wait(body.frame()).expect("an error").is_err());
    assert!(outer.wait(body.frame()).is_none());
    assert_eq!(router.code(), "H18");
}

#[test]
fn a_client_of_axum_is_cut_when_its_dyno_breaks_off() {
    let gate = fakes::Gate::default();
    let dyno = fakes::resets_in_the_middle(gate.clone());
    let router = Router::to(dyno.address);
    let outer = Outer::before(&router);
    let mut client = outer.client();
    client.send(GET);
    assert_eq!(client.head().content_length(), Some(10));
    assert_eq!(client.exactly(5), b"12345");
    gate.open();
    client.is_closed();
}
