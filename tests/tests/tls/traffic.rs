//! Bodies, pipelines, tunnels, ends.

use std::{
    io::{Read as _, Write as _},
    thread,
    time::Duration,
};

use it::{App, Dyno, Router, fakes, filler};
use router_core::observe::Closed;

use super::{
    GET,
    client::{Authority, Client, start, store},
};

fn one(app: App) -> (Authority, Router) {
    let authority = Authority::new();
    let router = start(&store([authority.signs(&["app.test"])], true), app, |_| {});
    (authority, router)
}

#[test]
fn big_bodies_go_both_ways_at_once() {
    let dyno = fakes::echoes();
    let (authority, router) = one(App::new([dyno.address]));
    let client = Client::connect(router.address, &authority.client(), "app.test");
    let body = filler(8 << 20);
    let mut client = client;
    let head = format!("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: {}\r\n\r\n", body.len());
    client.send(head);
    client.send(&body);
    let (_, echoed) = client.response();
    let whole =
        String::from_utf8(echoed).expect("it is text").contains(str::from_utf8(&body).expect("it is text"));
    assert!(whole, "what came back is not what was sent");
    client.send(GET);
    client.response();
}

#[test]
fn requests_may_be_pipelined_and_come_in_any_pieces() {
    let dyno = fakes::answers("ok");
    let (authority, router) = one(App::new([dyno.address]));
    let mut client = Client::connect(router.address, &authority.client(), "app.test");
    client.send(GET.repeat(10));
    (0..10).for_each(|_| assert_eq!(client.response().1, b"ok"));
    for byte in GET.as_bytes() {
        client.send([*byte]); // a record for each
    }
    assert_eq!(client.response().1, b"ok");
    // Many records in one segment, then a record in several.
    for byte in GET.as_bytes() {
        client.0.conn.writer().write_all(&[*byte]).expect("it is taken");
    }
    client.0.flush().expect("it is taken");
    assert_eq!(client.response().1, b"ok");
    let mut records = Vec::new();
    client.0.conn.writer().write_all(GET.as_bytes()).expect("it is taken");
    client.0.conn.write_tls(&mut records).expect("it is taken");
    for piece in records.chunks(7) {
        client.0.sock.write_all(piece).expect("it is taken");
    }
    assert_eq!(client.response().1, b"ok");
}

#[test]
fn a_tunnel_carries_both_ways_and_each_way_is_closed_alone() {
    let dyno = Dyno::listening();
    let (authority, router) = one(App::new([dyno.address]));
    let mut client = Client::connect(router.address, &authority.client(), "app.test");
    client.send("GET / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    let mut wire = dyno.accept();
    wire.head();
    wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert!(client.head().start.contains(" 101 "));
    client.send("ping");
    assert_eq!(wire.exactly(4), b"ping");
    wire.send("pong");
    let mut pong = [0; 4];
    client.0.read_exact(&mut pong).expect("it comes");
    assert_eq!(&pong, b"pong");
    // close_notify closes one way only.
    client.0.conn.send_close_notify();
    client.0.flush().expect("it is taken");
    assert!(!wire.has_more());
    wire.send("last words");
    drop(wire);
    let (rest, end) = client.rest();
    assert_eq!(rest, b"last words");
    end.expect("it ended in order");
}

#[test]
fn a_body_until_close_ends_with_close_notify() {
    let dyno = fakes::ends_by_closing("until the end");
    let (authority, router) = one(App::new([dyno.address]));
    let mut client = Client::connect(router.address, &authority.client(), "app.test");
    client.send(GET);
    client.head();
    let (rest, end) = client.rest();
    assert_eq!(rest, b"until the end");
    end.expect("it ended in order");
}

#[test]
fn a_body_that_breaks_off_ends_without_close_notify() {
    let dyno = fakes::sends_half_a_response();
    let (authority, router) = one(App::new([dyno.address]));
    let mut client = Client::connect(router.address, &authority.client(), "app.test");
    client.send(GET);
    client.head();
    let (_, end) = client.rest();
    assert!(end.is_err(), "it must not look whole");
}

#[test]
fn a_tunnel_that_the_client_cuts_is_not_taken_for_its_end() {
    let dyno = Dyno::listening();
    let (authority, router) = one(App::new([dyno.address]));
    let mut client = Client::connect(router.address, &authority.client(), "app.test");
    client.send("GET / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    let mut wire = dyno.accept();
    wire.head();
    wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    client.head();
    client.0.sock.shutdown(std::net::Shutdown::Write).expect("it was open");
    wire.rest();
    router.until("it is over", |totals| totals.connections_open == 0);
}

#[test]
fn an_idle_connection_is_closed_with_close_notify() {
    let authority = Authority::new();
    let dyno = fakes::answers("ok");
    let certificates = store([authority.signs(&["app.test"])], true);
    let router = start(&certificates, App::new([dyno.address]), |options| {
        options.keepalive_timeout = Duration::from_millis(150);
    });
    let mut client = Client::connect(router.address, &authority.client(), "app.test");
    client.send(GET);
    client.response();
    client.rest().1.expect("it ended in order");
    router.until("it is counted", |totals| totals.closed.get(&Closed::Idle) == Some(&1));
}

#[test]
fn a_drain_ends_idle_connections_in_order_and_lets_requests_finish() {
    let dyno = Dyno::listening();
    let (authority, router) = one(App::new([dyno.address]));
    let idle = Client::connect(router.address, &authority.client(), "app.test");
    let mut idle = idle;
    idle.send(GET);
    let mut wire = dyno.accept();
    wire.request();
    wire.send(fakes::ok("ok"));
    idle.response();
    let mut busy = Client::connect(router.address, &authority.client(), "app.test");
    busy.send(GET);
    wire.request();
    let server = router.into_server();
    let drained = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(server.drain(Duration::from_secs(5)))
    });
    idle.rest().1.expect("it ended in order");
    wire.send(fakes::ok("done"));
    assert_eq!(busy.response().1, b"done");
    busy.rest().1.expect("it ended in order");
    assert_eq!(drained.join().expect("no panic").cut, 0);
}
