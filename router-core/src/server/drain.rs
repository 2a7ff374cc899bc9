//! The end of a server: begin, all gone.
//!
//! - [`Drain`]: the side that says when.
//! - [`DrainSignal`]: the side that each worker watches.
//! - [`DrainReport`]: what became of the connections.

use std::time::Duration;

use tokio::sync::watch;

use crate::observe::Totals;

/// How far the end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Finish what is open, but no longer than this.
    Draining(Duration),
}

/// The side that says when. Dropped, it says: now, and without patience.
#[derive(Debug)]
pub(crate) struct Drain(watch::Sender<Phase>);

/// The side that a worker watches.
#[derive(Debug, Clone)]
pub(crate) struct DrainSignal(watch::Receiver<Phase>);

pub(crate) fn pair() -> (Drain, DrainSignal) {
    let (sender, receiver) = watch::channel(Phase::Serving);
    (Drain(sender), DrainSignal(receiver))
}

impl Drain {
    /// No new connections or requests; what is open may go on for `patience`.
    pub(crate) fn begin(&self, patience: Duration) {
        self.0.send_replace(Phase::Draining(patience));
    }
}

impl DrainSignal {
    /// Waits for the drain to begin; how long it may take.
    pub(crate) async fn begun(&mut self) -> Duration {
        let phase = self.0.wait_for(|phase| *phase != Phase::Serving).await;
        match phase.as_deref() {
            Ok(Phase::Draining(patience)) => *patience,
            Ok(Phase::Serving) | Err(_) => Duration::ZERO,
        }
    }
}

/// What became of the connections of a server that was drained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainReport {
    /// Client connections with a request in progress that were cut because time was up.
    pub cut: u64,
    /// Workers that had died of a panic outside any request: bugs.
    pub workers_lost: usize,
    /// What the server did in all.
    pub totals: Totals,
}
