//! SIGTERM for `busbar router`: nothing new, what is in flight goes on until a deadline, and every cut is counted.

use std::net::TcpStream;

use it::{Dyno, Wire, fakes};
use rustix::process::Signal;

use super::edge::shop;
use crate::{
    busbar::{Busbar, Place},
    wait::until,
};

/// A router, and a request that its one dyno has and does not answer yet: the client's end and the dyno's.
fn with_a_request_in_flight(flags: &[&str]) -> (Busbar, Wire, Wire) {
    let dyno = Dyno::listening();
    let busbar = Place::new().router(&shop(&[dyno.address], ""), flags);
    let mut client = busbar.client();
    client.send("GET /late HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    let mut wire = dyno.accept();
    assert_eq!(wire.request().target(), "/late");
    (busbar, client, wire)
}

/// Waits until it drains: no longer ready, and nobody listens any more.
fn drains(busbar: &Busbar) {
    until("it is not ready", || busbar.admin("/ready").filter(|(status, _)| *status == 503));
    assert_eq!(busbar.admin("/ready"), Some((503, "draining\n".into())));
    assert_eq!(busbar.admin("/health").map(|(status, _)| status), Some(200));
    until("nobody listens", || TcpStream::connect(busbar.address).is_err().then_some(()));
}

#[test]
fn sigterm_lets_what_is_in_flight_finish_and_takes_nothing_new() {
    let (mut busbar, mut client, mut dyno) = with_a_request_in_flight(&[]);
    let mut idle = busbar.client();
    assert_eq!(busbar.admin("/ready"), Some((200, "ready\n".into())));
    busbar.signal(Signal::TERM);
    drains(&busbar);
    idle.is_closed();
    assert!(!busbar.has_ended());
    dyno.send(fakes::ok("late"));
    assert_eq!(client.response().text(), "late");
    client.is_closed();
    assert_eq!(busbar.ended().code(), Some(0));
    busbar.err.line("busbar: drained: 1 request served, none was cut");
    assert!(
        busbar
            .out
            .to_the_end()
            .iter()
            .any(|line| line.contains("path=\"/late\"") && line.contains("status=200"))
    );
    busbar.left_nothing();
}

#[test]
fn what_is_in_flight_at_the_deadline_is_cut_and_counted() {
    let (mut busbar, mut client, mut dyno) = with_a_request_in_flight(&["--drain-timeout", "300ms"]);
    busbar.signal(Signal::TERM);
    dyno.is_closed();
    client.rest();
    assert_eq!(busbar.ended().code(), Some(0));
    busbar.err.line("1 connection was cut after 0.3 s (H24)");
    let lines = busbar.out.to_the_end();
    assert!(
        lines.iter().any(|line| line.contains("code=H24") && line.contains("path=\"/late\"")),
        "{lines:#?}"
    );
}

#[test]
fn a_second_sigterm_ends_it_at_once() {
    let (mut busbar, mut client, _dyno) = with_a_request_in_flight(&["--drain-timeout", "1h"]);
    busbar.signal(Signal::TERM);
    drains(&busbar);
    busbar.signal(Signal::TERM);
    assert_eq!(busbar.ended().code(), Some(130));
    client.rest();
}

#[test]
fn requests_are_still_taken_during_the_drain_delay() {
    let dyno = fakes::answers("ok");
    let text = format!("drain_delay = \"1h\"\n{}", shop(&[dyno.address], ""));
    let mut busbar = Place::new().router(&text, &[]);
    busbar.signal(Signal::TERM);
    until("it is not ready", || busbar.admin("/ready").filter(|(status, _)| *status == 503));
    assert_eq!(busbar.get("shop.example", "/"), (200, "ok".into()));
    busbar.signal(Signal::TERM);
    assert_eq!(busbar.ended().code(), Some(130));
}
