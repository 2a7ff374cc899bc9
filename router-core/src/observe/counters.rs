//! What a worker has done so far.
//!
//! - [`Counters`]: written by one worker, read by anybody: plain stores, no contention.
//! - [`Totals`]: the sum over workers at one time.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::route::fault::Fault;

/// A number that one thread raises and others read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Only the owning worker may call this: the load and the store are two steps.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }
    pub(crate) fn sub(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(n), Ordering::Relaxed);
    }
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one worker has done so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: Counter,
    /// By the first digit of the status, from 1xx to 5xx.
    pub(crate) statuses: [Counter; 5],
    /// By fault, in the order of [`Fault::ALL`].
    pub(crate) faults: Vec<Counter>,
    pub(crate) connections: Counter,
    pub(crate) connections_open: Counter,
    pub(crate) dials: Counter,
    pub(crate) reused: Counter,
    pub(crate) retries: Counter,
    pub(crate) bytes_sent: Counter,
    pub(crate) panics: Counter,
    pub(crate) log_lines_dropped: Counter,
    /// Connections cut because a drain took too long.
    pub(crate) cut: Counter,
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self { faults: Fault::ALL.iter().map(|_| Counter::default()).collect(), ..Self::default() }
    }

    pub(crate) fn status(&self, status: u16) {
        if let Some(counter) = self.statuses.get(usize::from(status / 100).wrapping_sub(1)) {
            counter.add(1);
        }
    }

    pub(crate) fn fault(&self, fault: Fault) {
        if let Some(counter) = self.faults.get(fault.index()) {
            counter.add(1);
        }
    }
}

/// The sum over all workers of a server at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests answered or ended by a fault.
    pub requests: u64,
    /// By the first digit of the status: 1xx, 2xx, 3xx, 4xx, 5xx.
    pub statuses: [u64; 5],
    /// By the fault's id; only those that happened.
    pub faults: BTreeMap<String, u64>,
    /// Client connections accepted so far.
    pub connections: u64,
    /// Client connections open now.
    pub connections_open: u64,
    /// Connections made to dynos so far.
    pub dials: u64,
    /// Requests sent on a connection that was used before.
    pub reused: u64,
    /// Requests sent again on a new connection, because a used one turned out to be closed.
    pub retries: u64,
    /// Bytes sent to clients, heads included.
    pub bytes_sent: u64,
    /// Panics contained: bugs.
    pub panics: u64,
    /// Access lines that the log was too slow for.
    pub log_lines_dropped: u64,
    /// Client connections cut because a drain took too long.
    pub cut: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, worker: &Counters) {
        self.requests += worker.requests.get();
        for (sum, one) in self.statuses.iter_mut().zip(&worker.statuses) {
            *sum += one.get();
        }
        for (fault, count) in Fault::ALL.iter().zip(&worker.faults) {
            let count = count.get();
            if count > 0 {
                *self.faults.entry(fault.facts().id.to_owned()).or_default() += count;
            }
        }
        self.connections += worker.connections.get();
        self.connections_open += worker.connections_open.get();
        self.dials += worker.dials.get();
        self.reused += worker.reused.get();
        self.retries += worker.retries.get();
        self.bytes_sent += worker.bytes_sent.get();
        self.panics += worker.panics.get();
        self.log_lines_dropped += worker.log_lines_dropped.get();
        self.cut += worker.cut.get();
    }
}
