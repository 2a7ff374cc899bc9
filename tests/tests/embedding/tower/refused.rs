//! What is refused on a socket is refused here, and reaches no dyno.

use std::io;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use hyper::{Request, Version};
use it::{Dyno, Router};

use super::super::outer::Outer;

/// A body that does not say how long it is.
fn streamed(pieces: &'static [&'static str]) -> Body {
    Body::from_stream(stream::iter(
        pieces.iter().map(|piece| Ok::<_, io::Error>(Bytes::from_static(piece.as_bytes()))),
    ))
}

#[test]
fn a_request_with_two_meanings_is_400_and_reaches_no_dyno() {
    let dyno = Dyno::listening();
    let mut router = Router::to(dyno.address);
    let outer = Outer::before(&router);
    let get = || Request::get("/");
    let on = |uri: &str| Request::get(uri.to_owned());
    for (what, request) in [
        ("no host", get().body(Body::empty())),
        ("two hosts", get().header("host", "app.test").header("host", "app.test").body(Body::empty())),
        ("another host", on("http://other.test/").header("host", "app.test").body(Body::empty())),
        ("another port", on("http://app.test:81/").header("host", "app.test").body(Body::empty())),
        ("no host name", get().header("host", "app.test/x").body(Body::empty())),
        ("a user", on("http://me@app.test/").body(Body::empty())),
        ("CONNECT", Request::connect("app.test:443").body(Body::empty())),
        (
            "a length that is none",
            get().header("host", "app.test").header("content-length", "+5").body("12345".into()),
        ),
        (
            "two lengths",
            get()
                .header("host", "app.test")
                .header("content-length", "5")
                .header("content-length", "6")
                .body("12345".into()),
        ),
        (
            "a length and a coding",
            get()
                .header("host", "app.test")
                .header("content-length", "5")
                .header("transfer-encoding", "chunked")
                .body("12345".into()),
        ),
        (
            "a coding that is none",
            get()
                .header("host", "app.test")
                .header("transfer-encoding", "chunked, gzip")
                .body("12345".into()),
        ),
        (
            "a longer body",
            get().header("host", "app.test").header("content-length", "4").body("12345".into()),
        ),
        (
            "a shorter body",
            get().header("host", "app.test").header("content-length", "6").body("12345".into()),
        ),
        ("no body", get().header("host", "app.test").header("content-length", "6").body(Body::empty())),
    ] {
        let response = outer.call(request.expect("a request"));
        assert_eq!(response.status(), 400, "{what}");
        assert_eq!(response.headers()["via"], "1.1 busbar", "{what}");
        assert_eq!(router.line().get("status"), "400", "{what}");
    }
    dyno.nobody_else_came();
}

#[test]
fn a_coding_nobody_here_understands_is_501() {
    let router = Router::to(Dyno::listening().address);
    let outer = Outer::before(&router);
    let request = Request::post("http://app.test/").header("transfer-encoding", "gzip, chunked");
    assert_eq!(outer.call(request.body(Body::empty()).expect("a request")).status(), 501);
}

#[test]
fn a_body_that_is_not_as_long_as_it_said_ends_its_request_and_its_dyno_connection() {
    let dyno = Dyno::listening();
    let router = Router::to(dyno.address);
    let outer = Outer::before(&router);
    for pieces in [&["12", "34567"][..], &["12", "3"]] {
        let request = Request::post("http://app.test/").header("content-length", "5");
        let request = request.body(streamed(pieces)).expect("a request");
        let asked = outer.runtime.spawn(tower::ServiceExt::oneshot(outer.service.clone(), request));
        let mut wire = dyno.accept();
        assert_eq!(wire.head().content_length(), Some(5));
        let received = wire.rest();
        assert!(b"12345".starts_with(&received) && received.len() < 5, "{received:?}");
        let Ok(response) = outer.wait(asked).expect("no panic");
        assert_eq!(response.status(), 400, "{pieces:?}");
    }
}

#[test]
fn a_body_without_a_length_is_chunked_whatever_is_in_it() {
    let dyno = Dyno::listening();
    let router = Router::to(dyno.address);
    let outer = Outer::before(&router);
    let request = Request::post("http://app.test/").version(Version::HTTP_2);
    let request =
        request.body(streamed(&["0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n", "", "x"])).expect("a request");
    let asked = outer.runtime.spawn(tower::ServiceExt::oneshot(outer.service.clone(), request));
    let mut wire = dyno.accept();
    let request = wire.request();
    assert_eq!(
        (request.is_chunked(), request.text().as_str()),
        (true, "0\r\n\r\nGET /evil HTTP/1.1\r\n\r\nx")
    );
    wire.send(it::fakes::ok(""));
    let Ok(response) = outer.wait(asked).expect("no panic");
    assert_eq!(response.status(), 200);
    wire.is_quiet();
}
