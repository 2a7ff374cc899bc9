//! What a dyno may use. Pure.

use serde::{Deserialize, Serialize};

/// The kernel kills a dyno that needs this many times its memory quota (R15), as on Heroku. Between the quota and this
/// it only complains (R14).
pub const HARD_FACTOR: u64 = 2;

/// What a dyno may use. `None`: as much as there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The memory quota in bytes, swap included, page cache not. Above it the log says R14; a dyno that needs
    /// [`HARD_FACTOR`] times as much is killed, and the log says R15.
    pub memory: Option<u64>,
    /// Its share of the CPU when that is scarce, relative to others; 1024 is an ordinary share (2 to 262144).
    pub cpu_shares: Option<u32>,
    /// How much CPU time it gets at most, in thousandths of one CPU (10 or more), also when there is plenty.
    pub cpu_millis: Option<u32>,
    /// Processes and threads.
    pub pids: Option<u32>,
    /// Bytes per second that it may read from the disk that holds the app, and as many that it may write.
    pub disk_rate: Option<u64>,
}

impl Limits {
    /// Where the kernel kills it, in bytes.
    pub fn hard_memory(&self) -> Option<u64> {
        self.memory.map(|quota| quota.saturating_mul(HARD_FACTOR))
    }

    /// These limits, and those of `base` where these say nothing.
    #[must_use]
    pub fn or(self, base: Self) -> Self {
        Self {
            memory: self.memory.or(base.memory),
            cpu_shares: self.cpu_shares.or(base.cpu_shares),
            cpu_millis: self.cpu_millis.or(base.cpu_millis),
            pids: self.pids.or(base.pids),
            disk_rate: self.disk_rate.or(base.disk_rate),
        }
    }
}

/// The period over which a CPU cap is kept, in microseconds: the kernel's own default.
pub(super) const CPU_PERIOD: u64 = 100_000;

/// A cap in thousandths of a CPU as CPU time per period, in microseconds. The kernel takes no less than 1 ms.
pub(super) fn cpu_quota(millis: u32) -> u64 {
    (u64::from(millis) * CPU_PERIOD / 1000).max(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_kills_at_twice_the_quota() {
        let limits = |memory| Limits { memory, ..Limits::default() };
        assert_eq!(limits(Some(512 << 20)).hard_memory(), Some(1 << 30));
        assert_eq!(
            [limits(None).hard_memory(), limits(Some(u64::MAX)).hard_memory()],
            [None, Some(u64::MAX)]
        );
    }

    #[test]
    fn a_cap_is_time_per_period() {
        assert_eq!([10, 200, 1000, 2500].map(cpu_quota), [1000, 20_000, 100_000, 250_000]);
    }
}
