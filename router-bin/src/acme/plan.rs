//! When what is done about a certificate. Pure: the time is an argument, and so is chance, a number from 0 to 1.
//!
//! - [`renewal`]: when a certificate is renewed. [`retry`]: when a failed attempt is repeated. [`put_off`]: until when that
//!   holds.
//! - [`Allowance`]: how often strangers may cause something.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// When a certificate that is good from `begins` to `expires` is to be renewed: somewhere in the window that the server
/// suggests (RFC 9773 §4.2), or else at two thirds of its life and a little before, so that not all are renewed at once.
/// Never after it is over.
pub(super) fn renewal(
    (begins, expires): (SystemTime, SystemTime),
    suggested: Option<(SystemTime, SystemTime)>,
    chance: f64,
) -> SystemTime {
    let life = expires.duration_since(begins).unwrap_or_default();
    let usual = || begins + share(life, 2.0 / 3.0 - chance.clamp(0.0, 1.0) / 20.0);
    let window = suggested.filter(|(start, end)| start <= end && *start < expires);
    let Some((start, end)) = window else { return usual() };
    let width = end.duration_since(start).unwrap_or_default();
    (start + share(width, chance)).min(expires)
}

fn share(span: Duration, part: f64) -> Duration {
    Duration::try_from_secs_f64(span.as_secs_f64() * part.clamp(0.0, 1.0)).unwrap_or(span)
}

/// Why an attempt failed, as far as that says when to make another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// The server could not be asked; nothing was spent.
    Unasked,
    /// The server said no, which counts against its limits.
    Refused,
}

/// When to try again after so many failures in a row (the first one is 1): each time twice as long, up to a bound, and
/// not before the server wants to be asked again.
pub(super) fn retry(
    failures: u32,
    why: Failed,
    now: SystemTime,
    left_alone_until: Option<SystemTime>,
    chance: f64,
) -> SystemTime {
    let (first, most) = match why {
        Failed::Unasked => (Duration::from_secs(10), Duration::from_secs(1800)),
        // Let's Encrypt allows five failed validations of a name in an hour.
        Failed::Refused => (Duration::from_secs(300), Duration::from_secs(6 * 3600)),
    };
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(20));
    let pause = first.saturating_mul(doubled).min(most);
    let jittered = pause + share(pause, chance / 4.0);
    (now + jittered).max(left_alone_until.unwrap_or(now))
}

/// A pause until then, if it can have been meant: one that lasts longer than any does was begun by a clock that was ahead, and
/// is over.
pub(super) fn put_off(until: SystemTime, longest: Duration, now: SystemTime) -> SystemTime {
    if until > now + longest { UNIX_EPOCH } else { until }
}

/// So many in an hour, at most all of them at once.
#[derive(Debug, Clone)]
pub(super) struct Allowance {
    per_hour: u32,
    left: f64,
    as_of: SystemTime,
}

impl Allowance {
    /// All of it, now.
    pub(super) fn new(per_hour: u32, now: SystemTime) -> Self {
        Self { per_hour, left: f64::from(per_hour), as_of: now }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, now: SystemTime) -> bool {
        let passed = now.duration_since(self.as_of).unwrap_or_default();
        self.as_of = now;
        let most = f64::from(self.per_hour);
        self.left = (self.left + passed.as_secs_f64() * most / 3600.0).min(most);
        let has_one = self.left >= 1.0;
        if has_one {
            self.left -= 1.0;
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: u64 = 86_400;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn ninety_days_are_renewed_about_the_sixtieth() {
        let life = (at(0), at(90 * DAY));
        assert_eq!(renewal(life, None, 0.0), at(60 * DAY));
        let early = renewal(life, None, 1.0);
        assert!(early > at(55 * DAY) && early < at(56 * DAY), "{early:?}");
    }

    #[test]
    fn a_window_in_the_past_means_now_and_one_after_the_end_means_nothing() {
        let life = (at(100 * DAY), at(190 * DAY));
        assert!(renewal(life, Some((at(DAY), at(2 * DAY))), 0.5) < at(100 * DAY));
        assert_eq!(renewal(life, Some((at(200 * DAY), at(201 * DAY))), 0.0), renewal(life, None, 0.0));
        assert_eq!(renewal(life, Some((at(3), at(2))), 0.0), renewal(life, None, 0.0));
        assert_eq!(renewal(life, Some((at(189 * DAY), at(900 * DAY))), 1.0), at(190 * DAY));
    }

    #[test]
    fn a_server_that_refuses_is_asked_ever_more_rarely() {
        let after = |failures| retry(failures, Failed::Refused, at(0), None, 0.0);
        let minutes =
            [1, 2, 3, 4, 100].map(|failures| after(failures).duration_since(at(0)).unwrap().as_secs() / 60);
        assert_eq!(minutes, [5, 10, 20, 40, 360]);
        assert_eq!(retry(1, Failed::Unasked, at(0), None, 0.0), at(10));
        assert_eq!(retry(1, Failed::Refused, at(0), Some(at(9999)), 0.0), at(9999));
        assert_eq!(retry(1, Failed::Refused, at(0), Some(at(9)), 0.0), at(300));
    }

    #[test]
    fn an_allowance_fills_up_again_and_not_beyond() {
        let mut allowance = Allowance::new(2, at(0));
        assert!(allowance.take(at(0)) && allowance.take(at(0)) && !allowance.take(at(0)));
        assert!(!allowance.take(at(1799)));
        assert!(allowance.take(at(1801)));
        assert!(allowance.take(at(DAY)) && allowance.take(at(DAY)) && !allowance.take(at(DAY)));
        assert!(!allowance.take(at(0)), "a clock that goes back gives nothing");
    }

    proptest! {
        #[test]
        fn a_renewal_is_within_the_life_or_the_window(
            begins in 0..10_000 * DAY, life in 1..1000 * DAY, start in 0..12_000 * DAY, width in 0..100 * DAY,
            chance in 0.0..1.0_f64, is_suggested: bool,
        ) {
            let life = (at(begins), at(begins + life));
            let window = is_suggested.then_some((at(start), at(start + width)));
            let due = renewal(life, window, chance);
            prop_assert!(due <= life.1);
            match window.filter(|(start, _)| *start < life.1) {
                Some((start, end)) => prop_assert!(due >= start && due <= end),
                None => prop_assert!(due >= life.0),
            }
        }

        #[test]
        fn a_retry_is_later_than_now_and_bounded(
            failures in 1..u32::MAX, now in 0..10_000 * DAY, chance in 0.0..1.0_f64, refused: bool,
        ) {
            let why = if refused { Failed::Refused } else { Failed::Unasked };
            let due = retry(failures, why, at(now), None, chance);
            prop_assert!(due >= at(now + 10) && due <= at(now + 8 * 3600));
        }
    }
}
