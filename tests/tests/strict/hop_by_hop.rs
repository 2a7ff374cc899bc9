//! What belongs to one connection stays there, in both directions; everything else passes as it came.

use it::{Head, fakes::ok};

use super::{get, post, seen_by_dyno, sent};

/// What the client gets when a dyno's response has these header lines.
fn seen_by_client(fields: &str) -> it::Message {
    let (_dyno, _router, mut client, mut wire) = sent(get(""));
    wire.request();
    wire.send(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok"));
    client.response()
}

fn has_none(head: &Head, names: &[&str], of: &str) {
    for name in names {
        assert_eq!(head.all(name), [] as [&str; 0], "{name} of {of}");
    }
}

#[test]
fn hop_by_hop_headers_stay_on_their_hop_both_ways() {
    let fields = "Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers, gzip\r\n\
                  Proxy-Authorization: Basic eDp5\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\
                  Upgrade: h2c\r\nX-Own: 1\r\n";
    let gone = [
        "Keep-Alive",
        "Proxy-Connection",
        "TE",
        "Proxy-Authorization",
        "HTTP2-Settings",
        "Upgrade",
        "Connection",
    ];
    let request = seen_by_dyno(get(fields));
    has_none(&request, &gone, "a request");
    assert_eq!(request.get("X-Own"), Some("1"));
    let response = seen_by_client(fields);
    has_none(&response, &gone, "a response");
    assert_eq!(response.get("X-Own"), Some("1"));
}

#[test]
fn what_connection_names_goes_no_further_both_ways_however_it_is_written() {
    let fields = "Connection: close, X-One ,x-TWO,, keep-alive\r\nX-One: 1\r\nX-Two: 2\r\nx-one: 3\r\n\
                  Connection: X-Three\r\nX-Three: 4\r\nX-Four: 5\r\n";
    let gone = ["X-One", "X-Two", "X-Three"];
    let request = seen_by_dyno(get(fields));
    has_none(&request, &gone, "a request");
    assert_eq!(request.get("X-Four"), Some("5"));
    let response = seen_by_client(fields);
    has_none(&response, &gone, "a response");
    assert_eq!(response.get("X-Four"), Some("5"));
}

#[test]
fn connection_cannot_name_away_what_a_message_needs() {
    let named = "Connection: Host, Content-Length, X-Forwarded-For, X-Request-Id, Via, Transfer-Encoding\r\n";
    let request = seen_by_dyno(post(&format!("{named}Content-Length: 5\r\n"), "hello"));
    assert_eq!((request.get("Host"), request.text().as_str()), (Some("app.test"), "hello"));
    assert_eq!(request.get("X-Forwarded-For"), Some("127.0.0.1"));
    assert!(request.get("X-Request-Id").is_some() && request.get("Via").is_some());
    let request =
        seen_by_dyno(post(&format!("{named}Transfer-Encoding: chunked\r\n"), "5\r\nhello\r\n0\r\n\r\n"));
    assert_eq!(request.text(), "hello");
    let response = seen_by_client(named);
    assert_eq!((response.content_length(), response.text().as_str()), (Some(2), "ok"));
}

#[test]
fn a_connection_header_that_cannot_be_understood_is_400() {
    super::Refused::default()
        .and(
            400,
            "H26",
            "bad header",
            [
                ("a quote", get("Connection: \"close\"\r\n")),
                ("a parameter", get("Connection: close;a=b\r\n")),
                ("a bracket", get("Connection: (close)\r\n")),
                ("upgrade to nothing", get("Connection: upgrade\r\n")),
            ],
        )
        .check();
}

#[test]
fn proxy_which_cgi_takes_for_a_setting_goes_no_further() {
    let request = seen_by_dyno(get("Proxy: http://evil.test:8080\r\npROXY: x\r\nX-Proxy: kept\r\n"));
    assert_eq!((request.get("Proxy"), request.get("X-Proxy")), (None, Some("kept")));
}

#[test]
fn upgrade_to_h2c_is_not_passed_on_and_the_request_is_served_without() {
    for fields in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: Upgrade\r\nUpgrade: H2C\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c, h2\r\n",
        "Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n",
        "Connection: Upgrade\r\nUpgrade:\r\n",
    ] {
        let request = seen_by_dyno(get(fields));
        has_none(&request, &["Upgrade", "HTTP2-Settings"], fields);
        assert!(!request.connection_has("Upgrade"), "{fields}");
    }
    for fields in [
        "Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n",
    ] {
        let request = seen_by_dyno(get(fields));
        assert_eq!(request.all("Upgrade"), ["websocket"], "{fields}");
        assert!(request.connection_has("Upgrade"), "{fields}");
    }
}

#[test]
fn via_names_the_router_and_the_version_it_received() {
    assert_eq!(seen_by_dyno(get("Via: 1.0 a\r\nVia: 1.1 b\r\n")).all("Via"), ["1.0 a, 1.1 b, 1.1 busbar"]);
    assert_eq!(seen_by_dyno(get("").replace("HTTP/1.1", "HTTP/1.0")).get("Via"), Some("1.0 busbar"));
    assert_eq!(seen_by_client("Via: 1.1 inner\r\n").get("Via"), Some("1.1 inner, 1.1 busbar"));
}

#[test]
fn a_1xx_is_stripped_as_well_and_has_no_framing() {
    let (_dyno, _router, mut client, mut wire) = sent(get(""));
    wire.request();
    wire.send(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nKeep-Alive: 5\r\nContent-Length: 10\r\nConnection: X-A\r\n\
         X-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    let hints = client.head();
    assert_eq!((hints.status(), hints.get("Link")), (103, Some("</a.css>")));
    has_none(&hints, &["Keep-Alive", "Content-Length", "Connection", "X-A", "Transfer-Encoding"], "a 103");
    wire.send(ok("ok"));
    assert_eq!(client.response().text(), "ok");
}
