//! Real time as a [`Moment`]. The only place under the proxy that reads a clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::route::Moment;

/// Moments since a common start, and the wall-clock time that belongs to them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
    /// The wall-clock time at `start`, as of when this clock was made.
    start_unix_us: u64,
}

impl Clock {
    /// A clock whose moments count from `start`; all workers of a server share it.
    pub(crate) fn since(start: Instant) -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(unix.as_micros()).unwrap_or(u64::MAX);
        let passed = u64::try_from(start.elapsed().as_micros()).unwrap_or_default();
        Self { start, start_unix_us: now.saturating_sub(passed) }
    }

    /// What time it is.
    pub(crate) fn now(&self) -> Moment {
        Moment::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The wall-clock time of a moment, in milliseconds since 1970. Follows a step of the system's clock only
    /// when the server starts anew.
    pub(crate) fn unix_ms(&self, at: Moment) -> u64 {
        self.start_unix_us.saturating_add(at.as_micros()) / 1000
    }
}
