//! What costs a client little and the router much. Each is stopped within 2000 frames, with the right code and a reason of
//! its own, and a victim on another connection does not notice. That memory stays is for `memory.rs`.

use std::time::Duration;

use it::{App, Fake, Wire, fakes};
use router_core::{observe::Closed, server::ServerOptions};

use super::{
    client::Front,
    frames::{
        ACK, CANCEL, COMPRESSION_ERROR, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM,
        FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, GOAWAY, HEADERS, PADDED, PING, PRIORITY, PROTOCOL_ERROR,
        PUSH_PROMISE, RST_STREAM, Raw, SETTINGS, STREAM_CLOSED, WINDOW_UPDATE, field, frame, get, head,
    },
};

/// So many frames an attacker may send at most.
const FRAMES: u32 = 2000;

fn front(dyno: &Fake) -> Front {
    let app = App::new([dyno.address]).routed(|routing| routing.in_flight_per_dyno = 100_000);
    Front::clear_with(app, |options: &mut ServerOptions| options.head_timeout = Duration::from_secs(1))
}

/// Sends what `attack` makes of 0, 1, 2, … until the router has closed the connection, which it does in time, with
/// this code and for this reason.
#[track_caller]
fn flood(code: u32, why: Closed, attack: impl Fn(u32) -> Vec<u8>) {
    let dyno = fakes::answers("ok");
    let front = front(&dyno);
    let mut victim = Raw::connect(&front.router);
    let mut raw = Raw::connect(&front.router);
    let flood: Vec<u8> = (0..FRAMES).flat_map(attack).collect();
    // The router reads no further once it has enough: what it did not take is no matter.
    for piece in flood.chunks(4096) {
        raw.0.try_send(piece);
    }
    assert_eq!(raw.goaway(), code);
    front.router.until("it is counted", |totals| totals.closed.get(&why) == Some(&1));
    victim.send(get(1));
    assert_eq!(victim.outcome(1), Ok(200));
}

const fn odd(n: u32) -> u32 {
    2 * n + 1
}

#[test]
fn streams_that_are_reset_at_once() {
    flood(ENHANCE_YOUR_CALM, Closed::Http2Resets, |n| {
        [get(odd(n)), frame(RST_STREAM, 0, odd(n), CANCEL.to_be_bytes())].concat()
    });
}

#[test]
fn streams_that_are_reset_when_they_are_at_work() {
    let dyno = fakes::says_nothing();
    let front = front(&dyno);
    let mut raw = Raw::connect(&front.router);
    for n in 0..1000 {
        raw.0.try_send(get(odd(n)));
        front.router.until("it is at work or over", |totals| {
            totals.dials + totals.reused > u64::from(n) || !totals.closed.is_empty()
        });
        raw.0.try_send(frame(RST_STREAM, 0, odd(n), CANCEL.to_be_bytes()));
        if !front.router.totals().closed.is_empty() {
            break;
        }
    }
    assert_eq!(raw.goaway(), ENHANCE_YOUR_CALM);
    front.router.until("it is counted", |totals| totals.closed.get(&Closed::Http2Resets) == Some(&1));
}

#[test]
fn streams_that_the_router_is_made_to_reset() {
    flood(ENHANCE_YOUR_CALM, Closed::Http2StreamErrors, |n| {
        // A stream that depends on itself.
        [get(odd(n)), frame(PRIORITY, 0, odd(n), [&odd(n).to_be_bytes()[..], &[1]].concat())].concat()
    });
    flood(ENHANCE_YOUR_CALM, Closed::Http2StreamErrors, |n| {
        let open = frame(HEADERS, END_HEADERS, odd(n), head("POST", &[("content-length", "1")]));
        [open, frame(DATA, 0, odd(n), "too much")].concat()
    });
}

#[test]
fn streams_whose_windows_overflow() {
    flood(ENHANCE_YOUR_CALM, Closed::Http2StreamErrors, |n| {
        let open = frame(HEADERS, END_HEADERS, odd(n), head("POST", &[]));
        [open, frame(WINDOW_UPDATE, 0, odd(n), [0x7f, 0xff, 0xff, 0xff])].concat()
    });
}

#[test]
fn heads_that_are_malformed() {
    flood(ENHANCE_YOUR_CALM, Closed::Http2StreamErrors, |n| {
        frame(HEADERS, END_STREAM | END_HEADERS, odd(n), head("GET", &[("connection", "close")]))
    });
}

#[test]
fn more_streams_than_are_allowed() {
    let dyno = fakes::says_nothing();
    let front = front(&dyno);
    let mut raw = Raw::connect(&front.router);
    (0..1500).for_each(|n| raw.0.try_send(get(odd(n))));
    assert_eq!(raw.goaway(), ENHANCE_YOUR_CALM);
    front.router.until("it is counted", |totals| totals.closed.get(&Closed::Http2StreamErrors) == Some(&1));
    assert!(front.router.totals().requests <= 100);
}

#[test]
fn settings() {
    flood(ENHANCE_YOUR_CALM, Closed::Http2Settings, |_| frame(SETTINGS, 0, 0, []));
    flood(ENHANCE_YOUR_CALM, Closed::Http2Settings, |n| {
        frame(SETTINGS, 0, 0, [&4_u16.to_be_bytes()[..], &n.to_be_bytes()[..]].concat().repeat(20))
    });
}

#[test]
fn pings() {
    flood(ENHANCE_YOUR_CALM, Closed::Http2Pings, |n| frame(PING, 0, 0, u64::from(n).to_be_bytes()));
    flood(ENHANCE_YOUR_CALM, Closed::Http2Pings, |n| frame(PING, ACK, 0, u64::from(n).to_be_bytes()));
}

#[test]
fn priorities_and_unknown_frames() {
    flood(ENHANCE_YOUR_CALM, Closed::Http2Priorities, |n| frame(PRIORITY, 0, odd(n), [0, 0, 0, 0, 1]));
    flood(ENHANCE_YOUR_CALM, Closed::Http2Priorities, |_| frame(0x77, 0xff, 0, [0; 50]));
}

#[test]
fn window_updates() {
    flood(ENHANCE_YOUR_CALM, Closed::Http2WindowUpdates, |_| frame(WINDOW_UPDATE, 0, 0, [0, 0, 0, 1]));
}

#[test]
fn data_with_nothing_in_it() {
    let open = || frame(HEADERS, END_HEADERS, 1, head("POST", &[]));
    flood(ENHANCE_YOUR_CALM, Closed::Http2EmptyData, |n| if n == 0 { open() } else { frame(DATA, 0, 1, []) });
    // Only padding: it costs a window, and is nothing all the same.
    flood(ENHANCE_YOUR_CALM, Closed::Http2EmptyData, |n| {
        if n == 0 { open() } else { frame(DATA, PADDED, 1, [4, 0, 0, 0, 0]) }
    });
}

#[test]
fn continuations_without_an_end() {
    flood(ENHANCE_YOUR_CALM, Closed::Http2Continuations, |n| match n {
        0 => frame(HEADERS, END_STREAM, 1, head("GET", &[])),
        n => frame(CONTINUATION, 0, 1, if n % 2 == 0 { vec![] } else { field("x-a", "b") }),
    });
}

#[test]
fn headers_that_unpack_to_far_more_than_they_are() {
    let large = "x".repeat(4000);
    // One entry of the dynamic table, named again and again by one byte.
    let mut entry = field("x-a", &large);
    if let Some(first) = entry.first_mut() {
        *first = 0x40;
    }
    flood(ENHANCE_YOUR_CALM, Closed::Http2HeaderList, |n| match n {
        0 => frame(HEADERS, END_STREAM | END_HEADERS, 1, [head("GET", &[]), entry.clone()].concat()),
        n => {
            frame(HEADERS, END_STREAM | END_HEADERS, odd(n), [head("GET", &[]), vec![0xbe; 16_000]].concat())
        }
    });
}

#[test]
fn headers_that_cannot_be_unpacked() {
    for garbage in
        [&[0xff; 40][..], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], &[0x3f, 0xff, 0xff, 0xff, 0x7f]]
    {
        let dyno = fakes::answers("ok");
        let front = front(&dyno);
        let mut raw = Raw::connect(&front.router);
        raw.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, garbage));
        assert!(matches!(raw.goaway(), COMPRESSION_ERROR | PROTOCOL_ERROR));
        front.router.until("it is counted", |totals| {
            totals.closed.contains_key(&Closed::Http2HeaderList)
                || totals.closed.contains_key(&Closed::Http2Protocol)
        });
    }
}

/// What is sent after the settings, and the code that is said.
#[test]
fn frames_that_break_a_rule_end_the_connection_with_its_code() {
    let post = || frame(HEADERS, END_HEADERS, 1, head("POST", &[]));
    let cases: [(&str, Vec<u8>, u32); 16] = [
        ("too long", frame(DATA, 0, 1, vec![0; 16_385]), FRAME_SIZE_ERROR),
        ("SETTINGS of 5 bytes", frame(SETTINGS, 0, 0, [0; 5]), PROTOCOL_ERROR),
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, []), PROTOCOL_ERROR),
        ("a window that is none", frame(SETTINGS, 0, 0, [0, 4, 0xff, 0xff, 0xff, 0xff]), PROTOCOL_ERROR),
        ("PING of 7 bytes", frame(PING, 0, 0, [0; 7]), PROTOCOL_ERROR),
        ("PING on a stream", frame(PING, 0, 1, [0; 8]), PROTOCOL_ERROR),
        ("DATA on stream 0", frame(DATA, 0, 0, "x"), PROTOCOL_ERROR),
        ("DATA on an idle stream", frame(DATA, 0, 5, "x"), PROTOCOL_ERROR),
        ("HEADERS on stream 0", frame(HEADERS, END_HEADERS, 0, head("GET", &[])), PROTOCOL_ERROR),
        ("HEADERS on an even stream", frame(HEADERS, END_HEADERS, 2, head("GET", &[])), PROTOCOL_ERROR),
        (
            "a client that pushes",
            [post(), frame(PUSH_PROMISE, END_HEADERS, 1, [0, 0, 0, 2])].concat(),
            PROTOCOL_ERROR,
        ),
        ("CONTINUATION out of place", frame(CONTINUATION, END_HEADERS, 1, []), PROTOCOL_ERROR),
        (
            "DATA within a block",
            [frame(HEADERS, 0, 1, head("GET", &[])), frame(DATA, 0, 1, "x")].concat(),
            PROTOCOL_ERROR,
        ),
        ("no increment", frame(WINDOW_UPDATE, 0, 0, [0; 4]), PROTOCOL_ERROR),
        (
            "a window beyond all bounds",
            frame(WINDOW_UPDATE, 0, 0, [0x7f, 0xff, 0xff, 0xff]),
            FLOW_CONTROL_ERROR,
        ),
        ("a stream that goes back", [get(5), get(3)].concat(), PROTOCOL_ERROR),
    ];
    for (what, bytes, code) in cases {
        let dyno = fakes::answers("ok");
        let front = front(&dyno);
        let mut raw = Raw::connect(&front.router);
        raw.send(bytes);
        assert_eq!(raw.goaway(), code, "{what}");
        front.router.until(what, |totals| totals.closed.get(&Closed::Http2Protocol) == Some(&1));
    }
}

#[test]
fn more_data_than_the_window_allows() {
    let dyno = Fake::new(|wire: &mut Wire| {
        wire.head();
        wire.rest();
    });
    let front = front(&dyno);
    let mut raw = Raw::connect(&front.router);
    raw.send(frame(HEADERS, END_HEADERS, 1, head("POST", &[])));
    // Nothing is ever given back faster than the dyno takes it, and it takes what fits into its socket only.
    let piece = frame(DATA, 0, 1, vec![b'x'; 16_384]);
    for _ in 0..2000 {
        raw.0.try_send(&piece);
    }
    let ended = loop {
        let frame = raw.next();
        if matches!(frame.kind, RST_STREAM | GOAWAY) {
            break frame.code();
        }
    };
    assert!(matches!(ended, FLOW_CONTROL_ERROR | STREAM_CLOSED), "{ended}");
}

#[test]
fn a_head_that_never_ends_and_a_beginning_that_never_comes_have_a_time() {
    let dyno = fakes::answers("ok");
    let short = |options: &mut ServerOptions| {
        options.head_timeout = Duration::from_millis(100);
        options.handshake_timeout = Duration::from_millis(100);
    };
    let front = Front::clear_with(App::new([dyno.address]), short);
    let mut raw = Raw::connect(&front.router);
    raw.send(frame(HEADERS, END_STREAM, 1, head("GET", &[])));
    assert_eq!(raw.goaway(), ENHANCE_YOUR_CALM);
    let mut half = Raw::connect(&front.router);
    half.send(&get(1)[..20]);
    assert_eq!(half.goaway(), ENHANCE_YOUR_CALM);
    front.router.until("they are counted", |totals| totals.closed.get(&Closed::Http2SlowHead) == Some(&2));
    // Who has agreed on HTTP/2 is expected to begin with it.
    let front = Front::tls_with(App::new([dyno.address]), short);
    let (_, end) = front.shake_hands().rest();
    drop(end);
    front.router.until("it is counted", |totals| totals.closed.get(&Closed::Http2SlowHead) == Some(&1));
}
