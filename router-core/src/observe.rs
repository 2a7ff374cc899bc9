//! What is seen from outside: access lines and counters. Written by one worker each, read by whoever asks.
//!
//! - [`AccessLog`]: where the router's log lines go.
//! - [`log_buffer`]: a worker's lines on their way there, in batches.
//! - [`counters`]: what a worker has done so far.

pub(crate) mod counters;
pub(crate) mod log_buffer;

pub use counters::{Closed, Totals};

/// Where the router's log lines go.
pub trait AccessLog: Send + Sync + 'static {
    /// Takes some whole lines, each with its newline. Called on a worker's thread, so it must not wait: hand them
    /// to somebody else, and drop them when that one is too slow. Returns how many lines were dropped.
    fn write(&self, lines: Vec<u8>) -> u64;
}

/// Keeps no lines.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoAccessLog;

impl AccessLog for NoAccessLog {
    fn write(&self, _: Vec<u8>) -> u64 {
        0
    }
}
