//! Requests and responses of every form.

use it::{Dyno, Http2, Wire, filler};
use serde_json::{Value, json};

use super::{GET, echo::Echo, h2c, router_to};

fn told(client: &mut Wire) -> Value {
    serde_json::from_str(&client.response().text()).expect("JSON")
}

#[test]
fn a_request_arrives_as_http_2_has_it_with_the_routers_headers() {
    let dyno = Echo::start();
    let mut router = router_to(dyno.address);
    let mut client = router.client();
    client.send(
        "GET /a%20b?c=d|e HTTP/1.1\r\nHost: App.Test:8080\r\nConnection: X-Secret\r\nX-Secret: 1\r\nTE: gzip, trailers\r\n\
         Cookie: a=1\r\nX-Two: 1\r\nX-Two: 2\r\n\r\n",
    );
    let told = told(&mut client);
    assert_eq!(told["uri"], json!("http://App.Test:8080/a%20b?c=d%7Ce"));
    let headers = told["headers"].as_array().expect("a list");
    let all = |name: &str| -> Vec<&str> {
        let found = headers.iter().filter(|field| field[0] == name);
        found.map(|field| field[1].as_str().expect("text")).collect()
    };
    assert_eq!((all("te"), all("cookie"), all("x-two")), (vec!["trailers"], vec!["a=1"], vec!["1", "2"]));
    assert_eq!((all("x-forwarded-for"), all("x-forwarded-port")), (vec!["127.0.0.1"], vec!["8080"]));
    assert_eq!(all("via"), ["1.1 busbar"]);
    for gone in ["host", "connection", "x-secret", "transfer-encoding", "content-length"] {
        assert_eq!(all(gone), Vec::<&str>::new(), "{gone}");
    }
    let line = router.line();
    assert_eq!((line.get("status"), line.get("dyno"), line.get("protocol")), ("200", "web.1", "http1.1"));
    assert_eq!(all("x-request-id"), [line.get("request_id")]);
}

#[test]
fn bodies_of_either_length_pass_whole_and_trailers_pass_both_ways() {
    let dyno = Echo::start();
    let router = router_to(dyno.address);
    let mut client = router.client();
    let body = filler(1_000_000);
    client.send(format!("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: {}\r\n\r\n", body.len()));
    client.send(&body);
    assert_eq!(told(&mut client)["body"].as_str().map(str::as_bytes), Some(&body[..]));

    client.send("POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in body.chunks(70_000) {
        client.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
    }
    client.send("0\r\nX-Sum: 1\r\nAuthorization: no\r\n\r\n");
    let response = client.response();
    assert_eq!(response.trailers(), [("x-length".to_owned(), response.body.len().to_string())]);
    let told: Value = serde_json::from_str(&response.text()).expect("JSON");
    assert_eq!(told["body"].as_str().map(str::as_bytes), Some(&body[..]));
    assert_eq!(told["trailers"], json!([["x-sum", "1"]]));
}

#[test]
fn an_empty_body_is_none_and_a_head_has_none() {
    let dyno = Echo::start();
    let router = router_to(dyno.address);
    let mut client = router.client();
    client.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(told(&mut client)["body"], json!(""));
    client.send("POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(told(&mut client)["body"], json!(""));
    client.send("HEAD / HTTP/1.1\r\nHost: app.test\r\n\r\n");
    let head = client.head();
    assert!(head.status() == 200 && head.content_length().is_some_and(|length| length > 100));
    client.send(GET);
    assert_eq!(told(&mut client)["method"], json!("GET"));
}

#[test]
fn a_response_is_counted_chunked_or_empty_as_the_dyno_has_it() {
    let dyno = Dyno::listening();
    let router = router_to(dyno.address);
    let mut client = router.client();
    client.send(GET);
    let mut http2 = Http2::accept(&dyno);
    let (stream, ends) = http2.request();
    assert!(ends);
    http2.answer(stream, "counted");
    let response = client.response();
    assert_eq!((response.get("Content-Length"), response.text().as_str()), (Some("7"), "counted"));

    client.send(GET);
    let (stream, _) = http2.request();
    http2.fields(stream, &[(":status", "200")], false);
    http2.data(stream, b"piece", false);
    assert!(client.head().is_chunked());
    assert_eq!(client.chunk(), b"piece");
    http2.data(stream, b"", false);
    http2.data(stream, b"last", true);
    assert_eq!(client.chunk(), b"last");
    assert_eq!(client.until(b"0\r\n\r\n"), b"0\r\n\r\n");

    for status in ["204", "304", "200"] {
        client.send(GET);
        let (stream, _) = http2.request();
        http2.fields(stream, &[(":status", status)], true);
        let head = client.head();
        assert_eq!((head.status().to_string().as_str(), head.is_chunked()), (status, false));
        assert_eq!(head.content_length(), (status == "200").then_some(0));
    }
}

#[test]
fn interim_responses_pass() {
    let dyno = Dyno::listening();
    let router = router_to(dyno.address);
    let mut client = router.client();
    client.send(GET);
    let mut http2 = Http2::accept(&dyno);
    let (stream, _) = http2.request();
    http2.fields(stream, &[(":status", "103"), ("link", "</a.css>; rel=preload")], false);
    let hints = client.head();
    assert_eq!((hints.status(), hints.get("link")), (103, Some("</a.css>; rel=preload")));
    http2.answer(stream, "then");
    assert_eq!(client.response().text(), "then");
}

#[test]
fn a_dyno_over_http_2_answers_expect_itself_if_it_is_to() {
    let dyno = Dyno::listening();
    let router = it::Router::with(dyno.address, |routing| {
        h2c(routing);
        routing.answer_continue = false;
    });
    let mut client = router.client();
    client.send("POST / HTTP/1.1\r\nHost: app.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    let mut http2 = Http2::accept(&dyno);
    let (stream, _) = http2.request();
    http2.fields(stream, &[(":status", "100")], false);
    assert_eq!(client.head().status(), 100);
    client.send("hi");
    assert_eq!(http2.body(stream), b"hi");
    http2.answer(stream, "ok");
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn a_request_and_its_response_flow_at_the_same_time() {
    let dyno = Dyno::listening();
    let router = router_to(dyno.address);
    let mut client = router.client();
    client.send("POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    let mut http2 = Http2::accept(&dyno);
    let (stream, _) = http2.request();
    assert_eq!(http2.frame().payload, b"one");
    http2.fields(stream, &[(":status", "200")], false);
    http2.data(stream, b"uno", false);
    assert!(client.head().is_chunked());
    assert_eq!(client.chunk(), b"uno");
    client.send("3\r\ntwo\r\n");
    assert_eq!(http2.frame().payload, b"two");
    client.send("0\r\n\r\n");
    assert!(http2.frame().ends());
    http2.data(stream, b"due", true);
    assert_eq!(client.chunk(), b"due");
}

#[test]
fn an_upgrade_is_not_asked_for_and_the_request_is_served_without() {
    let dyno = Echo::start();
    let router = router_to(dyno.address);
    let mut client = router.client();
    client.send(
        "GET /chat HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    let told = told(&mut client);
    let headers = told["headers"].as_array().expect("a list");
    assert!(!headers.iter().any(|field| field[0] == "upgrade" || field[0] == "connection"), "{told}");
}
