//! What an origin has served.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

/// Counters; each request for `/__counts` itself is left out.
#[derive(Debug, Default)]
pub struct Counts {
    pub(super) connections: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) answers: AtomicU64,
    pub(super) body_bytes: AtomicU64,
    pub(super) messages: AtomicU64,
}

/// The counters at one moment, as `/__counts` shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// Connections accepted.
    pub connections: u64,
    /// Requests read to their last byte.
    pub requests: u64,
    /// Answers written to their last byte, by the origin's own reckoning; misbehaved ones are not answers.
    pub answers: u64,
    /// Bytes of request bodies.
    pub body_bytes: u64,
    /// WebSocket messages echoed.
    pub messages: u64,
}

impl Counts {
    /// The counters now.
    #[must_use]
    pub fn served(&self) -> Served {
        Served {
            connections: self.connections.load(Relaxed),
            requests: self.requests.load(Relaxed),
            answers: self.answers.load(Relaxed),
            body_bytes: self.body_bytes.load(Relaxed),
            messages: self.messages.load(Relaxed),
        }
    }

    /// One more. There is one writer, the origin's thread, so no locked instruction is needed.
    pub(super) fn bump(counter: &AtomicU64, by: u64) {
        counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
    }
}
