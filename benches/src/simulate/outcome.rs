//! What an experiment came to.
//!
//! - [`Outcome`]: counts and figures; all times in ms.
//! - [`Tally`]: what they are made of, while it runs.

use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};
use serde::{Deserialize, Serialize};

use super::Setup;

/// Longer than any run lasts, unless a slow dyno drowns in it.
const LONGEST: Duration = Duration::from_secs(90 * 86_400);

/// What an experiment came to. A wait is the time from a request's arrival until a dyno begins with it, wherever it was spent;
/// the first tenth of the requests is in the counts only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// What was asked for.
    pub setup: Setup,
    /// Requests that came.
    pub arrived: u64,
    /// Requests that were answered, in the end.
    pub completed: u64,
    /// Requests that no dyno took, or that were lost in a crash.
    pub failed: u64,
    /// Requests in the system when the last one came.
    pub left: u64,
    /// Share of the requests that waited at all.
    pub waited: f64,
    /// Mean wait.
    pub mean_wait_ms: f64,
    /// Half of the waits are no longer.
    pub p50_wait_ms: f64,
    /// 99 % of them are.
    pub p99_wait_ms: f64,
    /// 99.9 % of them are.
    pub p999_wait_ms: f64,
    /// 99 % of the times from arrival to answer are no longer.
    pub p99_total_ms: f64,
}

/// Everything that is counted while an experiment runs; times in µs.
pub(super) struct Tally {
    pub(super) arrived: u64,
    pub(super) completed: u64,
    pub(super) failed: u64,
    pub(super) left: u64,
    /// Requests with a smaller number are not measured.
    measured_from: u64,
    waits: Histogram<u64>,
    totals: Histogram<u64>,
}

impl Tally {
    pub(super) fn new(setup: &Setup) -> Result<Self, CreationError> {
        Ok(Self {
            arrived: 0,
            completed: 0,
            failed: 0,
            left: 0,
            measured_from: setup.requests / 10,
            waits: histogram()?,
            totals: histogram()?,
        })
    }

    /// A dyno begins with a request.
    pub(super) fn began(&mut self, number: u64, wait: Duration) {
        if number >= self.measured_from {
            self.waits.saturating_record(micros(wait));
        }
    }

    /// A request is answered.
    pub(super) fn completed(&mut self, number: u64, total: Duration) {
        self.completed += 1;
        if number >= self.measured_from {
            self.totals.saturating_record(micros(total));
        }
    }

    pub(super) fn outcome(&self, setup: &Setup) -> Outcome {
        let wait = |quantile| self.waits.value_at_quantile(quantile) as f64 / 1e3;
        let at_once = self.waits.count_at(0) as f64;
        Outcome {
            setup: *setup,
            arrived: self.arrived,
            completed: self.completed,
            failed: self.failed,
            left: self.left,
            waited: if self.waits.is_empty() { 0.0 } else { 1.0 - at_once / self.waits.len() as f64 },
            mean_wait_ms: self.waits.mean() / 1e3,
            p50_wait_ms: wait(0.5),
            p99_wait_ms: wait(0.99),
            p999_wait_ms: wait(0.999),
            p99_total_ms: self.totals.value_at_quantile(0.99) as f64 / 1e3,
        }
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// Three digits that count; what is beyond the longest wait counts as that.
fn histogram() -> Result<Histogram<u64>, CreationError> {
    Histogram::new_with_bounds(1, micros(LONGEST), 3)
}
