//! What the router adds, and what it leaves as it was.

use std::time::{SystemTime, UNIX_EPOCH};

use it::{App, Dyno, Router, dyno::Refusing, fakes, fakes::ok, message::latin1};
use tokio_tungstenite::tungstenite;

use super::{GET, get, post, seen_by_client, seen_by_dyno};

#[test]
fn s085_a_request_without_an_id_gets_one() {
    let id = seen_by_dyno(GET).get("X-Request-Id").unwrap().to_owned();
    assert!((20..=200).contains(&id.len()), "{id}");
    assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=-".contains(&b)), "{id}");
}

#[test]
fn s085_a_valid_id_is_kept() {
    let id = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    assert_eq!(seen_by_dyno(get(&format!("X-Request-Id: {id}\r\n"))).get("X-Request-Id"), Some(id));
}

#[test]
fn s085_an_invalid_id_is_replaced() {
    let id = seen_by_dyno(get("X-Request-Id: testid??\r\n")).get("X-Request-Id").unwrap().to_owned();
    assert_eq!(id.len(), 36, "{id}");
}

#[test]
fn s085_the_id_is_in_the_log() {
    let dyno = fakes::answers("ok");
    let mut router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(get("X-Request-Id: ABCDEFGHIJKLMNOPQRSTUVWXYZ\r\n"));
    client.response();
    assert_eq!(router.line().get("request_id"), "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
}

#[test]
fn s086_the_clients_address_is_appended() {
    assert_eq!(seen_by_dyno(GET).get("X-Forwarded-For"), Some("127.0.0.1"));
    let request = seen_by_dyno(get("X-Forwarded-For: 10.0.0.1\r\n"));
    assert_eq!(request.get("X-Forwarded-For"), Some("10.0.0.1, 127.0.0.1"));
    let request = seen_by_dyno(get("X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2\r\n"));
    assert_eq!(request.get("X-Forwarded-For"), Some("10.0.0.1, 10.0.0.2, 127.0.0.1"));
}

#[test]
fn s087_the_port_is_the_hosts_and_the_scheme_is_the_connections() {
    for (host, port) in [("app.test", "80"), ("app.test:8080", "8080"), ("app.test:443", "443")] {
        let request = seen_by_dyno(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(request.get("X-Forwarded-Port"), Some(port));
        assert_eq!(request.get("X-Forwarded-Proto"), Some("http"));
    }
}

#[test]
fn s087_what_the_client_says_about_itself_is_replaced() {
    let request =
        seen_by_dyno(get("X-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\nX-Request-Start: 1\r\n"));
    assert_eq!(
        (request.get("X-Forwarded-Proto"), request.get("X-Forwarded-Port")),
        (Some("http"), Some("80"))
    );
    assert_ne!(request.get("X-Request-Start"), Some("1"));
}

#[test]
fn s087_x_forwarded_host_is_left_alone() {
    let request = seen_by_dyno(get("X-Forwarded-Host: other.example\r\n"));
    assert_eq!(request.get("X-Forwarded-Host"), Some("other.example"));
}

#[test]
fn s090_the_start_is_in_unix_milliseconds() {
    let millis = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let (before, start, after) = (millis(), seen_by_dyno(GET), millis());
    let start = start.get("X-Request-Start").unwrap().parse::<u128>().unwrap();
    assert!((before - 1..=after + 1).contains(&start), "{before} {start} {after}");
}

#[test]
fn s091_the_host_is_kept() {
    assert_eq!(seen_by_dyno("GET / HTTP/1.1\r\nHost: App.Test:80\r\n\r\n").get("Host"), Some("App.Test:80"));
}

#[test]
fn s092_the_query_is_kept_and_a_fragment_is_dropped() {
    let request = seen_by_dyno("GET /a%20b//c/../d?x=1&y=%2F?&z HTTP/1.1\r\nHost: app.test\r\n\r\n");
    assert_eq!(request.target(), "/a%20b//c/../d?x=1&y=%2F?&z");
    assert_eq!(seen_by_dyno("GET /a?b=c#frag HTTP/1.1\r\nHost: app.test\r\n\r\n").target(), "/a?b=c");
}

#[test]
fn s093_a_length_is_passed_on_and_none_is_added() {
    let request = seen_by_dyno(get("Content-Length: 5\r\n") + "hello");
    assert_eq!((request.content_length(), request.text().as_str()), (Some(5), "hello"));
    let request = seen_by_dyno(GET);
    assert_eq!((request.content_length(), request.get("Transfer-Encoding")), (None, None));
}

#[test]
fn s094_the_dynos_headers_reach_the_client() {
    let response = seen_by_client("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Own: 1\r\nServer: mine\r\n\r\n");
    assert_eq!((response.get("X-Own"), response.get("Server")), (Some("1"), Some("mine")));
}

#[test]
fn s095_a_dyno_that_refuses_is_passed_over() {
    let (refusing, dyno) = (Refusing::new(), fakes::sends("HTTP/1.1 204 No Content\r\n\r\n"));
    let mut router = Router::start(App::new([refusing.address, dyno.address]));
    let mut client = router.client();
    for _ in 0..20 {
        client.send(GET);
        assert_eq!(client.response().status(), 204);
        assert_eq!(router.line().get("dyno"), "web.2");
    }
}

#[test]
fn s096_the_log_counts_each_request_by_itself() {
    let dyno = fakes::echoes();
    let mut router = Router::to(dyno.address);
    let mut client = router.client();
    let mut before = 0;
    for (path, first) in [("/one?x=1", true), ("/two", false)] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: app.test\r\n\r\n"));
        client.response();
        let bytes = (client.received().len() - before) as u64;
        before = client.received().len();
        let line = router.line();
        assert_eq!((line.get("method"), line.get("path"), line.get("dyno")), ("GET", path, "web.1"));
        assert_eq!(line.number("bytes"), bytes);
        assert!(first || line.get("connect") == "0ms", "{line:?}");
        line.number("service");
    }
}

#[test]
fn s097_the_log_has_the_dynos_status() {
    let dyno = fakes::sends("HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n");
    let mut router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(GET);
    client.response();
    let line = router.line();
    assert_eq!((line.get("at"), line.get("code"), line.number("status")), ("info", "", 418));
}

#[test]
fn s098_a_websocket_echoes() {
    let dyno = it::Fake::new(|wire| {
        let mut socket = tungstenite::accept(wire.stream()).unwrap();
        while let Ok(message) = socket.read() {
            if message.is_text() || message.is_binary() {
                socket.send(message).unwrap();
            }
        }
    });
    let router = Router::to(dyno.address);
    let stream = router.client().into_stream();
    let (mut socket, response) = tungstenite::client("ws://app.test/chat", stream).unwrap();
    assert_eq!(response.status(), 101);
    for text in ["ping", &"long ".repeat(50_000)] {
        socket.send(tungstenite::Message::text(text)).unwrap();
        assert_eq!(socket.read().unwrap().into_text().unwrap(), text);
    }
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
}

#[test]
fn what_comes_with_the_heads_of_an_upgrade_is_not_lost() {
    let dyno = Dyno::listening();
    let router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(get("Connection: Upgrade\r\nUpgrade: echo\r\n") + "eager client");
    let mut wire = dyno.accept();
    wire.head();
    wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\neager dyno");
    assert_eq!(client.head().status(), 101);
    assert_eq!(latin1(&client.exactly(10)), "eager dyno");
    assert_eq!(latin1(&wire.exactly(12)), "eager client");
}

#[test]
fn an_upgrade_the_dyno_declines_is_an_ordinary_response() {
    let dyno = Dyno::listening();
    let router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(get("Connection: Upgrade\r\nUpgrade: echo\r\n"));
    let mut wire = dyno.accept();
    wire.head();
    wire.send(ok("no"));
    assert_eq!(client.response().text(), "no");
    router.still_serves(&mut client);
}

#[test]
fn a_pipelined_request_is_answered_in_its_turn() {
    let dyno = fakes::echoes();
    let router = Router::to(dyno.address);
    let mut client = router.client();
    client.send([post("Content-Length: 5\r\n", "hello"), get("X-N: 2\r\n"), get("X-N: 3\r\n")].concat());
    for body in ["hello", "", ""] {
        let echo: serde_json::Value = serde_json::from_slice(&client.response().body).unwrap();
        assert_eq!(echo["body"], body);
    }
}
