//! How many streams, how many connections, and their ends.

use std::num::NonZeroU32;

use busbar_registry::Millis;
use it::{Dyno, Http2, Router, http2::MAX_CONCURRENT_STREAMS};

use super::{GET, h2c, router_to};

#[test]
fn requests_at_the_same_time_share_a_connection() {
    let dyno = Dyno::listening();
    let router = router_to(dyno.address);
    let mut clients: Vec<_> = (0..50).map(|_| router.client()).collect();
    clients.iter_mut().for_each(|client| client.send(GET));
    let mut http2 = Http2::accept(&dyno);
    let streams: Vec<_> = clients.iter().map(|_| http2.request().0).collect();
    streams.iter().rev().for_each(|stream| http2.answer(*stream, "ok"));
    assert!(clients.iter_mut().all(|client| client.response().text() == "ok"));
    dyno.nobody_else_came();
}

#[test]
fn beyond_what_a_dyno_allows_another_connection_is_made() {
    let dyno = Dyno::listening();
    let router = router_to(dyno.address);
    let allows = [(MAX_CONCURRENT_STREAMS, 2)];
    let mut clients: Vec<_> = (0..5).map(|_| router.client()).collect();
    clients.iter_mut().for_each(|client| client.send(GET));
    let mut connections = Vec::new();
    for streams in [2, 2, 1] {
        let mut http2 = Http2::accept_with(&dyno, &allows);
        let streams: Vec<_> = (0..streams).map(|_| http2.request().0).collect();
        connections.push((http2, streams));
    }
    for (http2, streams) in &mut connections {
        streams.iter().for_each(|stream| http2.answer(*stream, "ok"));
    }
    assert!(clients.iter_mut().all(|client| client.response().text() == "ok"));
    dyno.nobody_else_came();
}

#[test]
fn an_idle_connection_is_closed_in_order_when_its_time_is_over() {
    let dyno = Dyno::listening();
    let router = Router::with(dyno.address, |routing| {
        h2c(routing);
        routing.dyno_keepalive_ms = Millis(100);
    });
    let mut client = router.client();
    client.send(GET);
    let mut http2 = Http2::accept(&dyno);
    let (stream, _) = http2.request();
    http2.answer(stream, "ok");
    assert_eq!(client.response().text(), "ok");
    http2.ends();
}

#[test]
fn a_dyno_that_was_taken_away_finishes_its_streams_and_gets_no_more() {
    let (old, new) = (Dyno::listening(), Dyno::listening());
    let mut router = Router::with(old.address, |routing| {
        h2c(routing);
        routing.dyno_keepalive_ms = Millis(100);
    });
    let mut client = router.client();
    client.send(GET);
    let mut first = Http2::accept(&old);
    let (stream, _) = first.request();
    router.remove_dyno("web.1", 1);
    router.add_dyno(2, new.address);
    let mut other = router.client();
    other.send(GET);
    let mut second = Http2::accept(&new);
    let (newer, _) = second.request();
    second.answer(newer, "new");
    assert_eq!(other.response().text(), "new");
    first.answer(stream, "old");
    assert_eq!(client.response().text(), "old");
    first.ends();
}

#[test]
fn a_dyno_over_http_2_gets_one_request_at_a_time_if_that_is_its_limit() {
    let dyno = Dyno::listening();
    let mut router = Router::with(dyno.address, |routing| {
        h2c(routing);
        routing.concurrency_per_dyno = NonZeroU32::new(1);
    });
    let (mut one, mut two) = (router.client(), router.client());
    one.send(GET);
    let mut http2 = Http2::accept(&dyno);
    let (stream, _) = http2.request();
    two.send(GET);
    router.waits_until(1);
    http2.answer(stream, "one");
    assert_eq!(one.response().text(), "one");
    let (stream, _) = http2.request();
    http2.answer(stream, "two");
    assert_eq!(two.response().text(), "two");
    assert_eq!([router.code(), router.code()], ["", ""]);
}
