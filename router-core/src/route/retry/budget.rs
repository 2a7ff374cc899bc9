//! The retry budget: retries help while they are few. When much fails, each retry is one more request for what is left, so
//! an app's retries are bounded by its requests: `retry_budget_percent` of them, and `retry_budget_per_second` besides (as in
//! Finagle and linkerd). Beyond that the fault is answered at once.
//!
//! What is not used can be saved, up to ten seconds of the rate per second and ten retries at least; a router begins with
//! that. One word per app, shared by all workers; a request pays nothing for it, because its app counts it anyway.

use std::sync::atomic::Ordering::Relaxed;

use busbar_registry::Routing;

use crate::route::{Moment, load::AppLoad};

/// Counted in thousandths.
const RETRY: u64 = 1000;

/// What may be saved.
fn savings(routing: &Routing) -> u64 {
    u64::from(routing.retry_budget_per_second).saturating_mul(10).max(10) * RETRY
}

impl AppLoad {
    /// Takes one retry from the app's budget, if there is one left.
    ///
    /// ```
    /// use busbar_registry::Routing;
    /// use router_core::route::{Moment, load::AppLoad};
    /// let (app, routing) = (AppLoad::default(), Routing::default());
    /// let granted = (0..1000).filter(|_| app.may_retry(&routing, Moment::START)).count();
    /// assert_eq!(granted, 100); // ten per second, for ten seconds
    /// ```
    pub fn may_retry(&self, routing: &Routing, now: Moment) -> bool {
        let saved = savings(routing);
        let by_requests = u64::from(self.arrived()) * u64::from(routing.retry_budget_percent) * (RETRY / 100);
        let by_time = now.as_micros() / 1000 * u64::from(routing.retry_budget_per_second);
        let earned = saved.saturating_add(by_requests).saturating_add(by_time);
        let spend = |spent: u64| {
            // What was spent beyond any saving was earned on another count: the count of requests has wrapped, or the
            // settings are new. (Workers' clocks differ by far less.) It begins anew.
            let spent = if spent > earned.saturating_add(saved) { 0 } else { spent };
            let spent = spent.max(earned - saved) + RETRY;
            (spent <= earned).then_some(spent)
        };
        self.retries.fetch_update(Relaxed, Relaxed, spend).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn routing(percent: u32, per_second: u32) -> Routing {
        Routing { retry_budget_percent: percent, retry_budget_per_second: per_second, ..Routing::default() }
    }

    fn requests(app: &AppLoad, n: u32) {
        for _ in 0..n {
            assert!(app.enter(|_| None::<()>).is_ok());
            app.leave();
        }
    }

    fn granted(app: &AppLoad, routing: &Routing, now: Moment) -> usize {
        std::iter::repeat_with(|| app.may_retry(routing, now)).take(5_000).take_while(|may| *may).count()
    }

    #[test]
    fn a_fifth_of_the_requests_and_ten_per_second_may_be_retried() {
        let (app, routing, mut now) = (AppLoad::default(), routing(20, 10), Moment::START);
        assert_eq!(granted(&app, &routing, now), 100);
        requests(&app, 50);
        assert_eq!(granted(&app, &routing, now), 10);
        now += Duration::from_secs(2);
        assert_eq!(granted(&app, &routing, now), 20);
        now += Duration::from_secs(3600);
        requests(&app, 100_000);
        assert_eq!(granted(&app, &routing, now), 100, "what is saved has a bound");
    }

    #[test]
    fn new_settings_and_a_count_that_wraps_lock_nobody_out() {
        let (app, now) = (AppLoad::default(), Moment::START + Duration::from_secs(1000));
        requests(&app, 100_000);
        assert_eq!(granted(&app, &routing(1000, 1000), now), 5_000);
        assert_eq!(granted(&app, &routing(1, 1), now), 10);
        assert_eq!(granted(&app, &routing(1, 1), now), 0);
    }

    proptest! {
        #[test]
        fn no_more_is_granted_than_was_earned_and_saved(
            percent in 0u32..=1000, per_second in 0u32..100,
            steps in prop::collection::vec((0u32..200, 0u64..3_000_000, 0usize..300), 1..40),
        ) {
            let (app, routing) = (AppLoad::default(), routing(percent, per_second));
            let (mut now, mut came, mut retries) = (Moment::START, 0u64, 0u64);
            for (arrive, gap, ask) in steps {
                requests(&app, arrive);
                now += Duration::from_micros(gap);
                came += u64::from(arrive);
                retries += (0..ask).filter(|_| app.may_retry(&routing, now)).count() as u64;
                let earned = came as f64 * f64::from(percent) / 100.0
                    + now.as_micros() as f64 / 1e6 * f64::from(per_second);
                prop_assert!(retries as f64 <= earned + (savings(&routing) / RETRY) as f64 + 1e-6);
            }
        }
    }
}
