//! The only time there is in `route/`: a number handed in by whoever has a clock, real or simulated.

use std::{
    fmt,
    ops::{Add, AddAssign},
    time::Duration,
};

/// Microseconds since the router started. Whoever calls `route/` says what time it is, so a test, a simulation
/// and a worker use the same code.
///
/// ```
/// use std::time::Duration;
/// use router_core::route::Moment;
/// let start = Moment::from_micros(5);
/// assert_eq!((start + Duration::from_millis(1)).since(start), Duration::from_millis(1));
/// assert_eq!(start.since(start + Duration::from_millis(1)), Duration::ZERO);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(u64);

impl Moment {
    /// The moment the router started.
    pub const START: Self = Self(0);
    /// A moment that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// `micros` µs after the start.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }
    /// µs since the start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }
    /// The time from `earlier` to `self`; zero when `earlier` is not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;
    /// Never wraps: a sum beyond the end is [`Moment::NEVER`].
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Moment {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{:?}", Duration::from_micros(self.0))
    }
}
