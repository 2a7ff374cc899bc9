//! What passes: heads, bodies both ways, trailers, upgrades; over HTTP/1.1 and HTTP/2.

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{HeaderMap, Request, Version, body::Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use it::{Dyno, Router, fakes, filler};
use serde_json::{Value, json};

use super::super::outer::Outer;

#[test]
fn a_request_behind_axum_reaches_its_dyno_like_any_other() {
    let dyno = fakes::echoes();
    let mut router = Router::to(dyno.address);
    let outer = Outer::before(&router);
    let mut client = outer.client();
    client.send(
        "GET /a%20b?c=1 HTTP/1.1\r\nHost: App.Test\r\nConnection: keep-alive, X-Secret\r\nX-Secret: 1\r\nTE: trailers\r\n\
         Proxy: evil\r\nTransfer_Encoding: chunked\r\nX-Kept: yes\r\n\r\n",
    );
    let response = client.response();
    assert_eq!((response.status(), response.get("Via")), (200, Some("1.1 busbar")));
    let seen: Value = serde_json::from_str(&response.text()).expect("JSON");
    assert_eq!((&seen["method"], &seen["target"]), (&json!("GET"), &json!("/a%20b?c=1")));
    let headers = seen["headers"].as_array().expect("a list");
    let get = |name: &str| {
        let mut found =
            headers.iter().filter(|field| field[0].as_str().is_some_and(|n| n.eq_ignore_ascii_case(name)));
        let value = found.next().map(|field| field[1].as_str().expect("text"));
        assert!(found.next().is_none(), "{name} comes twice: {seen}");
        value
    };
    assert_eq!((get("host"), get("x-kept"), get("via")), (Some("App.Test"), Some("yes"), Some("1.1 busbar")));
    assert_eq!((get("x-forwarded-for"), get("x-forwarded-proto")), (Some("127.0.0.1"), Some("https")));
    for dropped in ["x-secret", "te", "proxy", "transfer_encoding", "connection", "content-length"] {
        assert_eq!(get(dropped), None, "{dropped}");
    }
    let line = router.line();
    assert_eq!((line.get("at"), line.get("dyno"), line.get("status")), ("info", "web.1", "200"));
    assert_eq!((line.get("protocol"), line.get("fwd")), ("http1.1", "127.0.0.1"));
    assert_eq!(Some(line.get("request_id")), get("x-request-id"));
    assert_eq!(router.totals().requests, 1);
}

#[test]
fn bodies_of_either_length_pass_whole_both_ways() {
    let dyno = fakes::echoes();
    let router = Router::to(dyno.address);
    let outer = Outer::before(&router);
    let body = filler(3_000_000);
    let mut client = outer.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: {}\r\n\r\n", body.len()));
    client.send(&body);
    let seen: Value = serde_json::from_str(&client.response().text()).expect("JSON");
    assert_eq!(seen["body"].as_str().map(str::as_bytes), Some(&body[..]));

    client.send("POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in body.chunks(70_000) {
        client.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
    }
    client.send("0\r\nX-Sum: 1\r\nAuthorization: no\r\n\r\n");
    let seen: Value = serde_json::from_str(&client.response().text()).expect("JSON");
    assert_eq!(seen["body"].as_str().map(str::as_bytes), Some(&body[..]));
    assert_eq!(seen["trailers"], json!([["x-sum", "1"]]));
}

#[test]
fn a_body_is_passed_on_piece_by_piece_while_the_response_comes() {
    let dyno = Dyno::listening();
    let router = Router::to(dyno.address);
    let outer = Outer::before(&router);
    let mut client = outer.client();
    client.send("POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    let mut wire = dyno.accept();
    assert!(wire.head().is_chunked());
    assert_eq!(wire.chunk(), b"one");
    wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nuno\r\n");
    assert!(client.head().is_chunked());
    assert_eq!(client.chunk(), b"uno");
    client.send("3\r\ntwo\r\n0\r\n\r\n");
    assert_eq!(wire.chunk(), b"two");
    wire.until(b"0\r\n\r\n");
    wire.send("3\r\ndue\r\n0\r\n\r\n");
    assert_eq!(client.chunk(), b"due");
}

#[test]
fn http_2_reaches_the_dyno_as_one_http_1_request_with_trailers_both_ways() {
    let dyno = Dyno::listening();
    let mut router = Router::to(dyno.address);
    let outer = Outer::before(&router);
    let frames = [Frame::data(Bytes::from("hello")), Frame::trailers(trailers("x-up"))];
    let body = StreamBody::new(stream::iter(frames.map(Ok::<_, std::io::Error>)));
    let request = Request::post("http://app.test/p")
        .version(Version::HTTP_2)
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(body)
        .expect("a request");
    let asked = outer.runtime.spawn({
        let address = outer.address;
        async move {
            let stream = tokio::net::TcpStream::connect(address).await.expect("it connects");
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                    .await
                    .expect("HTTP/2");
            tokio::spawn(connection);
            let response = sender.send_request(request).await.expect("a response");
            let status = response.status();
            (status, response.into_body().collect().await.expect("a whole body"))
        }
    });
    let mut wire = dyno.accept();
    let request = wire.request();
    assert_eq!((request.method(), request.target()), ("POST", "/p"));
    assert_eq!((request.get("host"), request.all("cookie")), (Some("app.test"), vec!["a=1; b=2"]));
    assert_eq!((request.text().as_str(), request.get("via")), ("hello", Some("2.0 busbar")));
    assert_eq!(request.trailers(), [("x-up".to_owned(), "1".to_owned())]);
    wire.send("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Down: 1\r\n\r\n");
    let (status, body) = outer.wait(asked).expect("no panic");
    assert_eq!((status.as_u16(), body.trailers()), (201, Some(&trailers("x-down"))));
    assert_eq!(body.to_bytes(), "ok");
    assert_eq!(router.line().get("protocol"), "http2.0");
}

fn trailers(name: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(
        hyper::header::HeaderName::from_static(name),
        hyper::header::HeaderValue::from_static("1"),
    )])
}

#[test]
fn a_head_request_and_a_304_have_no_body_and_keep_their_length() {
    let dyno = fakes::sends("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    let router = Router::to(dyno.address);
    let outer = Outer::before(&router);
    let request = Request::head("http://app.test/").body(Body::empty()).expect("a request");
    let response = outer.call(request);
    assert_eq!(response.headers()["content-length"], "5");
    let body = outer.wait(response.into_body().collect()).expect("whole");
    assert_eq!(body.to_bytes(), "");
}

#[test]
fn a_websocket_passes_when_the_server_hands_its_connection_over() {
    let dyno = fakes::upgrades_and_echoes();
    let router = Router::to(dyno.address);
    let outer = Outer::before(&router);
    let mut client = outer.client();
    client.send("GET / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    let head = client.head();
    assert_eq!((head.status(), head.get("upgrade")), (101, Some("echo")));
    let bytes = filler(200_000);
    for piece in bytes.chunks(10_000) {
        client.send(piece);
        assert_eq!(client.exactly(piece.len()), piece);
    }
    client.close_send();
    client.is_closed();
}

#[test]
fn without_a_connection_to_hand_over_an_upgrade_is_not_asked_for() {
    let dyno = fakes::echoes();
    let router = Router::to(dyno.address);
    let outer = Outer::before(&router);
    let request = Request::get("http://app.test/")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .body(Body::empty())
        .expect("a request");
    let body = outer.wait(outer.call(request).into_body().collect()).expect("whole").to_bytes();
    let seen = String::from_utf8_lossy(&body).to_lowercase();
    assert!(!seen.contains("upgrade"), "{seen}");
}
