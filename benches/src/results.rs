//! The format of results: what `--json` writes and reports read.
//!
//! - [`RunResult`]: one run of the generator. [`Comparison`]: proxies side by side, whose measurements are runs.
//! - [`Distribution`]: latencies as numbers and as a curve. [`Interval`]: what happened when.
//! - [`hgrm`]: the distribution as HdrHistogram's plotters read it. [`table`]: as people read it.
//!
//! Numbers carry their unit in their name: `_us` is microseconds, `_bytes` bytes; spans without either are seconds. A field
//! is only ever added; one that changes its meaning raises [`FORMAT`].

pub mod comparison;
pub mod hgrm;
pub mod table;

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

pub use self::comparison::{Comparison, Machine, Measurement, Missing, Row, ScenarioResult, Spread};
use crate::load::{
    Plan,
    plan::{Pace, Protocol, Session},
    tally::Tally,
};

/// The version of the format.
pub const FORMAT: u32 = 1;
/// Points of a curve per halving of the distance to 100 %.
const TICKS: u32 = 5;

/// One run of the generator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// [`FORMAT`].
    pub format: u32,
    /// What was asked for.
    pub asked: Asked,
    /// When everything began to count, seconds since 1970.
    pub began_unix: f64,
    /// For how long it counted.
    pub seconds: f64,
    /// How it came to an end.
    pub ended: Ended,
    /// Good answers: complete, with a status below 400.
    pub ok: u64,
    /// Complete answers, whatever their status.
    pub answered: u64,
    /// Requests without a good answer.
    pub failed: u64,
    /// Those by kind: `connect`, `tls`, `broken`, `cut short`, `garbled`, `timed out`, `unfinished`, `status 503`.
    pub errors: BTreeMap<String, u64>,
    /// Good answers per second.
    pub per_second: f64,
    /// Bytes read.
    pub in_bytes: u64,
    /// Bytes sent.
    pub out_bytes: u64,
    /// Connections made, those before the beginning included.
    pub connections_made: u64,
    /// From when a request was due to the last byte of its answer. Requests that were given up are in it with the time they
    /// had waited; requests that failed fast are not.
    pub latency: Distribution,
    /// In an open loop: from when a request was really sent. This is what a closed loop would have reported.
    pub service: Option<Distribution>,
    /// What happened when, in order.
    pub intervals: Vec<Interval>,
}

/// What was asked of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// Where requests went.
    pub target: String,
    /// The method and the path.
    pub request: String,
    /// Bytes of body of each request.
    pub body_bytes: usize,
    /// How requests were carried.
    pub protocol: Protocol,
    /// How TLS sessions began, if there were any.
    pub tls: Option<Session>,
    /// How many connections.
    pub connections: usize,
    /// How many threads.
    pub threads: usize,
    /// When requests were sent.
    pub pace: Pace,
    /// Where random moments came from.
    pub seed: u64,
}

/// How a run came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// As planned.
    Complete,
    /// Somebody interrupted it; what is here is what there was until then.
    Interrupted,
    /// There were only errors any more.
    GaveUp,
}

/// Latencies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// How many.
    pub count: u64,
    /// The shortest.
    pub min_us: f64,
    /// Their mean.
    pub mean_us: f64,
    /// Their standard deviation.
    pub stdev_us: f64,
    /// Half are no longer than this.
    pub p50_us: f64,
    /// 90 % are.
    pub p90_us: f64,
    /// 99 % are.
    pub p99_us: f64,
    /// 99.9 % are.
    pub p999_us: f64,
    /// 99.99 % are.
    pub p9999_us: f64,
    /// The longest.
    pub max_us: f64,
    /// The whole of it, denser towards 100 %.
    pub curve: Vec<Point>,
}

/// A point of a curve: `count` latencies, which is `share` of all, are no longer than `us`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// From 0 to 1.
    pub share: f64,
    /// A latency.
    pub us: f64,
    /// How many are no longer.
    pub count: u64,
}

/// A stretch of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its end, in seconds since everything counts.
    pub at: f64,
    /// How long it was, in seconds.
    pub seconds: f64,
    /// Good answers.
    pub ok: u64,
    /// Requests without one.
    pub failed: u64,
    /// Median latency.
    pub p50_us: f64,
    /// 99 % of the latencies are no longer.
    pub p99_us: f64,
    /// The longest.
    pub max_us: f64,
}

impl RunResult {
    /// What a plan came to; `time` is when it began and how long it counted.
    #[must_use]
    pub fn new(
        plan: &Plan,
        ended: Ended,
        (began_unix, seconds): (f64, f64),
        total: &Tally,
        is_open: bool,
        intervals: Vec<Interval>,
    ) -> Self {
        Self {
            format: FORMAT,
            asked: Asked::of(plan),
            began_unix,
            seconds,
            ended,
            ok: total.ok,
            answered: total.answered(),
            failed: total.failed(),
            errors: total.errors.iter().map(|(mishap, count)| (mishap.name(), *count)).collect(),
            per_second: if seconds > 0.0 { total.ok as f64 / seconds } else { 0.0 },
            in_bytes: total.bytes_in,
            out_bytes: total.bytes_out,
            connections_made: total.connections,
            latency: Distribution::of(&total.latency),
            service: is_open.then(|| Distribution::of(&total.service)),
            intervals,
        }
    }
}

impl Asked {
    fn of(plan: &Plan) -> Self {
        let request = &plan.request;
        let scheme = match (plan.protocol, plan.tls.is_some()) {
            (Protocol::WebSocket, false) => "ws",
            (Protocol::WebSocket, true) => "wss",
            (_, false) => "http",
            (_, true) => "https",
        };
        Self {
            target: format!("{scheme}://{}", plan.address),
            request: format!("{} {}{}", request.method, request.host, request.path),
            body_bytes: request.body,
            protocol: plan.protocol,
            tls: plan.tls,
            connections: plan.connections,
            threads: plan.threads,
            pace: plan.pace,
            seed: plan.seed,
        }
    }
}

impl Distribution {
    /// Of a histogram of nanoseconds.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let us = |nanos: u64| hundredths(nanos as f64 / 1e3);
        let at = |quantile: f64| us(histogram.value_at_quantile(quantile));
        let is_empty = histogram.is_empty();
        let mut count = 0;
        let curve = histogram.iter_quantiles(TICKS).map(|step| {
            count += step.count_since_last_iteration();
            Point { share: step.quantile_iterated_to(), us: us(step.value_iterated_to()), count }
        });
        Self {
            count: histogram.len(),
            min_us: if is_empty { 0.0 } else { us(histogram.min()) },
            mean_us: hundredths(histogram.mean() / 1e3),
            stdev_us: hundredths(histogram.stdev() / 1e3),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            p9999_us: at(0.9999),
            max_us: us(histogram.max()),
            curve: if is_empty { Vec::new() } else { curve.collect() },
        }
    }
}

impl Interval {
    /// What was counted in the `seconds` before `at`.
    #[must_use]
    pub fn new(at: f64, seconds: f64, tally: &Tally) -> Self {
        let us = |quantile| hundredths(tally.latency.value_at_quantile(quantile) as f64 / 1e3);
        Self {
            at: hundredths(at),
            seconds,
            ok: tally.ok,
            failed: tally.failed(),
            p50_us: us(0.5),
            p99_us: us(0.99),
            max_us: us(1.0),
        }
    }
}

/// Rounded to what the histogram can tell apart anyway, so that files stay short.
fn hundredths(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
