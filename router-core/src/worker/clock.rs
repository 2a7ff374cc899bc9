//! Real time as a [`Moment`]. The only place under the proxy that reads a clock: once per wake-up, not per question.

use std::{
    cell::Cell,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use crate::route::Moment;

/// Moments since a common start, and the wall-clock time that belongs to them.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// The wall-clock time at `start`, as of when this clock was made.
    start_unix_us: u64,
    now: Cell<Moment>,
}

impl Clock {
    /// A clock whose moments count from `start`; all workers of a server share it.
    pub(crate) fn since(start: Instant) -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(unix.as_micros()).unwrap_or(u64::MAX);
        let passed = u64::try_from(start.elapsed().as_micros()).unwrap_or_default();
        let clock = Self { start, start_unix_us: now.saturating_sub(passed), now: Cell::new(Moment::START) };
        clock.look();
        clock
    }

    /// Looks what time it is. Whoever is woken does so once, and everything until it waits again happens then: a few
    /// microseconds that nobody asks about.
    pub(crate) fn look(&self) {
        let passed = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.now.set(Moment::from_micros(passed));
    }

    /// What time it was at the last look.
    pub(crate) fn now(&self) -> Moment {
        self.now.get()
    }

    /// The wall-clock time of a moment, in milliseconds since 1970. Follows a step of the system's clock only
    /// when the server starts anew.
    pub(crate) fn unix_ms(&self, at: Moment) -> u64 {
        self.start_unix_us.saturating_add(at.as_micros()) / 1000
    }
}
