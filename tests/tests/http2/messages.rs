//! Requests and responses as they should be.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use it::{App, Dyno, fakes, filler};
use serde_json::{Value, json};

use super::client::{Front, answer, run, send_all};

/// The one value of a header that the dyno saw.
fn seen<'a>(request: &'a Value, name: &str) -> Option<&'a str> {
    let headers = request["headers"].as_array().expect("a list");
    let mut found =
        headers.iter().filter(|field| field[0].as_str().is_some_and(|n| n.eq_ignore_ascii_case(name)));
    let value = found.next().map(|field| field[1].as_str().expect("text"));
    assert!(found.next().is_none(), "{name} comes twice: {request}");
    value
}

#[test]
fn a_request_over_http2_reaches_its_dyno_like_any_other() {
    let dyno = fakes::echoes();
    for mut front in Front::both(|| App::new([dyno.address])) {
        run(async {
            let mut client = front.connect().await;
            let request =
                Request::get("/").header("x-kept", "yes").header("te", "trailers").header("proxy", "evil");
            let request =
                request.header("cookie", "a=1").header("cookie", "b=2").header("transfer_encoding", "x");
            let (response, _) = client.ask(request, "/a%20b?c=1", true).await;
            let answer = answer(response).await.expect("it is answered");
            assert_eq!((answer.status(), answer.get("via")), (200, Some("1.1 busbar")));
            let request: Value = serde_json::from_str(answer.text()).expect("JSON");
            assert_eq!((&request["method"], &request["target"]), (&json!("GET"), &json!("/a%20b?c=1")));
            assert_eq!(
                (seen(&request, "host"), seen(&request, "via")),
                (Some("app.test"), Some("2.0 busbar"))
            );
            assert_eq!((seen(&request, "x-kept"), seen(&request, "cookie")), (Some("yes"), Some("a=1; b=2")));
            assert_eq!(seen(&request, "x-forwarded-for"), Some("127.0.0.1"));
            assert_eq!(seen(&request, "x-forwarded-proto"), Some(front.scheme()));
            for dropped in ["te", "proxy", "transfer_encoding", "connection", "content-length"] {
                assert_eq!(seen(&request, dropped), None, "{dropped}");
            }
            let line = front.router.line();
            assert_eq!((line.get("at"), line.get("dyno"), line.get("status")), ("info", "web.1", "200"));
            assert_eq!((line.get("protocol"), line.get("fwd")), ("http2.0", "127.0.0.1"));
            let tls = front.scheme() == "https";
            assert_eq!(line.get("tls"), tls.to_string());
            assert_eq!(line.get("tls_version"), if tls { "tls1.3" } else { "unknown" });
            assert_eq!(Some(line.get("request_id")), seen(&request, "x-request-id"));
        });
    }
}

#[test]
fn bodies_pass_whole_both_ways_on_many_streams_at_once() {
    let dyno = fakes::echoes();
    for front in Front::both(|| App::new([dyno.address])) {
        run(async {
            let mut client = front.connect().await;
            let mut all = Vec::new();
            for n in 1..=20 {
                let body = filler(n * 50_000);
                let (response, mut stream) = client.ask(Request::post("/"), "/", false).await;
                all.push(tokio::spawn(async move {
                    let (sent, answered) = tokio::join!(send_all(&mut stream, &body, true), answer(response));
                    sent.expect("the body is taken");
                    let request: Value =
                        serde_json::from_str(answered.expect("an answer").text()).expect("JSON");
                    assert_eq!(request["body"].as_str().map(str::as_bytes), Some(&body[..]));
                }));
            }
            for one in all {
                one.await.expect("it passes");
            }
        });
    }
}

#[test]
fn a_body_with_a_length_goes_on_with_that_length() {
    let dyno = fakes::echoes();
    let front = Front::clear(App::new([dyno.address]));
    run(async {
        let mut client = front.connect().await;
        let (response, mut stream) =
            client.ask(Request::put("/").header("content-length", "5"), "/", false).await;
        send_all(&mut stream, b"hello", true).await.expect("it is taken");
        let answer = answer(response).await.expect("it is answered");
        let request: Value = serde_json::from_str(answer.text()).expect("JSON");
        assert_eq!((seen(&request, "content-length"), &request["body"]), (Some("5"), &json!("hello")));
        let none: Value = serde_json::from_str(client.post("/", b"").await.text()).expect("JSON");
        assert_eq!(none["body"], json!(""));
    });
}

#[test]
fn trailers_pass_both_ways() {
    let (echo, chunks) = (fakes::echoes(), fakes::answers_in_chunks());
    for front in Front::both(|| App::new([echo.address])) {
        run(async {
            let mut client = front.connect().await;
            let (response, mut stream) = client.ask(Request::post("/"), "/", false).await;
            stream.send_data(Bytes::from_static(b"hello"), false).expect("it is taken");
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("5"));
            trailers.insert("authorization", HeaderValue::from_static("me"));
            stream.send_trailers(trailers).expect("they are taken");
            let answer = answer(response).await.expect("it is answered");
            let request: Value = serde_json::from_str(answer.text()).expect("JSON");
            assert_eq!((&request["body"], &request["trailers"]), (&json!("hello"), &json!([["x-sum", "5"]])));
        });
    }
    for front in Front::both(|| App::new([chunks.address])) {
        run(async {
            let answer = front.connect().await.get("/").await;
            assert_eq!(answer.text(), "abcdefg");
            assert_eq!(
                answer.trailers.expect("there are some").get("x-sum"),
                Some(&HeaderValue::from_static("7"))
            );
            assert_eq!(answer.head.headers().get("transfer-encoding"), None);
        });
    }
}

#[test]
fn responses_without_a_body_end_with_their_head() {
    for (method, response) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n"),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ] {
        let dyno = fakes::sends(response);
        let front = Front::clear(App::new([dyno.address]));
        run(async {
            let mut client = front.connect().await;
            let (answered, _) = client.ask(Request::builder().method(method), "/", true).await;
            let answered = answered.await.expect("it is answered");
            assert!(answered.body().is_end_stream(), "{method} {response}");
            let (again, _) = client.ask(Request::builder().method(method), "/", true).await;
            assert_eq!(again.await.expect("it is answered").status(), answered.status());
        });
    }
}

#[test]
fn a_body_until_close_ends_and_one_that_breaks_off_is_reset() {
    let (whole, broken) = (fakes::ends_by_closing("all of it"), fakes::sends_half_a_response());
    for front in Front::both(|| App::new([whole.address])) {
        run(async { assert_eq!(front.connect().await.get("/").await.text(), "all of it") });
    }
    for mut front in Front::both(|| App::new([broken.address])) {
        run(async {
            let mut client = front.connect().await;
            let (response, _) = client.ask(Request::get("/"), "/", true).await;
            let error = answer(response).await.expect_err("it breaks off");
            assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR), "{error}");
            assert_eq!(front.router.code(), "H18");
        });
    }
}

#[test]
fn early_hints_and_other_1xx_pass() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
    let dyno = fakes::sends([hints.as_bytes(), hints.as_bytes(), &fakes::ok("at last")].concat());
    for front in Front::both(|| App::new([dyno.address])) {
        run(async {
            let mut client = front.connect().await;
            let (mut response, _) = client.ask(Request::get("/"), "/", true).await;
            for _ in 0..2 {
                let hint = std::future::poll_fn(|cx| response.poll_informational(cx)).await;
                let hint = hint.expect("a hint").expect("it is one");
                assert_eq!(
                    (hint.status().as_u16(), hint.headers()["link"].as_bytes()),
                    (103, &b"</a.css>; rel=preload"[..])
                );
            }
            assert_eq!(answer(response).await.expect("it is answered").text(), "at last");
        });
    }
}

#[test]
fn expect_100_continue_is_answered_by_the_dyno_or_the_router() {
    for by_router in [false, true] {
        let dyno = Dyno::listening();
        let front =
            Front::clear(App::new([dyno.address]).routed(|routing| routing.answer_continue = by_router));
        run(async {
            let mut client = front.connect().await;
            let request = Request::post("/").header("expect", "100-continue").header("content-length", "5");
            let (mut response, mut stream) = client.ask(request, "/", false).await;
            let mut wire = dyno.accept();
            let head = wire.head();
            assert_eq!(head.get("expect").is_some(), !by_router);
            if !by_router {
                wire.send("HTTP/1.1 100 Continue\r\n\r\n");
            }
            let go_on = std::future::poll_fn(|cx| response.poll_informational(cx)).await;
            assert_eq!(go_on.expect("a 100").expect("it is one").status().as_u16(), 100);
            send_all(&mut stream, b"hello", true).await.expect("it is taken");
            assert_eq!(wire.exactly(5), b"hello");
            wire.send(fakes::ok("thanks"));
            assert_eq!(answer(response).await.expect("it is answered").text(), "thanks");
        });
    }
}

#[test]
fn an_early_response_comes_whole_and_then_the_upload_is_stopped_without_an_error() {
    for transport in [0, 1] {
        let dyno = Dyno::listening();
        let front = if transport == 0 { Front::clear } else { Front::tls }(App::new([dyno.address]));
        run(async {
            let mut client = front.connect().await;
            let (response, mut stream) = client.ask(Request::post("/"), "/", false).await;
            send_all(&mut stream, b"some", false).await.expect("it is taken");
            let mut wire = dyno.accept();
            wire.head();
            wire.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 7\r\n\r\nenough!");
            let answer = answer(response).await.expect("it is answered");
            assert_eq!((answer.status(), answer.text()), (413, "enough!"));
            let stopped = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
            assert_eq!(stopped.expect("it is reset"), h2::Reason::NO_ERROR);
        });
    }
}

#[test]
fn a_response_may_begin_while_the_upload_goes_on() {
    let dyno = Dyno::listening();
    let front = Front::clear(App::new([dyno.address]));
    run(async {
        let mut client = front.connect().await;
        let (response, mut stream) = client.ask(Request::post("/"), "/", false).await;
        let mut wire = dyno.accept();
        wire.head();
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let mut response = response.await.expect("it is answered");
        for word in ["one", "two", "three"] {
            send_all(&mut stream, word.as_bytes(), false).await.expect("it is taken");
            let chunk = format!("{:x}\r\n{word}\r\n", word.len());
            assert_eq!(wire.exactly(chunk.len()), chunk.as_bytes());
            wire.send(chunk);
            let piece = response.body_mut().data().await.expect("more").expect("it is whole");
            assert_eq!(piece, word);
        }
        stream.send_data(Bytes::new(), true).expect("it ends");
        assert_eq!(wire.exactly(5), b"0\r\n\r\n");
        wire.send("0\r\nGrpc-Status: 0\r\n\r\n");
        assert!(response.body_mut().data().await.is_none());
        let trailers = response.body_mut().trailers().await.expect("they come").expect("there are some");
        assert_eq!(trailers["grpc-status"], "0");
    });
}

#[test]
fn http1_goes_on_where_http2_may_begin() {
    let dyno = fakes::answers("ok");
    let front = Front::clear(App::new([dyno.address]));
    let mut client = front.router.client();
    client.drip("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.response().text(), "ok");
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(client.response().status(), 505);
}

#[test]
fn where_it_is_not_wanted_http2_is_refused() {
    let dyno = fakes::answers("ok");
    let router = it::Router::to(dyno.address);
    let mut client = router.client();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(client.response().status(), 505);
}
