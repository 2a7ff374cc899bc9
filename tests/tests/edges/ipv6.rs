//! Over IPv6.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use it::{App, Router, Wire, fakes::ok};
use router_core::server::Listener;

use super::{GET, get};

/// A dyno that the test plays, at `::1`.
fn dyno() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).expect("IPv6 works on this machine");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

#[test]
fn a_client_and_a_dyno_over_ipv6_see_and_log_ipv6_addresses() {
    let (dyno, address) = dyno();
    let listener = Listener::bind((Ipv6Addr::LOCALHOST, 0).into()).expect("a port can be had");
    let mut router = Router::start_on(listener, App::new([address]), |_| {});
    let mut client = router.client();
    client.send(get("X-Forwarded-For: 2001:db8::7\r\n"));
    let mut wire = Wire::new(dyno.accept().expect("the router comes").0);
    assert_eq!(wire.request().get("X-Forwarded-For"), Some("2001:db8::7, ::1"));
    wire.send(ok("six"));
    assert_eq!(client.response().text(), "six");
    let line = router.line();
    assert_eq!((line.get("fwd"), line.get("status")), ("2001:db8::7, ::1", "200"));
}

#[test]
fn an_ipv6_listener_on_any_address_takes_ipv6_only() {
    let (dyno, address) = dyno();
    let listener = Listener::bind((Ipv6Addr::UNSPECIFIED, 0).into()).expect("a port can be had");
    let port = listener.address().tcp().expect("a port").port();
    let _router = Router::start_on(listener, App::new([address]), |_| {});
    let mut client = Wire::connect((Ipv6Addr::LOCALHOST, port).into());
    client.send(GET);
    let mut wire = Wire::new(dyno.accept().expect("the router comes").0);
    assert_eq!(wire.request().get("X-Forwarded-For"), Some("::1"));
    wire.send(ok("six"));
    assert_eq!(client.response().text(), "six");
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "nobody asked for IPv4");
}
