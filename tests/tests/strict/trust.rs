//! Whom the router believes about the client: nobody, or the proxies it was told to trust.

use busbar_registry::Balance;
use it::{App, Dyno, Head, Router, fakes, fakes::ok};
use router_core::server::ServerOptions;

use super::{get, seen_by_dyno, seen_by_dyno_of};

/// What a proxy says.
const SAID: &str = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 203.0.113.7, 10.0.0.2\r\nX-Forwarded-Proto: https\r\n\
    X-Forwarded-Port: 8443\r\nX-Request-Start: t=1700000000123\r\nX-Forwarded-Host: shop.example\r\n";

/// The tests connect from loopback.
fn trusting(options: &mut ServerOptions) {
    let networks = ["127.0.0.0/8", "10.0.0.0/8", "::1"];
    options.trusted_proxies = networks.iter().map(|text| text.parse().expect("a network")).collect();
}

/// What the dyno gets, and the `fwd` of the log.
fn told(change: impl FnOnce(&mut ServerOptions), request: &str) -> (Head, String) {
    let dyno = Dyno::listening();
    let mut router = Router::start_with(App::new([dyno.address]), change);
    let mut client = router.client();
    client.send(request);
    let mut wire = dyno.accept();
    let seen = wire.request();
    wire.send(ok("ok"));
    assert_eq!(client.response().status(), 200);
    (seen.head, router.line().get("fwd").to_owned())
}

#[test]
fn nobody_is_believed_who_is_not_trusted() {
    let elsewhere = |options: &mut ServerOptions| {
        options.trusted_proxies = std::iter::once("192.0.2.0/24".parse().expect("a network")).collect();
    };
    for (seen, fwd) in [told(|_| {}, &get(SAID)), told(elsewhere, &get(SAID))] {
        assert_eq!(fwd, "6.6.6.6, 203.0.113.7, 10.0.0.2, 127.0.0.1");
        assert_eq!(seen.get("X-Forwarded-For"), Some(&*fwd));
        assert_eq!((seen.get("X-Forwarded-Proto"), seen.get("X-Forwarded-Port")), (Some("http"), Some("80")));
        assert!(seen.get("X-Request-Start").is_some_and(|start| !start.contains("1700000000123")));
        assert_eq!(seen.get("X-Forwarded-Host"), Some("shop.example"), "apps break without it");
    }
}

#[test]
fn a_trusted_proxy_is_believed_about_client_scheme_port_and_start() {
    let (seen, fwd) = told(trusting, &get(SAID));
    assert_eq!(fwd, "6.6.6.6, 203.0.113.7", "the last one is the client");
    assert_eq!(seen.get("X-Forwarded-For"), Some("6.6.6.6, 203.0.113.7, 10.0.0.2, 127.0.0.1"));
    assert_eq!((seen.get("X-Forwarded-Proto"), seen.get("X-Forwarded-Port")), (Some("https"), Some("8443")));
    assert_eq!(seen.get("X-Request-Start"), Some("t=1700000000123"));
}

#[test]
fn what_a_trusted_proxy_says_wrongly_is_ignored() {
    let wrong = "X-Forwarded-For: 203.0.113.7, unknown\r\nX-Forwarded-Proto: gopher\r\nX-Forwarded-Port: 80, 443\r\n\
        X-Request-Start: yesterday\r\n";
    let (seen, fwd) = told(trusting, &get(wrong));
    assert_eq!(fwd, "203.0.113.7, unknown, 127.0.0.1");
    assert_eq!((seen.get("X-Forwarded-Proto"), seen.get("X-Forwarded-Port")), (Some("http"), Some("80")));
    assert!(seen.get("X-Request-Start").is_some_and(|start| start.bytes().all(|b| b.is_ascii_digit())));

    let twice = "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Port: 2\r\n";
    let (seen, _) = told(trusting, &get(twice));
    assert_eq!((seen.get("X-Forwarded-Proto"), seen.get("X-Forwarded-Port")), (Some("http"), Some("80")));

    let (seen, fwd) = told(trusting, &get(""));
    assert_eq!((fwd.as_str(), seen.get("X-Forwarded-For")), ("127.0.0.1", Some("127.0.0.1")));
}

#[test]
fn the_client_behind_a_trusted_proxy_is_who_the_balance_goes_by() {
    let dynos =
        [fakes::answers("one"), fakes::answers("two"), fakes::answers("three"), fakes::answers("four")];
    let addresses = dynos.each_ref().map(|dyno| dyno.address);
    let app = App::new(addresses).routed(|routing| routing.balance = Balance::Rendezvous);
    let router = Router::start_with(app, trusting);
    let mut client = router.client();
    let mut ask = |address: &str| {
        client.send(get(&format!("X-Forwarded-For: {address}\r\n")));
        client.response().text()
    };
    let mut dynos_used = std::collections::BTreeSet::new();
    for n in 0..40 {
        let address = format!("203.0.113.{n}");
        let dyno = ask(&address);
        assert_eq!(dyno, ask(&format!("6.6.6.6, {address}, 10.0.0.1")), "{address}");
        dynos_used.insert(dyno);
    }
    assert!(dynos_used.len() > 1, "all clients are one: {dynos_used:?}");
}

fn with_forwarded(options: &mut ServerOptions) {
    options.forwarded = true;
}

#[test]
fn forwarded_is_left_alone_unless_it_is_asked_for() {
    assert_eq!(seen_by_dyno(get("Forwarded: for=x\r\n")).all("Forwarded"), ["for=x"]);
    assert_eq!(seen_by_dyno(get("")).get("Forwarded"), None);
}

#[test]
fn forwarded_gets_an_element_behind_what_came() {
    let ours = "for=127.0.0.1;proto=http;host=app.test";
    assert_eq!(seen_by_dyno_of(with_forwarded, get("")).all("Forwarded"), [ours]);
    let came =
        "Forwarded: for=192.0.2.43, for=\"[2001:db8::17]\"\r\nForwarded: for=unknown;by=\"a\\\"b\"\r\n";
    let seen = seen_by_dyno_of(with_forwarded, get(came));
    let kept = ["for=192.0.2.43, for=\"[2001:db8::17]\"", "for=unknown;by=\"a\\\"b\""];
    assert_eq!(seen.all("Forwarded"), [kept[0], kept[1], ours]);
    let port = get("").replace("Host: app.test", "Host: app.test:8080");
    assert_eq!(
        seen_by_dyno_of(with_forwarded, port).all("Forwarded"),
        ["for=127.0.0.1;proto=http;host=\"app.test:8080\""]
    );
}

#[test]
fn forwarded_with_an_open_quote_does_not_swallow_ours() {
    for open in ["for=\"evil", "for=\"evil\\\"", "\""] {
        let seen = seen_by_dyno_of(with_forwarded, get(&format!("Forwarded: {open}\r\n")));
        assert_eq!(seen.all("Forwarded"), ["for=127.0.0.1;proto=http;host=app.test"], "{open}");
    }
}
