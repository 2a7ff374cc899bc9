//! The load generator: what it sends is a [`Plan`], what it found is a [`RunResult`].
//!
//! Closed loop: each connection sends its next request when it has its answer; a slow server slows the generator down,
//! which is what "coordinated omission" means. Open loop: requests are due at moments that do not depend on the server, and a
//! latency counts from the moment a request was due, not from when a connection was free to send it.
//!
//! - [`plan`]: everything that is decided before. [`run`]: does it. [`Watcher`]: is told about it meanwhile.
//! - [`tally`]: what is counted, and what counts as an error. [`Stop`]: ends a run early.
//!
//! Inside: `turns` says when requests are due, `desk` is what the connections of a thread share, `thread` runs them,
//! `http1`, `http2`, `websocket` are the clients, `line` is how they are connected.

mod client;
mod collect;
mod desk;
mod http1;
mod http2;
mod idle;
mod line;
pub mod plan;
pub mod tally;
mod thread;
mod turns;
mod watchdog;
mod websocket;

use std::{io, net::SocketAddr, sync::Arc};

use tokio::sync::watch;

pub use self::{idle::Idle, plan::Plan};
use crate::results::RunResult;

/// Why a run did not take place.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No connection could be made at all.
    #[error("nothing can be measured at {address}: {reason}")]
    Dead {
        /// Where.
        address: SocketAddr,
        /// What happened to the connections.
        reason: String,
    },
    /// It was ended before all connections were made.
    #[error("interrupted before anything was sent")]
    Interrupted,
    /// The machine gave no thread, timer or runtime.
    #[error("cannot start the load generator: {0}")]
    Machine(#[from] io::Error),
    /// A thread of the generator panicked; nothing it counted can be trusted.
    #[error("a thread of the load generator panicked: this is a bug")]
    Bug,
}

/// Ends runs early; clones end together.
#[derive(Debug, Clone)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Stop {
    /// One that nobody has pulled.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Ends what runs.
    pub fn pull(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was pulled.
    #[must_use]
    pub fn is_pulled(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves when it is pulled. Cancel safe.
    pub async fn pulled(&self) {
        let mut pulled = self.0.subscribe();
        let _never_closed = pulled.wait_for(|pulled| *pulled).await;
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

/// What a run tells about itself while it runs.
pub trait Watcher {
    /// The connections are made and the warm-up is over: from now on everything counts.
    fn started(&mut self) {}
    /// Some time has passed.
    fn progress(&mut self, _so_far: &Progress<'_>) {}
    /// The last answer has come, or was given up.
    fn finished(&mut self) {}
}

/// Nobody watches.
impl Watcher for () {}

/// How far a run is.
#[derive(Debug)]
pub struct Progress<'a> {
    /// Seconds since everything counts.
    pub seconds: f64,
    /// What was counted in the latest interval, and how long that was.
    pub latest: (&'a tally::Tally, f64),
    /// What was counted altogether.
    pub total: &'a tally::Tally,
}

/// Runs the plan to its end, or until `stop` is pulled, and says what happened.
///
/// # Errors
/// No connection could be made at all, or the machine gave no thread. A target that dies later is not an error: the result
/// says so.
pub fn run(plan: &Plan, stop: &Stop, watcher: &mut dyn Watcher) -> Result<RunResult, LoadError> {
    collect::run(plan, stop, watcher)
}
