//! Whether the process lives, and whether it takes requests.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use axum::{extract::State, http::StatusCode};

use super::Shared;

/// Whether the process takes requests. Copies share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readiness(Arc<AtomicU8>);

const STARTING: u8 = 0;
const READY: u8 = 1;
const DRAINING: u8 = 2;

impl Readiness {
    /// From now on it takes requests, unless it drains already.
    pub(crate) fn ready(&self) {
        let _was_draining = self.0.compare_exchange(STARTING, READY, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// From now on it takes no new ones.
    pub(crate) fn draining(&self) {
        self.0.store(DRAINING, Ordering::Relaxed);
    }

    /// `starting`, `ready` or `draining`.
    pub(crate) fn as_str(&self) -> &'static str {
        match self.0.load(Ordering::Relaxed) {
            STARTING => "starting",
            READY => "ready",
            _ => "draining",
        }
    }
}

/// `GET /health`: it lives.
pub(crate) async fn health() -> &'static str {
    "alive\n"
}

/// `GET /ready`: 200 when it takes requests, 503 otherwise.
pub(crate) async fn ready(State(admin): Shared) -> (StatusCode, String) {
    let state = admin.readiness.as_str();
    let status = if state == "ready" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("{state}\n"))
}
