//! Proxies side by side.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::RunResult;

/// A comparison: everything needed to believe it or not, and to do it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// [`super::FORMAT`].
    pub format: u32,
    /// The command that made it, word by word.
    pub command: Vec<String>,
    /// When it began, seconds since 1970.
    pub began_unix: f64,
    /// Where.
    pub machine: Machine,
    /// What each proxy says its version is.
    pub versions: BTreeMap<String, String>,
    /// Proxies that were asked for and are not on this machine.
    pub missing: Vec<Missing>,
    /// Whether it ended early; the scenarios hold what there was until then.
    pub interrupted: bool,
    /// What was measured.
    pub scenarios: Vec<ScenarioResult>,
}

/// Where something was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// As `/proc/cpuinfo` calls it.
    pub cpu: String,
    /// How many of them this process may use.
    pub cores: usize,
    /// All of its memory.
    pub memory_bytes: u64,
    /// The kernel and its version.
    pub kernel: String,
    /// How many files a process may have open.
    pub open_files: u64,
    /// The core the proxies were pinned to.
    pub proxy_core: usize,
    /// The core the generator and the origin were pinned to; the same when there is only one.
    pub load_core: usize,
}

/// A proxy that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Its name.
    pub peer: String,
    /// The command that would bring it.
    pub install: String,
}

/// One scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScenarioResult {
    /// Its name.
    pub name: String,
    /// What it shows.
    pub about: String,
    /// The file as it was read.
    pub file: String,
    /// What has to be known to read the figures: rates that were chosen, limits that were met.
    pub notes: Vec<String>,
    /// Proxies that cannot do it, and why.
    pub skipped: BTreeMap<String, String>,
    /// Every measurement, in the order they were made.
    pub measurements: Vec<Measurement>,
    /// What they come to, one row for each proxy.
    pub rows: Vec<Row>,
}

/// One proxy, measured once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Which.
    pub peer: String,
    /// In which round, from 1.
    pub round: u32,
    /// What the generator saw; absent when the run could not take place.
    pub run: Option<RunResult>,
    /// Why it could not.
    pub failure: Option<String>,
    /// CPU time of the proxy's whole process tree while it counted; absent for `direct`.
    pub cpu_seconds: Option<f64>,
    /// That per good answer.
    pub cpu_us_per_request: Option<f64>,
    /// Memory of the process tree after the run.
    pub rss_bytes: Option<u64>,
    /// Idle connections that were held, and what one costs the proxy in memory of its own (the kernel's comes on top).
    pub idle: Option<IdleCost>,
    /// Share of the proxy's core that others used meanwhile.
    pub foreign_load: f64,
    /// Whether others used so much of it that the medians leave this one out.
    pub noisy: bool,
    /// How busy the generator's core was: near 1, the generator and not the proxy set the throughput.
    pub load_core_busy: f64,
}

/// What idle connections cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct IdleCost {
    /// How many were held.
    pub connections: usize,
    /// What the proxy grew by for each.
    pub bytes_each: f64,
}

/// One proxy over all rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Which.
    pub peer: String,
    /// How many rounds the figures are of, and how many were left out as noisy.
    pub rounds: (usize, usize),
    /// Whether every round was noisy; then all of them were used.
    pub all_noisy: bool,
    /// Good answers per second.
    pub per_second: Spread,
    /// CPU time of the proxy per good answer.
    pub cpu_us: Option<Spread>,
    /// Latencies.
    pub p50_us: Spread,
    /// Latencies.
    pub p99_us: Spread,
    /// Latencies.
    pub p999_us: Spread,
    /// Memory.
    pub rss_bytes: Option<Spread>,
    /// Memory per idle connection.
    pub idle_bytes: Option<Spread>,
    /// Requests without a good answer, all rounds together.
    pub failed: u64,
    /// Busbar's CPU time per request divided by this proxy's, of the same round.
    pub busbar_cpu_ratio: Option<Spread>,
    /// Busbar's good answers per second divided by this proxy's, of the same round.
    pub busbar_rate_ratio: Option<Spread>,
}

/// A median and its extremes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of some numbers; none of none.
    #[must_use]
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        let (min, max) = (*numbers.first()?, *numbers.last()?);
        let (low, high) = (numbers.get((numbers.len() - 1) / 2)?, numbers.get(numbers.len() / 2)?);
        Some(Self { median: f64::midpoint(*low, *high), min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middles() {
        let spread = |numbers: &[f64]| Spread::of(numbers.iter().copied());
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(spread(&[4.0, 1.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(spread(&[]), None);
    }
}
