//! A dyno with one thread: it accepts every connection, and serves one request at a time, first come, first served.

use std::{collections::VecDeque, time::Duration};

use router_core::route::Moment;

use super::router::Request;

/// A dyno.
pub(super) struct Dyno {
    /// The first one is being served.
    queue: VecDeque<Box<Request>>,
    /// It takes so many times as long as one in good health.
    times: u32,
    is_up: bool,
    /// How often it has crashed; what was due in an earlier life does not happen.
    pub(super) life: u32,
}

/// A dyno began with a request that came then; it needs so long for it.
#[derive(Clone, Copy)]
pub(super) struct Began {
    pub(super) number: u64,
    pub(super) arrived: Moment,
    pub(super) takes: Duration,
}

impl Dyno {
    pub(super) const fn new(times: u32) -> Self {
        Self { queue: VecDeque::new(), times, is_up: true, life: 0 }
    }

    /// Whether a connect succeeds.
    pub(super) const fn accepts(&self) -> bool {
        self.is_up
    }

    /// How many requests are here.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// A request comes; what it began with, if it was idle.
    pub(super) fn take(&mut self, request: Box<Request>) -> Option<Began> {
        self.queue.push_back(request);
        if self.queue.len() == 1 { self.begin() } else { None }
    }

    /// The first request is done; and what it begins with next.
    pub(super) fn finish(&mut self) -> (Option<Box<Request>>, Option<Began>) {
        (self.queue.pop_front(), self.begin())
    }

    /// It is gone, and so is what it had.
    pub(super) fn crash(&mut self) -> VecDeque<Box<Request>> {
        self.is_up = false;
        self.life += 1;
        std::mem::take(&mut self.queue)
    }

    /// It is back.
    pub(super) const fn recover(&mut self) {
        self.is_up = true;
    }

    fn begin(&self) -> Option<Began> {
        let first = self.queue.front()?;
        Some(Began { number: first.number, arrived: first.arrived, takes: first.service * self.times })
    }
}
