//! When requests are due. No clock: the time since the start is an argument.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use fastrand::Rng;

use super::plan::{Arrivals, Pace, Plan};

/// The turns of one thread.
pub(super) struct Turns {
    next: Next,
    warmup: Duration,
    end: Duration,
    left: Option<Arc<AtomicU64>>,
}

enum Next {
    Whenever,
    Due { at: Duration, gap: f64, random: Option<Rng> },
}

/// One request that is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    /// When, since the start; from here its latency counts.
    pub(super) due: Duration,
    /// Whether it counts.
    pub(super) counts: bool,
}

impl Turns {
    /// The share of thread `index`; `left` is what all threads together may still send.
    pub(super) fn new(plan: &Plan, index: usize, left: Option<Arc<AtomicU64>>) -> Self {
        let next = match plan.pace {
            Pace::Closed => Next::Whenever,
            Pace::Open { rate, arrivals } => {
                let gap = plan.threads as f64 / rate;
                let mut random =
                    (arrivals == Arrivals::Poisson).then(|| Rng::with_seed(plan.seed + index as u64));
                let first = match &mut random {
                    None => index as f64 / rate,
                    Some(rng) => exponential(gap, rng),
                };
                Next::Due { at: Duration::from_secs_f64(first), gap, random }
            }
        };
        Self { next, warmup: plan.warmup, end: plan.warmup + plan.bound.time, left }
    }

    /// The next turn; none when there are no more. `now` matters in a closed loop only.
    pub(super) fn take(&mut self, now: Duration) -> Option<Turn> {
        let due = match &mut self.next {
            Next::Whenever => now,
            Next::Due { at, gap, random } => {
                let due = *at;
                let gap = random.as_mut().map_or(*gap, |rng| exponential(*gap, rng));
                *at += Duration::from_secs_f64(gap);
                due
            }
        };
        let counts = due >= self.warmup;
        if due >= self.end || (counts && !self.take_one()) {
            self.close(due);
            return None;
        }
        Some(Turn { due, counts })
    }

    /// No more turns from `at` on.
    pub(super) fn close(&mut self, at: Duration) {
        self.end = self.end.min(at);
    }

    /// Whether a turn of that moment is one too many.
    pub(super) fn is_closed_at(&self, due: Duration) -> bool {
        due >= self.end
    }

    fn take_one(&self) -> bool {
        let Some(left) = &self.left else { return true };
        left.try_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

fn exponential(mean: f64, rng: &mut Rng) -> f64 {
    -mean * (1.0 - rng.f64()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(pace: Pace, threads: usize) -> Plan {
        let mut plan = Plan::simple(([127, 0, 0, 1], 1).into(), "x", "/");
        (plan.pace, plan.threads) = (pace, threads);
        plan
    }

    fn all(turns: &mut Turns) -> Vec<Duration> {
        std::iter::from_fn(|| turns.take(Duration::ZERO)).map(|turn| turn.due).collect()
    }

    #[test]
    fn the_threads_together_keep_the_rate_evenly() {
        let plan = plan(Pace::Open { rate: 100.0, arrivals: Arrivals::Constant }, 4);
        let mut due: Vec<_> = (0..4).flat_map(|index| all(&mut Turns::new(&plan, index, None))).collect();
        due.sort_unstable();
        assert_eq!(due.len(), 200);
        for (at, gap) in due.windows(2).map(|pair| (pair[0], pair[1] - pair[0])) {
            assert!((gap.as_secs_f64() - 0.01).abs() < 1e-6, "{gap:?} at {at:?}");
        }
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_its_variance() {
        let mut plan = plan(Pace::Open { rate: 1000.0, arrivals: Arrivals::Poisson }, 1);
        plan.bound.time = Duration::from_secs(100);
        let due = all(&mut Turns::new(&plan, 0, None));
        let gaps: Vec<f64> = due.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 1e-3).abs() < 2e-5, "{mean}");
        assert!((variance.sqrt() - 1e-3).abs() < 4e-5, "{variance}");
    }

    #[test]
    fn a_number_of_requests_is_shared_by_all_threads() {
        let plan = plan(Pace::Closed, 2);
        let left = Arc::new(AtomicU64::new(5));
        let mut turns = [0, 1].map(|index| Turns::new(&plan, index, Some(Arc::clone(&left))));
        let taken = (0..20).filter(|n| turns[n % 2].take(Duration::ZERO).is_some()).count();
        assert_eq!(taken, 5);
    }

    #[test]
    fn nothing_is_due_at_the_end_or_after_it() {
        let mut turns = Turns::new(&plan(Pace::Closed, 1), 0, None);
        assert!(turns.take(Duration::from_millis(1999)).is_some());
        assert!(turns.take(Duration::from_secs(2)).is_none());
    }

    #[test]
    fn the_warm_up_does_not_count() {
        let mut plan = plan(Pace::Closed, 1);
        plan.warmup = Duration::from_secs(1);
        let mut turns = Turns::new(&plan, 0, Some(Arc::new(AtomicU64::new(1))));
        let mut counts = |millis| turns.take(Duration::from_millis(millis)).map(|turn| turn.counts);
        assert_eq!([0, 999, 1000, 1001].map(&mut counts), [Some(false), Some(false), Some(true), None]);
    }
}
