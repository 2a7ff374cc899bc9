//! Heads, bodies and trailers pass both ways as over HTTP/1.1, and so do faults.

use bytes::Bytes;
use h3::error::{Code, StreamError};
use it::{App, Dyno, Fake, Wire, filler, router::HOST};

use super::client::{Client, body, run, stage};

/// Sends back what it gets.
fn echo() -> Fake {
    Fake::new(|wire: &mut Wire| {
        while wire.has_more() {
            let request = wire.request();
            let head = format!(
                "HTTP/1.1 200 OK\r\nX-Method: {}\r\nContent-Length: {}\r\n\r\n",
                request.method(),
                request.body.len()
            );
            wire.try_send([head.as_bytes(), &request.body].concat());
        }
    })
}

#[test]
fn a_request_over_http3_reaches_its_dyno_like_any_other() {
    let dyno = Dyno::listening();
    let mut stage = stage(App::new([dyno.address]), |_| {});
    run(async {
        let mut client = Client::connect(&stage).await;
        let request = http::Request::get(format!("https://{HOST}/some?query=1"))
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("x-forwarded-for", "192.0.2.9");
        let mut stream = client.begin(request).await;
        stream.finish().await.expect("it is sent");
        let (mut wire, request) = tokio::task::block_in_place(|| {
            let mut wire = dyno.accept();
            let request = wire.request();
            (wire, request)
        });
        assert_eq!((request.method(), request.target()), ("GET", "/some?query=1"));
        assert_eq!(request.get("Host"), Some(HOST));
        assert_eq!(request.get("Cookie"), Some("a=1; b=2"));
        assert_eq!(request.get("X-Forwarded-Proto"), Some("https"));
        assert_eq!(request.get("X-Forwarded-For"), Some("192.0.2.9, 127.0.0.1"));
        assert_eq!(request.get("Via"), Some("3.0 busbar"));
        assert_eq!((request.get("Transfer-Encoding"), request.get("Content-Length")), (None, None));
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello");
        let head = stream.recv_response().await.expect("a response");
        assert_eq!(head.status(), 200);
        assert!(head.headers().get("connection").is_none());
        assert_eq!(body(&mut stream).await, b"hello");
    });
    let line = stage.router.line();
    assert_eq!(
        (line.get("protocol"), line.get("tls"), line.get("tls_version")),
        ("http3.0", "true", "tls1.3")
    );
    assert_eq!((line.get("status"), line.get("code")), ("200", ""));
}

#[test]
fn bodies_with_and_without_a_length_pass_whole_over_http3() {
    let (dyno, sent) = (echo(), filler(700_000));
    let stage = stage(App::new([dyno.address]), |_| {});
    run(async {
        let mut client = Client::connect(&stage).await;
        for length in [Some(sent.len()), None] {
            let mut request = http::Request::post(format!("https://{HOST}/"));
            if let Some(length) = length {
                request = request.header("content-length", length);
            }
            let stream = client.begin(request).await;
            let (mut send, mut receive) = stream.split();
            let bytes = Bytes::from(sent.clone());
            let sending = tokio::spawn(async move {
                send.send_data(bytes).await.expect("it is taken");
                send.finish().await.expect("it is taken");
            });
            assert_eq!(receive.recv_response().await.expect("a response").headers()["x-method"], "POST");
            let mut got = Vec::new();
            while let Some(mut data) = receive.recv_data().await.expect("it comes") {
                use bytes::Buf as _;
                got.extend_from_slice(&data.copy_to_bytes(data.remaining()));
            }
            sending.await.expect("it was sent");
            assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
        }
    });
}

#[test]
fn a_body_that_is_not_as_long_as_it_was_said_to_be_is_refused_over_http3() {
    let dyno = echo();
    let mut stage = stage(App::new([dyno.address]), |_| {});
    run(async {
        let mut client = Client::connect(&stage).await;
        let request = http::Request::post(format!("https://{HOST}/")).header("content-length", "10");
        let mut stream = client.begin(request).await;
        stream.send_data(Bytes::from_static(b"short")).await.expect("it is taken");
        stream.finish().await.expect("it is taken");
        assert_eq!(stream.recv_response().await.expect("a page").status(), 400);
    });
    assert_eq!(stage.router.line().get("status"), "400");
}

#[test]
fn trailers_pass_both_ways_over_http3() {
    let dyno = Dyno::listening();
    let stage = stage(App::new([dyno.address]), |_| {});
    run(async {
        let mut client = Client::connect(&stage).await;
        let mut stream = client.begin(http::Request::post(format!("https://{HOST}/"))).await;
        stream.send_data(Bytes::from_static(b"up")).await.expect("it is taken");
        let trailers =
            [("x-sum", "2")].map(|(n, v)| (n.parse().expect("a name"), v.parse().expect("a value")));
        stream.send_trailers(trailers.into_iter().collect()).await.expect("it is taken");
        stream.finish().await.expect("it is taken");
        tokio::task::block_in_place(|| {
            let mut wire = dyno.accept();
            let request = wire.request();
            assert_eq!(request.body, b"up");
            assert_eq!(request.trailers(), [("x-sum".to_owned(), "2".to_owned())]);
            wire.send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndown\r\n0\r\nx-done: 1\r\n\r\n",
            );
        });
        assert_eq!(stream.recv_response().await.expect("a response").status(), 200);
        assert_eq!(body(&mut stream).await, b"down");
        let trailers = stream.recv_trailers().await.expect("they come").expect("there are some");
        assert_eq!(trailers["x-done"], "1");
    });
}

#[test]
fn faults_over_http3_are_pages_and_a_response_that_breaks_off_resets_its_stream() {
    let dyno = Dyno::listening();
    let mut stage = stage(App::new([dyno.address]), |_| {});
    run(async {
        let mut client = Client::connect(&stage).await;
        let mut stream = client.begin(http::Request::get(format!("https://{HOST}/"))).await;
        stream.finish().await.expect("it is sent");
        let mut wire = tokio::task::block_in_place(|| {
            let mut wire = dyno.accept();
            wire.request();
            wire
        });
        drop(wire); // without a word: H13
        assert_eq!(stream.recv_response().await.expect("a page").status(), 503);
        assert!(!body(&mut stream).await.is_empty());

        let mut stream = client.begin(http::Request::get(format!("https://{HOST}/"))).await;
        stream.finish().await.expect("it is sent");
        wire = tokio::task::block_in_place(|| {
            let mut wire = dyno.accept();
            wire.request();
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
            wire
        });
        assert_eq!(stream.recv_response().await.expect("a response").status(), 200);
        drop(wire); // in its body: H18
        let cut = loop {
            match stream.recv_data().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it looks whole"),
                Err(error) => break error,
            }
        };
        assert!(matches!(cut, StreamError::RemoteTerminate { code: Code::H3_INTERNAL_ERROR, .. }), "{cut:?}");
        // The connection goes on.
        let mut stream = client.begin(http::Request::get("https://nobody.test/")).await;
        stream.finish().await.expect("it is sent");
        assert_eq!(stream.recv_response().await.expect("a page").status(), 421);
    });
    assert_eq!([stage.router.code(), stage.router.code()], ["H13", "H18"]);
}

#[test]
fn a_client_that_resets_its_stream_is_h27_and_the_dyno_is_told() {
    let dyno = Dyno::listening();
    let mut stage = stage(App::new([dyno.address]), |_| {});
    run(async {
        let mut client = Client::connect(&stage).await;
        let mut stream =
            client.begin(http::Request::post(format!("https://{HOST}/")).header("content-length", 9)).await;
        stream.send_data(Bytes::from_static(b"some")).await.expect("it is taken");
        let mut wire = tokio::task::block_in_place(|| {
            let mut wire = dyno.accept();
            wire.head();
            wire.exactly(4);
            wire
        });
        stream.stop_stream(Code::H3_REQUEST_CANCELLED);
        tokio::task::block_in_place(|| wire.is_closed());
        // Others on the same connection do not notice.
        let mut other = client.begin(http::Request::get(format!("https://{HOST}/"))).await;
        other.finish().await.expect("it is sent");
        tokio::task::block_in_place(|| {
            let mut wire = dyno.accept();
            wire.request();
            wire.send("HTTP/1.1 204 No Content\r\n\r\n");
        });
        assert_eq!(other.recv_response().await.expect("a response").status(), 204);
    });
    assert_eq!(stage.router.code(), "H27");
}

#[test]
fn a_host_that_the_certificate_is_not_for_is_misdirected_over_http3() {
    let dyno = echo();
    let mut stage = stage(App::new([dyno.address]), |_| {});
    run(async {
        let mut client = Client::connect(&stage).await;
        let mut stream = client.begin(http::Request::get("https://probe.test/")).await;
        stream.finish().await.expect("it is sent");
        assert_eq!(stream.recv_response().await.expect("a page").status(), 421);
        assert_eq!(client.get("/").await.0.status(), 200);
    });
    assert_eq!(stage.router.line().get("status"), "200");
}

#[test]
fn who_speaks_tls_is_told_where_http3_is_and_who_speaks_http3_is_not() {
    let dyno = echo();
    let stage = stage(App::new([dyno.address]), |_| {});
    run(async {
        let mut client = Client::connect(&stage).await;
        assert!(client.get("/").await.0.headers().get("alt-svc").is_none());
    });
    let told = over_tls(&stage);
    let port = stage.router.address.port();
    assert_eq!(told, Some(format!("h3=\":{port}\"; ma=86400")));
}

/// What `Alt-Svc` says over TLS and HTTP/1.1.
fn over_tls(stage: &super::client::Stage) -> Option<String> {
    use std::{io::Read as _, io::Write as _, sync::Arc};
    let mut config = super::client::tls(stage);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = HOST.try_into().expect("a name");
    let mut tls = rustls::ClientConnection::new(Arc::new(config), name).expect("TLS");
    let mut socket = std::net::TcpStream::connect(stage.router.address).expect("it listens");
    let mut stream = rustls::Stream::new(&mut tls, &mut socket);
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it is taken");
    let mut response = Vec::new();
    while !response.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head comes");
        response.push(byte[0]);
    }
    it::Head::parse(&response).get("Alt-Svc").map(str::to_owned)
}
