//! WebSockets over HTTP/2 (RFC 8441).

use bytes::Bytes;
use h2::ext::Protocol;
use http::{Method, Request};
use it::{App, Dyno, Head, Wire, fakes};

use super::client::{Front, Http2, answer, run, send_all, whole};

const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The answer to the key in this head.
fn accept_of(head: &Head) -> String {
    tokio_tungstenite::tungstenite::handshake::derive_accept_key(
        head.get("sec-websocket-key").expect("there is a key").as_bytes(),
    )
}

fn grant(wire: &mut Wire, head: &Head) {
    let accept = accept_of(head);
    wire.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Kept: yes\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    ));
}

fn connect(client: &Http2, protocol: &'static str) -> Request<()> {
    let uri = format!("{}://app.test/chat", client.scheme);
    let request = Request::builder().method(Method::CONNECT).uri(uri);
    let request = request.header("sec-websocket-version", "13").header("sec-websocket-key", "mine");
    request.extension(Protocol::from_static(protocol)).body(()).expect("a request")
}

#[test]
fn an_extended_connect_is_an_upgrade_at_the_dyno_and_each_way_is_closed_alone() {
    assert_eq!(MAGIC.len(), 36);
    for transport in [Front::clear, Front::tls] {
        let dyno = Dyno::listening();
        let mut front = transport(App::new([dyno.address]));
        run(async {
            let mut client = front.connect().await;
            client.settled().await;
            assert!(client.send.is_extended_connect_protocol_enabled());
            let request = connect(&client, "websocket");
            let (response, mut stream) = client.send_it(request, false).await;
            let mut wire = dyno.accept();
            let head = wire.head();
            assert_eq!((head.method(), head.target()), ("GET", "/chat"));
            assert!(head.connection_has("upgrade"));
            assert_eq!(
                (head.get("upgrade"), head.get("sec-websocket-version")),
                (Some("websocket"), Some("13"))
            );
            assert_ne!(head.get("sec-websocket-key"), Some("mine"));
            assert_eq!((head.get("content-length"), head.get("transfer-encoding")), (None, None));
            grant(&mut wire, &head);
            let mut response = response.await.expect("it is granted");
            assert_eq!(
                (response.status().as_u16(), &response.headers()["x-kept"]),
                (200, &"yes".parse().expect("one"))
            );
            for hop in ["connection", "upgrade", "sec-websocket-accept"] {
                assert_eq!(response.headers().get(hop), None, "{hop}");
            }
            for word in ["one", "two"] {
                send_all(&mut stream, word.as_bytes(), false).await.expect("it is taken");
                assert_eq!(wire.exactly(3), word.as_bytes());
                wire.send(word);
                assert_eq!(response.body_mut().data().await.expect("more").expect("it is whole"), word);
            }
            stream.send_data(Bytes::new(), true).expect("it ends");
            assert!(!wire.has_more(), "the client's end is the dyno's");
            wire.send("last");
            assert_eq!(response.body_mut().data().await.expect("more").expect("it is whole"), "last");
            drop(wire);
            let (rest, trailers) = whole(response.body_mut()).await.expect("an end in order");
            assert!(rest.is_empty() && trailers.is_none());
            assert_eq!(front.router.line().get("status"), "101");
        });
    }
}

#[test]
fn a_tunnel_whose_dyno_dies_is_cancelled() {
    let dyno = Dyno::listening();
    let front = Front::clear(App::new([dyno.address]));
    run(async {
        let mut client = front.connect().await;
        client.settled().await;
        let request = connect(&client, "websocket");
        let (response, stream) = client.send_it(request, false).await;
        let mut wire = dyno.accept();
        let head = wire.head();
        grant(&mut wire, &head);
        let mut response = response.await.expect("it is granted");
        wire.reset_on_close();
        drop(wire);
        let error = response.body_mut().data().await.expect("an end").expect_err("not in order");
        assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
        drop(stream);
    });
}

#[test]
fn a_wrong_answer_to_the_key_is_h17_and_a_refusal_passes() {
    let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
    let declined = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let wrong = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let none = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    for (said, status, code) in
        [(refusal, 403, ""), (declined, 502, ""), (wrong, 503, "H17"), (none, 503, "H17")]
    {
        let dyno = fakes::sends(said);
        let mut front = Front::clear(App::new([dyno.address]));
        run(async {
            let mut client = front.connect().await;
            client.settled().await;
            let request = connect(&client, "websocket");
            let (response, _stream) = client.send_it(request, false).await;
            assert_eq!(answer(response).await.expect("it is answered").status(), status, "{said}");
            assert_eq!(front.router.code(), code, "{said}");
        });
    }
}

#[test]
fn another_connect_is_refused() {
    let dyno = fakes::answers("ok");
    let mut front = Front::clear(App::new([dyno.address]));
    run(async {
        let mut client = front.connect().await;
        client.settled().await;
        let plain = Request::connect("app.test:443").body(()).expect("a request");
        for request in [connect(&client, "connect-udp"), plain] {
            let (response, _stream) = client.send_it(request, false).await;
            assert_eq!(answer(response).await.expect("it is answered").status(), 400);
            let line = front.router.line();
            assert_eq!((line.get("status"), line.get("protocol")), ("400", "http2.0"));
        }
        assert_eq!(client.get("/").await.text(), "ok");
    });
    assert!(dyno.received().is_empty());
}
