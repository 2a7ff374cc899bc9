//! Measurements of several rounds as one row for each proxy.

use super::peer::Found;
use crate::results::{Measurement, Row, RunResult, Spread};

/// The proxy everybody is compared with: ours, with an access log if the other has one.
fn ours_for(name: &str) -> &'static str {
    if name.ends_with("+log") { "busbar+log" } else { "busbar" }
}

/// One row for each proxy that was measured at least once.
pub(super) fn rows(able: &[&Found], measurements: &[Measurement]) -> Vec<Row> {
    let of =
        |name: &str| measurements.iter().filter(|m| m.peer == name && m.run.is_some()).collect::<Vec<_>>();
    let names = able.iter().map(|found| found.peer.name);
    names.filter_map(|name| row(name, &of(name), &of(ours_for(name)), measurements)).collect()
}

fn row(name: &str, all: &[&Measurement], ours: &[&Measurement], measurements: &[Measurement]) -> Option<Row> {
    let quiet: Vec<&Measurement> = all.iter().copied().filter(|measurement| !measurement.noisy).collect();
    let used = if quiet.is_empty() { all } else { quiet.as_slice() };
    let spread =
        |figure: &dyn Fn(&Measurement) -> Option<f64>| Spread::of(used.iter().filter_map(|m| figure(m)));
    let of_run = |figure: fn(&RunResult) -> f64| spread(&|m| m.run.as_ref().map(figure));
    // The same round, so that what the machine did to one it did to the other.
    let ratio = |figure: &dyn Fn(&Measurement) -> Option<f64>| {
        let paired = used.iter().filter_map(|theirs| {
            let our = ours.iter().find(|our| our.round == theirs.round)?;
            Some(figure(our)? / figure(theirs)?)
        });
        (name != ours_for(name)).then(|| Spread::of(paired.filter(|ratio| ratio.is_finite()))).flatten()
    };
    let failed = measurements.iter().filter(|m| m.peer == name).filter_map(|m| m.run.as_ref());
    Some(Row {
        peer: name.to_owned(),
        rounds: (used.len(), all.len() - used.len()),
        all_noisy: quiet.is_empty(),
        per_second: of_run(|run| run.per_second)?,
        cpu_us: spread(&|m| m.cpu_us_per_request),
        p50_us: of_run(|run| run.latency.p50_us)?,
        p99_us: of_run(|run| run.latency.p99_us)?,
        p999_us: of_run(|run| run.latency.p999_us)?,
        rss_bytes: spread(&|m| m.rss_bytes.map(|bytes| bytes as f64)),
        idle_bytes: spread(&|m| m.idle.map(|idle| idle.bytes_each)),
        failed: failed.map(|run| run.failed).sum(),
        busbar_cpu_ratio: ratio(&|m| m.cpu_us_per_request),
        busbar_rate_ratio: ratio(&|m| m.run.as_ref().map(|run| run.per_second)),
    })
}
