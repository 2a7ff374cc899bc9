//! The harness of the end-to-end suite: real sockets, exact bytes, no sleeping.
//!
//! Start here:
//! - [`Wire`] (in [`wire`]): one end of a connection that a test plays itself, as client or as dyno.
//! - [`Head`], [`Message`] (in [`message`]): what came over it, read strictly.
//! - [`Dyno`] (in [`dyno`]): a dyno the test plays by hand: it accepts, reads and sends in the test's own order.
//! - [`Fake`] and [`fakes`]: dynos that run by themselves, named by how they behave or misbehave.
//! - [`Http2`] (in [`http2`]): such a dyno that speaks HTTP/2, frame by frame.
//! - [`Router`] (in [`router`]): the router under test, its apps and its log.
//!
//! Everything waits for at most [`PATIENCE`] and then fails the test, saying for what it waited.
#![forbid(unsafe_code)]
#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test says what it needs by failing"
)]

pub mod dyno;
pub mod fakes;
pub mod http2;
pub mod message;
pub mod router;
pub mod wire;

pub use dyno::Dyno;
pub use fakes::Fake;
pub use http2::Http2;
pub use message::{Head, Message};
pub use router::{App, Line, Router};
pub use wire::Wire;

use std::time::Duration;

/// How long anything may take before the test fails. Nothing waits that long unless something is wrong.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// `len` printable bytes that differ from place to place, so that a lost or repeated piece shows.
pub fn filler(len: usize) -> Vec<u8> {
    (0..len).map(|at| b"abcdefghijklmnopqrstuvwxyz0123456789-"[(at + at / 37) % 37]).collect()
}
