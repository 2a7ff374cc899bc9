//! Handshakes that are slow, many, failing, or no TLS at all; certificates swapped under load.

use std::{
    io::Write as _,
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use it::{App, PATIENCE, Wire, fakes};
use router_core::{observe::Closed, server::listen::ProxyProtocol, tls::TlsPolicy};
use rustls::{ClientConnection, pki_types::ServerName};

use super::{
    GET,
    client::{Authority, Client, all, listener, start, start_on, store},
};

fn count(router: &it::Router, why: Closed) -> u64 {
    router.totals().closed.get(&why).copied().unwrap_or_default()
}

#[test]
fn a_client_that_says_nothing_or_half_a_hello_is_closed_in_time() {
    let authority = Authority::new();
    let dyno = fakes::answers("ok");
    let router = start(&store([authority.signs(&["app.test"])], true), App::new([dyno.address]), |options| {
        options.handshake_timeout = Duration::from_millis(50);
    });
    let silent = TcpStream::connect(router.address).expect("it listens");
    let half = half_hello(&router);
    router.until("both are closed", |totals| totals.closed.get(&Closed::TlsTimeout) == Some(&2));
    assert!(!Wire::new(silent).has_more());
    assert!(!Wire::new(half).has_more());
}

#[test]
fn only_so_many_handshakes_go_on_at_a_time_and_the_silent_take_no_place() {
    let authority = Authority::new();
    let dyno = fakes::answers("ok");
    let router = start(&store([authority.signs(&["app.test"])], true), App::new([dyno.address]), |options| {
        options.handshakes_per_worker = 1;
    });
    let _silent: Vec<_> = (0..8).map(|_| TcpStream::connect(router.address).expect("it listens")).collect();
    let mut client = Client::connect(router.address, &authority.client(), "app.test");
    client.send(GET);
    assert_eq!(client.response().1, b"ok");

    let _half = half_hello(&router);
    router.until("all are in", |totals| totals.connections_open == 10);
    client.send(GET); // when it is answered, the worker has seen the half hello
    assert_eq!(client.response().1, b"ok");
    let mut other = Client::connect(router.address, &authority.client(), "app.test");
    other.send(GET);
    assert_eq!(other.response().1, b"ok");
    assert_eq!((router.totals().tls_handshakes, count(&router, Closed::TlsTimeout)), (2, 0));

    let stalls = stalls(&router, &authority);
    router.until("it is in", |totals| totals.connections_open == 12);
    client.send(GET);
    assert_eq!(client.response().1, b"ok");
    let (address, config) = (router.address, authority.client());
    let waits = thread::spawn(move || Client::handshake(address, config, "app.test").is_ok());
    router.until("it has come", |totals| totals.connections_open == 13);
    drop(stalls);
    assert!(waits.join().expect("no panic"), "its turn came");
    router.until("it is done", |totals| totals.tls_handshakes == 3);
}

#[test]
fn whoever_stalls_in_a_handshake_loses_the_place_to_those_who_wait() {
    let authority = Authority::new();
    let dyno = fakes::answers("ok");
    let router = start(&store([authority.signs(&["app.test"])], true), App::new([dyno.address]), |options| {
        options.handshakes_per_worker = 1;
        options.handshake_timeout = 10 * PATIENCE;
    });
    let _stalls = [stalls(&router, &authority), stalls(&router, &authority)];
    let mut client = Client::connect(router.address, &authority.client(), "app.test");
    client.send(GET);
    assert_eq!(client.response().1, b"ok");
    router.until("they are gone", |totals| totals.closed.get(&Closed::TlsTimeout) == Some(&2));
}

/// A client that has begun to say hello.
fn half_hello(router: &it::Router) -> TcpStream {
    let mut half = TcpStream::connect(router.address).expect("it listens");
    half.write_all(&[22, 3, 1, 2, 0, 1]).expect("it is taken");
    half
}

/// A client that says hello and nothing more.
fn stalls(router: &it::Router, authority: &Authority) -> TcpStream {
    let name = ServerName::try_from("app.test").expect("a name");
    let mut tls = ClientConnection::new(Arc::new(authority.client()), name).expect("a client");
    let mut stream = TcpStream::connect(router.address).expect("it listens");
    tls.write_tls(&mut stream).expect("it is taken");
    stream
}

#[test]
fn plain_http_on_a_tls_port_is_told_so() {
    let authority = Authority::new();
    let dyno = fakes::answers("ok");
    let mut router = start(&store([authority.signs(&["app.test"])], true), App::new([dyno.address]), |_| {});
    let mut client = router.client();
    client.send(GET);
    let response = client.response();
    assert!(response.start.contains(" 400 "));
    assert!(response.text().contains("This port speaks TLS"), "{}", response.text());
    assert!(!client.has_more());
    router.until("it is counted", |totals| totals.closed.get(&Closed::PlainOnTls) == Some(&1));
    let line = router.line();
    assert_eq!((line.get("status"), line.get("tls")), ("400", "false"));
}

#[test]
fn what_is_no_tls_is_closed_and_counted() {
    let authority = Authority::new();
    let dyno = fakes::answers("ok");
    let router = start(&store([authority.signs(&["app.test"])], true), App::new([dyno.address]), |_| {});
    for garbage in [&[0u8; 64][..], b"\x16\x03\x01\xff\xff\xff\xff", b"\x16\x03\x01\x00\x05hello"] {
        let before = count(&router, Closed::TlsMalformed);
        let mut client = router.client();
        client.send(garbage);
        client.rest();
        router.until("counted", |totals| totals.closed.get(&Closed::TlsMalformed) == Some(&(before + 1)));
    }
}

#[test]
fn what_was_not_encrypted_by_the_client_ends_its_connection_by_a_reason_of_its_own() {
    let authority = Authority::new();
    let dyno = fakes::answers("ok");
    let router = start(&store([authority.signs(&["app.test"])], true), App::new([dyno.address]), |_| {});
    for (nth, requests) in [(1, 0), (2, 1)] {
        let mut client = Client::connect(router.address, &authority.client(), "app.test");
        router.until("the handshake is over here, too", |totals| totals.tls_handshakes == nth);
        for _ in 0..requests {
            client.send(GET);
            assert_eq!(client.response().1, b"ok");
        }
        client
            .0
            .sock
            .write_all(b"\x17\x03\x03\x00\x20forged forged forged forged forg")
            .expect("it is taken");
        assert!(client.rest().1.is_err(), "it got an alert");
        router.until("counted", |totals| totals.closed.get(&Closed::TlsBroken) == Some(&nth));
    }
    assert_eq!(count(&router, Closed::TlsMalformed), 0);
}

#[test]
fn a_proxy_header_comes_before_the_handshake() {
    let authority = Authority::new();
    let dyno = it::Dyno::listening();
    let listener = listener().with_proxy_protocol(ProxyProtocol { from: None });
    let certificates = store([authority.signs(&["app.test"])], true);
    let mut router =
        start_on(listener, TlsPolicy::Intermediate, &certificates, App::new([dyno.address]), |_| {});
    let mut stream = TcpStream::connect(router.address).expect("it listens");
    stream.write_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 443\r\n").expect("it is taken");
    let mut client = Client::begin(stream, authority.client(), "app.test").expect("a handshake");
    client.send(GET);
    let mut wire = dyno.accept();
    assert_eq!(wire.request().get("X-Forwarded-For"), Some("192.0.2.7"));
    wire.send(fakes::ok("ok"));
    assert_eq!(client.response().1, b"ok");
    assert_eq!(router.line().get("fwd"), "192.0.2.7");
}

#[test]
fn a_session_is_resumed_by_its_ticket() {
    let authority = Authority::new();
    let dyno = fakes::answers("ok");
    let router = start(&store([authority.signs(&["app.test"])], true), App::new([dyno.address]), |_| {});
    let config = authority.client();
    for resumed in 0..3 {
        let mut client = Client::connect(router.address, &config, "app.test");
        client.send(GET);
        assert_eq!(client.response().1, b"ok");
        let totals = router.totals();
        assert_eq!((totals.tls_handshakes, totals.tls_resumed), (resumed + 1, resumed));
    }
}

#[test]
fn certificates_are_swapped_1000_times_under_load_and_nobody_notices() {
    let authority = Authority::new();
    let dyno = fakes::answers("ok");
    let certificates = store([authority.signs(&["app.test"])], true);
    let router = start(&certificates, App::new([dyno.address]), |_| {});
    let mut before = Client::connect(router.address, &authority.client(), "app.test");
    let (over, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let both = [authority.signs(&["app.test"]), authority.signs(&["app.test", "*.test"])];
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let mut client = Client::connect(router.address, &authority.client(), "app.test");
                    client.send(GET);
                    assert_eq!(client.response().1, b"ok");
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for swap in 0..1000 {
            certificates.publish(all([both[swap % 2].clone()], true));
            before.send(GET);
            assert_eq!(before.response().1, b"ok");
        }
        over.store(true, Ordering::SeqCst);
    });
    let (done, totals) = (done.load(Ordering::SeqCst), router.totals());
    assert!(done > 10, "only {done} handshakes");
    assert_eq!(totals.tls_handshakes, done + 1, "{totals:?}");
    drop(before);
}
