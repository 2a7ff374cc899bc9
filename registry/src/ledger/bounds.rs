//! [`Bounds`]: how much a ledger keeps, and for how long.

use std::time::Duration;

use crate::Millis;

/// How much a ledger keeps, and for how long. What goes beyond is refused with [`crate::Refusal::Full`]; a lease's
/// time is moved into its bounds instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The shortest time a lease lasts. Default 1 s.
    pub ttl_min: Millis,
    /// The longest time a lease lasts. Default 300 s.
    pub ttl_max: Millis,
    /// Apps. Default 1 000 000, about 0.5 KiB each with one domain.
    pub apps: usize,
    /// Domains of one app. Default 1000, about 100 bytes each.
    pub domains_per_app: usize,
    /// Registered dynos of one app, draining ones too. Default 1000, about 0.5 KiB each.
    pub dynos_per_app: usize,
    /// Events kept for watchers, at least 1. Default 8192, about 0.5 KiB each and 16 bytes more for each domain of
    /// the app it tells of.
    pub history: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            ttl_min: Millis::from_secs(1),
            ttl_max: Millis::from_secs(300),
            apps: 1_000_000,
            domains_per_app: 1000,
            dynos_per_app: 1000,
            history: 8192,
        }
    }
}

impl Bounds {
    /// `asked` moved into the bounds; the upper one wins when they are the wrong way round.
    pub fn ttl(&self, asked: Millis) -> Duration {
        asked.max(self.ttl_min).min(self.ttl_max).duration()
    }
}
