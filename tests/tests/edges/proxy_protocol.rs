//! With a PROXY header that says for whom a connection is.

use std::{net::Ipv4Addr, num::NonZeroUsize, time::Duration};

use it::{App, Dyno, Router, fakes::ok};
use router_core::{
    observe::Closed,
    route::forward::TrustedProxies,
    server::{Listener, ServerOptions, listen::ProxyProtocol},
};

use super::{GET, get};

const V1: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 4000 443\r\n";

/// Version 2 for a client at 2001:db8::7, with a TLV.
fn v2() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x29".to_vec();
    header.extend("2001:db8::7".parse::<std::net::Ipv6Addr>().expect("an address").octets());
    header.extend([0; 16]);
    header.extend([0x0f, 0xa0, 0x01, 0xbb, 0x05, 0, 2, b'i', b'd']);
    header
}

fn start(from: &[&str], dyno: &Dyno, change: impl FnOnce(&mut ServerOptions)) -> Router {
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port can be had");
    let from = from.iter().map(|network| network.parse().expect("a network")).collect();
    let from = Some(from).filter(|from| *from != TrustedProxies::default());
    Router::start_on(listener.with_proxy_protocol(ProxyProtocol { from }), App::new([dyno.address]), change)
}

/// Fails unless this connection ended for that reason, and no dyno heard of it.
fn ended(router: &Router, dyno: &Dyno, why: Closed) {
    router.until(why.as_str(), |totals| totals.closed.get(&why) == Some(&1));
    assert_eq!(router.totals().requests, 0);
    dyno.nobody_else_came();
}

#[test]
fn the_header_names_the_client_for_the_dyno_and_the_log() {
    for (header, client_address) in [(V1.as_bytes().to_vec(), "192.0.2.7"), (v2(), "2001:db8::7")] {
        let dyno = Dyno::listening();
        let mut router = start(&["127.0.0.0/8"], &dyno, |_| {});
        let mut client = router.client();
        client.send(header);
        client.send(get("X-Forwarded-For: 10.0.0.1\r\n"));
        let mut wire = dyno.accept();
        let list = format!("10.0.0.1, {client_address}");
        assert_eq!(wire.request().get("X-Forwarded-For"), Some(list.as_str()));
        wire.send(ok("ok"));
        assert_eq!(client.response().text(), "ok");
        assert_eq!(router.line().get("fwd"), list);
        // It is said once, for all requests of the connection.
        client.send(GET);
        assert_eq!(wire.request().get("X-Forwarded-For"), Some(client_address));
    }
}

#[test]
fn the_header_may_come_byte_by_byte_and_with_requests_behind_it() {
    let dyno = Dyno::listening();
    let router = start(&[], &dyno, |_| {});
    let mut client = router.client();
    client.drip(v2());
    client.drip(GET);
    let mut wire = dyno.accept();
    assert_eq!(wire.request().get("X-Forwarded-For"), Some("2001:db8::7"));
    wire.send(ok("one"));
    assert_eq!(client.response().text(), "one");

    let mut client = router.client();
    client.send([V1, GET, GET].concat());
    for answer in ["one", "two"] {
        assert_eq!(wire.request().get("X-Forwarded-For"), Some("192.0.2.7"));
        wire.send(ok(answer));
        assert_eq!(client.response().text(), answer);
    }
}

#[test]
fn a_header_for_nobody_means_the_proxy_itself() {
    let dyno = Dyno::listening();
    let router = start(&[], &dyno, |_| {});
    for header in [b"PROXY UNKNOWN\r\n".to_vec(), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec()] {
        let mut client = router.client();
        client.send(header);
        client.send(get("Connection: close\r\n"));
        let mut wire = dyno.accept();
        assert_eq!(wire.request().get("X-Forwarded-For"), Some("127.0.0.1"));
        wire.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        assert_eq!(client.response().status(), 204);
    }
}

#[test]
fn what_is_no_header_closes_the_connection_without_a_word_and_is_counted() {
    for garbage in [GET.as_bytes(), b"PROXY TCP4 1.2.3.4\r\n", b"\x16\x03\x01\x02\0", &[b'P'; 200]] {
        let dyno = Dyno::listening();
        let router = start(&[], &dyno, |_| {});
        let mut client = router.client();
        client.try_send(garbage);
        client.is_closed();
        ended(&router, &dyno, Closed::ProxyHeader);
    }
}

#[test]
fn a_header_that_does_not_come_in_time_closes_the_connection() {
    let dyno = Dyno::listening();
    let router = start(&[], &dyno, |options| options.head_timeout = Duration::from_millis(100));
    let mut client = router.client();
    client.send(&V1.as_bytes()[..20]);
    client.is_closed();
    ended(&router, &dyno, Closed::ProxyHeader);
}

#[test]
fn a_proxy_that_nobody_named_is_closed_at_once() {
    let dyno = Dyno::listening();
    let router = start(&["10.0.0.0/8", "127.0.0.2"], &dyno, |_| {});
    let mut client = router.client();
    client.try_send([V1, GET].concat());
    client.is_closed();
    ended(&router, &dyno, Closed::ProxyPeer);
}

#[test]
fn connections_are_counted_for_the_client_that_the_header_names() {
    let dyno = Dyno::listening();
    let router = start(&[], &dyno, |options| options.connections_per_client = NonZeroUsize::new(1));
    let (mut one, mut same, mut other) = (router.client(), router.client(), router.client());
    one.send(V1);
    one.send(GET);
    let mut wire = dyno.accept();
    wire.request();
    same.try_send([V1, GET].concat());
    same.is_closed();
    other.send([&v2(), GET.as_bytes()].concat());
    let mut second = dyno.accept();
    second.request();
    second.send(ok("another client"));
    assert_eq!(other.response().text(), "another client");
    assert_eq!(router.totals().closed.get(&Closed::ClientLimit), Some(&1));
}
