//! Thresholds: `p99>50ms`, `errors>0`, `rate<1000`, `ratio:haproxy.cpu>0.9`. One that holds fails the run.
//!
//! - [`Threshold`]: one, as it is written. [`Facts`]: what it is held against.

use std::{fmt, str::FromStr};

use crate::{
    results::{Comparison, Row, RunResult, Spread},
    units,
};

/// A condition that must not hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    what: What,
    above: bool,
    limit: f64,
    written: String,
}

/// What is compared with the limit.
#[derive(Debug, Clone, PartialEq)]
enum What {
    /// A figure of a run, or in a comparison of busbar's row.
    Figure(Figure),
    /// Busbar's figure divided by that of a peer.
    Ratio(String, Figure),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Figure {
    P50,
    P90,
    P99,
    P999,
    P9999,
    Max,
    Mean,
    Errors,
    Rate,
    Cpu,
}

/// The written names.
const FIGURES: [(&str, Figure); 10] = [
    ("p50", Figure::P50),
    ("p90", Figure::P90),
    ("p99", Figure::P99),
    ("p99.9", Figure::P999),
    ("p99.99", Figure::P9999),
    ("max", Figure::Max),
    ("mean", Figure::Mean),
    ("errors", Figure::Errors),
    ("rate", Figure::Rate),
    ("cpu", Figure::Cpu),
];

/// What thresholds are held against.
#[derive(Debug, Clone, Copy)]
pub enum Facts<'a> {
    /// One run.
    Run(&'a RunResult),
    /// Each scenario of a comparison.
    Comparison(&'a Comparison),
}

impl Threshold {
    /// What it says about the facts: a sentence for each time it holds. A figure that is not there holds too, because a gate
    /// that cannot be measured must not be open.
    #[must_use]
    pub fn complaints(&self, facts: Facts<'_>) -> Vec<String> {
        match facts {
            Facts::Run(run) => self.judge("", self.of_run(run)).into_iter().collect(),
            Facts::Comparison(comparison) => comparison
                .scenarios
                .iter()
                .filter_map(|scenario| {
                    self.judge(&format!("{}: ", scenario.name), self.of_rows(&scenario.rows))
                })
                .collect(),
        }
    }

    fn judge(&self, place: &str, value: Option<f64>) -> Option<String> {
        match value {
            None => Some(format!("{place}{self} cannot be said: there is no such figure")),
            Some(value) if value > self.limit && self.above => {
                Some(format!("{place}{self} holds: {value:.3}"))
            }
            Some(value) if value < self.limit && !self.above => {
                Some(format!("{place}{self} holds: {value:.3}"))
            }
            Some(_) => None,
        }
    }

    fn of_run(&self, run: &RunResult) -> Option<f64> {
        let What::Figure(figure) = &self.what else { return None };
        let latency = &run.latency;
        let us = match figure {
            Figure::Errors => return Some(run.failed as f64),
            Figure::Rate => return Some(run.per_second),
            Figure::Cpu => return None,
            Figure::P50 => latency.p50_us,
            Figure::P90 => latency.p90_us,
            Figure::P99 => latency.p99_us,
            Figure::P999 => latency.p999_us,
            Figure::P9999 => latency.p9999_us,
            Figure::Max => latency.max_us,
            Figure::Mean => latency.mean_us,
        };
        Some(us)
    }

    fn of_rows(&self, rows: &[Row]) -> Option<f64> {
        let row = |name: &str| rows.iter().find(|row| row.peer == name);
        match &self.what {
            What::Figure(figure) => of_row(row("busbar")?, *figure),
            What::Ratio(peer, Figure::Cpu) => row(peer)?.busbar_cpu_ratio.map(|ratio| ratio.median),
            What::Ratio(peer, Figure::Rate) => row(peer)?.busbar_rate_ratio.map(|ratio| ratio.median),
            What::Ratio(peer, figure) => {
                Some(of_row(row("busbar")?, *figure)? / of_row(row(peer)?, *figure)?)
            }
        }
    }
}

fn of_row(row: &Row, figure: Figure) -> Option<f64> {
    let median = |spread: Spread| spread.median;
    match figure {
        Figure::P50 => Some(median(row.p50_us)),
        Figure::P99 => Some(median(row.p99_us)),
        Figure::P999 => Some(median(row.p999_us)),
        Figure::Errors => Some(row.failed as f64),
        Figure::Rate => Some(median(row.per_second)),
        Figure::Cpu => row.cpu_us.map(median),
        Figure::P90 | Figure::P9999 | Figure::Max | Figure::Mean => None,
    }
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let at = text.find(['<', '>']).ok_or_else(|| format!("`{text}` compares nothing; write p99>50ms"))?;
        let (name, rest) = text.split_at(at);
        let (sign, limit) = rest.split_at(1);
        let what = match name.trim().strip_prefix("ratio:") {
            None => What::Figure(figure(name.trim())?),
            Some(ratio) => {
                let (peer, name) = ratio
                    .split_once('.')
                    .ok_or_else(|| format!("`{ratio}` names no figure; write haproxy.cpu"))?;
                What::Ratio(peer.to_owned(), figure(name)?)
            }
        };
        let limit = match &what {
            What::Ratio(..) | What::Figure(Figure::Errors | Figure::Rate) => {
                limit.trim().parse().map_err(|_| format!("`{limit}` is not a number"))?
            }
            What::Figure(_) => units::duration(limit)?.as_secs_f64() * 1e6,
        };
        Ok(Self { what, above: sign == ">", limit, written: text.to_owned() })
    }
}

fn figure(name: &str) -> Result<Figure, String> {
    FIGURES.iter().find(|(known, _)| *known == name).map(|(_, figure)| *figure).ok_or_else(|| {
        let names = FIGURES.map(|(name, _)| name).join(", ");
        format!("`{name}` is no figure; there are {names}")
    })
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        load::{Plan, tally::Tally},
        results::Ended,
    };

    fn result(latencies_us: &[u64]) -> RunResult {
        let mut tally = Tally::new();
        latencies_us.iter().for_each(|us| tally.latency.record(us * 1000).unwrap());
        tally.ok = latencies_us.len() as u64;
        let plan = Plan::simple(([127, 0, 0, 1], 1).into(), "x", "/");
        RunResult::new(&plan, Ended::Complete, (0.0, 1.0), &tally, false, Vec::new())
    }

    fn holds(threshold: &str, run: &RunResult) -> bool {
        !threshold.parse::<Threshold>().unwrap().complaints(Facts::Run(run)).is_empty()
    }

    #[test]
    fn a_threshold_holds_or_it_does_not() {
        let run = result(&[1000, 2000, 60_000]);
        for (threshold, expected) in [
            ("p99>50ms", true),
            ("p99>70ms", false),
            ("p50>1ms", true),
            ("errors>0", false),
            ("rate<4", true),
        ] {
            assert_eq!(holds(threshold, &run), expected, "{threshold}");
        }
    }

    #[test]
    fn what_cannot_be_measured_is_not_passed() {
        assert!(holds("cpu>1s", &result(&[1])));
        assert!(holds("ratio:haproxy.cpu>0.9", &result(&[1])));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["p99", "p98>1ms", "p99>50", "errors>many", "ratio:haproxy>1", "ratio:haproxy.speed>1"] {
            assert!(text.parse::<Threshold>().is_err(), "{text}");
        }
    }
}
