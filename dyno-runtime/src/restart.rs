//! When a crashed dyno is started again. Pure.
//!
//! The first crash is answered at once, each further one after twice the wait, with some chance in it so that dynos
//! which crashed together do not return together, and never after more than a cap. A long time up forgets the past,
//! as does a deploy or a restart by hand. Any exit of a dyno of the formation is a crash, also one with status 0.
//!
//! Heroku waits 10 minutes after the second crash and up to hours later; the defaults here are for a machine whose
//! owner watches: one second, doubled up to 5 minutes.

use std::time::Duration;

/// How long to wait before a crashed dyno is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartPolicy {
    /// The wait after the second crash in a row; each further one doubles it. Default 1 s.
    pub base: Duration,
    /// No wait is longer. Default 5 min.
    pub cap: Duration,
    /// A dyno that was up for this long starts with a clean record. Default 5 min.
    pub forget_after: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        let five_minutes = Duration::from_secs(300);
        Self { base: Duration::from_secs(1), cap: five_minutes, forget_after: five_minutes }
    }
}

/// The crashes of one dyno that still count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CrashRecord {
    /// How many in a row.
    pub crashes: u32,
}

impl CrashRecord {
    /// The dyno crashed after being up for `up_for`: the new record, and how long to wait before the next start.
    /// `luck` is from 0 to 1: the wait is between half of the full time (0) and all of it (1).
    pub fn crashed(self, policy: &RestartPolicy, up_for: Duration, luck: f64) -> (Self, Duration) {
        let before = if up_for >= policy.forget_after { 0 } else { self.crashes };
        let next = Self { crashes: before.saturating_add(1) };
        if before == 0 {
            return (next, Duration::ZERO);
        }
        let doubled = 2_u32.checked_pow(before - 1).unwrap_or(u32::MAX);
        let full = policy.base.saturating_mul(doubled).min(policy.cap);
        (next, full.mul_f64(0.5 + luck.clamp(0.0, 1.0) / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SOON: Duration = Duration::from_secs(2);

    fn waits(policy: &RestartPolicy, crashes: usize) -> Vec<u64> {
        let mut record = CrashRecord::default();
        let mut waits = Vec::new();
        for _ in 0..crashes {
            let (next, wait) = record.crashed(policy, SOON, 1.0);
            record = next;
            waits.push(wait.as_secs());
        }
        waits
    }

    #[test]
    fn the_first_crash_is_answered_at_once_and_each_further_wait_is_doubled_to_the_cap() {
        let waits = waits(&RestartPolicy::default(), 12);
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn a_long_time_up_forgets_the_past() {
        let policy = RestartPolicy::default();
        let record = CrashRecord { crashes: 9 };
        assert_eq!(
            record.crashed(&policy, policy.forget_after, 1.0),
            (CrashRecord { crashes: 1 }, Duration::ZERO)
        );
    }

    proptest! {
        #[test]
        fn a_wait_is_between_half_of_its_full_time_and_all_of_it(crashes in 1u32..5000, luck in 0.0f64..=1.0) {
            let policy = RestartPolicy::default();
            let record = CrashRecord { crashes };
            let (_, wait) = record.crashed(&policy, SOON, luck);
            let (_, full) = record.crashed(&policy, SOON, 1.0);
            prop_assert!(wait <= full && wait >= full / 2 && full <= policy.cap);
        }
    }
}
