//! What is left of a response when its stream is over: the router has all of it, and the client has not taken it yet.

use std::{
    net::{Ipv4Addr, TcpListener},
    num::NonZeroU32,
    time::{Duration, Instant},
};

use it::{App, Dyno, PATIENCE, Router, fakes, filler};
use router_core::{
    observe::Closed,
    server::{Listener, ServerOptions},
};

use super::{
    client::run,
    frames::{DATA, END_STREAM, Raw, WINDOW_UPDATE, frame, get},
};

/// So much a socket takes ahead.
const NARROW: usize = 64 << 10;
/// Far more than that, and all of it may be given to h2 at once.
const BIG: usize = 1 << 20;
/// An initial window without end.
const WINDOW: (u16, u32) = (4, 0x7fff_ffff);

/// A listener whose sockets take so much ahead of a client.
fn listener(send_buffer: usize) -> Listener {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port can be had");
    socket2::SockRef::from(&listener).set_send_buffer_size(send_buffer).expect("it can be set");
    Listener::from_std(listener).expect("it listens").with_h2c()
}

/// A router whose sockets take little ahead of a client.
fn narrow(dyno: &Dyno, change: impl FnOnce(&mut ServerOptions)) -> Router {
    let app = App::new([dyno.address]).routed(|routing| routing.concurrency_per_dyno = NonZeroU32::new(1));
    Router::start_on(listener(NARROW), app, |options| {
        options.http2.send_buffer = 2 * BIG;
        change(options);
    })
}

/// A client that has asked for something and takes nothing.
fn unread(router: &Router) -> Raw {
    let wire = router.client();
    socket2::SockRef::from(&wire.stream()).set_recv_buffer_size(NARROW / 2).expect("it can be set");
    let mut client = Raw::over(wire, &[WINDOW]);
    client.send([frame(WINDOW_UPDATE, 0, 0, 0x7000_0000_u32.to_be_bytes()), get(1)].concat());
    client
}

/// A client that took as much of a response as was needed for its stream to be over, and what it took.
fn slow(router: &Router, dyno: &Dyno) -> (Raw, Vec<u8>) {
    let mut client = unread(router);
    let mut wire = dyno.accept();
    wire.head();
    wire.send(fakes::ok(filler(BIG)));
    let mut next = router.client();
    next.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n");
    wire.head(); // so the router has all of the response before
    wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    next.response();
    let mut body = Vec::new();
    while router.totals().requests % 2 == 1 {
        let (piece, last) = piece(&mut client);
        body.extend(piece);
        assert!(!last, "nothing is left");
    }
    (client, body)
}

/// The next piece of the body, and whether it is the last one.
fn piece(client: &mut Raw) -> (Vec<u8>, bool) {
    let mut next = client.next();
    while next.kind != DATA {
        next = client.next();
    }
    (next.payload, next.flags & END_STREAM != 0)
}

/// Takes the rest of it.
fn take_the_rest((client, body): &mut (Raw, Vec<u8>)) {
    let mut is_last = false;
    while !is_last {
        let (more, last) = piece(client);
        body.extend(more);
        is_last = last;
    }
    assert!(*body == filler(BIG), "another body");
}

#[test]
fn a_drain_waits_until_a_slow_client_has_taken_the_rest_of_its_response() {
    let dyno = Dyno::listening();
    let router = narrow(&dyno, |_| {});
    let mut clients = [slow(&router, &dyno), slow(&router, &dyno)];
    let idle = Raw::connect(&router);
    let meter = router.meter();
    run(async move {
        let drained = tokio::spawn(router.into_server().drain(Duration::from_secs(60)));
        idle.goaway(); // so the time to close in order is over
        clients.iter_mut().for_each(take_the_rest);
        drop(clients);
        assert_eq!(drained.await.expect("it is over").cut, 0);
    });
    let closed = meter.totals().closed;
    assert_eq!((closed.get(&Closed::DrainAnswered), closed.get(&Closed::DrainIdle)), (Some(&2), Some(&1)));
}

#[test]
fn what_is_in_the_socket_when_a_drain_ends_the_connection_still_arrives() {
    let dyno = Dyno::listening();
    let router = Router::start_on(listener(BIG), App::new([dyno.address]), |_| {});
    let mut client = unread(&router);
    let mut wire = dyno.accept();
    wire.head();
    wire.send(fakes::ok(filler(3 * NARROW)));
    router.until("the socket has all of it", |totals| totals.requests == 1);
    let _idle = Raw::connect(&router);
    let meter = router.meter();
    run(async move {
        let drained = tokio::spawn(router.into_server().drain(Duration::from_secs(60)));
        let start = Instant::now();
        while !meter.totals().closed.contains_key(&Closed::DrainIdle) {
            assert!(start.elapsed() < PATIENCE, "who does not close is not waited for");
            tokio::task::yield_now().await;
        }
        let mut body = Vec::new();
        while body.len() < 3 * NARROW {
            body.extend(piece(&mut client).0);
            client.send(frame(WINDOW_UPDATE, 0, 0, 1000_u32.to_be_bytes()));
        }
        drop(client);
        assert_eq!(drained.await.expect("it is over").cut, 0);
    });
}

#[test]
fn what_a_client_has_not_taken_when_patience_is_over_is_cut_and_counted() {
    let dyno = Dyno::listening();
    let router = narrow(&dyno, |_| {});
    let (_client, _) = slow(&router, &dyno);
    let meter = router.meter();
    run(async move {
        assert_eq!(router.into_server().drain(Duration::from_millis(50)).await.cut, 1);
    });
    assert_eq!(meter.totals().closed.get(&Closed::DrainCut), Some(&1));
}

#[test]
fn a_client_that_takes_the_rest_of_its_response_is_not_idle() {
    let dyno = Dyno::listening();
    let short = |options: &mut ServerOptions| options.keepalive_timeout = Duration::from_millis(50);
    let router = narrow(&dyno, short);
    let mut client = slow(&router, &dyno);
    Raw::connect(&router).goaway(); // an idle one is closed meanwhile
    take_the_rest(&mut client);
    client.0.goaway();
    router.until("both are closed", |totals| totals.closed.get(&Closed::Idle) == Some(&2));
}
