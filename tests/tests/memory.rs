//! What clients can make the router hold. The memory of this very process is counted, so these tests are in a program of
//! their own, and one at a time.

#![expect(clippy::expect_used, reason = "a test says what it needs by failing")]

use std::{
    fs,
    net::Ipv4Addr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use frames::{
    CONTINUATION, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, RST_STREAM, Raw, SETTINGS,
    WINDOW_UPDATE, field, frame, get, head,
};
use it::{App, Fake, Router, Wire, fakes, filler};
use router_core::server::Listener;

#[path = "http2/frames.rs"]
#[allow(dead_code, reason = "the tests of HTTP/2 use all of it")]
mod frames;

static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(app: App) -> Router {
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port can be had");
    Router::start_on(listener.with_h2c(), app, |_| {})
}

fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("it can be read");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it says so");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// Each on ten connections, one after the other, that the router closes: memory does not follow.
#[track_caller]
fn flood_takes_no_memory(attack: impl Fn(u32) -> Vec<u8>) {
    let _alone = alone();
    let dyno = fakes::answers("ok");
    let router = start(App::new([dyno.address]).routed(|routing| routing.in_flight_per_dyno = 100_000));
    let flood: Vec<u8> = (0..2000).flat_map(attack).collect();
    let before = resident();
    for _ in 0..10 {
        let mut raw = Raw::connect(&router);
        // The router reads no further once it has enough: what it did not take is no matter.
        for piece in flood.chunks(4096) {
            raw.0.try_send(piece);
        }
        assert_eq!(raw.goaway(), ENHANCE_YOUR_CALM);
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
}

const fn odd(n: u32) -> u32 {
    2 * n + 1
}

#[test]
fn streams_that_are_reset_leave_nothing() {
    flood_takes_no_memory(|n| [get(odd(n)), frame(RST_STREAM, 0, odd(n), 8_u32.to_be_bytes())].concat());
}

#[test]
fn settings_leave_nothing() {
    flood_takes_no_memory(|n| {
        frame(SETTINGS, 0, 0, [&4_u16.to_be_bytes()[..], &n.to_be_bytes()[..]].concat().repeat(20))
    });
}

#[test]
fn continuations_leave_nothing() {
    flood_takes_no_memory(|n| match n {
        0 => frame(HEADERS, END_STREAM, 1, head("GET", &[])),
        _ => frame(CONTINUATION, 0, 1, field("x-a", "b")),
    });
}

#[test]
fn headers_that_unpack_to_far_more_than_they_are_leave_nothing() {
    // One entry of the dynamic table, named again and again by one byte.
    let mut entry = field("x-a", "x".repeat(4000));
    if let Some(first) = entry.first_mut() {
        *first = 0x40;
    }
    flood_takes_no_memory(|n| {
        let more = if n == 0 { entry.clone() } else { vec![0xbe; 16_000] };
        frame(HEADERS, END_STREAM | END_HEADERS, odd(n), [head("GET", &[]), more].concat())
    });
}

#[test]
fn a_client_that_grants_windows_without_end_and_takes_nothing_costs_a_bounded_amount() {
    let _alone = alone();
    let body = fakes::ok(filler(4 << 20));
    let dyno = Fake::new(move |wire: &mut Wire| {
        if wire.has_more() {
            wire.request();
            wire.try_send(&body);
        }
    });
    let router = start(App::new([dyno.address]));
    let before = resident();
    // SETTINGS_INITIAL_WINDOW_SIZE, then the connection's window.
    let mut raw = Raw::connect_with(&router, &[(4, 0x7fff_ffff)]);
    raw.send(frame(WINDOW_UPDATE, 0, 0, 0x7fff_0000_u32.to_be_bytes()));
    for n in 0..100 {
        raw.send(get(2 * n + 1));
    }
    router.until("all are at work", |totals| totals.dials >= 100);
    // Each response is held as far as it may be, and what a slow client is shown after a while.
    let (mut victim, mut last) = (router.client(), 0);
    loop {
        router.still_serves(&mut victim);
        let now = resident();
        if now <= last {
            break;
        }
        last = now;
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let grown = last.saturating_sub(before);
    // 4 MiB held, some buffers, and the stacks of a hundred fakes that wait.
    assert!(grown < 48 << 20, "{grown} bytes more");
}
