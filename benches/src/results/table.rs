//! Results as people read them.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

use super::{Distribution, Ended, RunResult};
use crate::{
    load::plan::{Arrivals, Pace},
    units,
};

/// One run.
#[must_use]
pub fn run(result: &RunResult) -> String {
    let asked = &result.asked;
    let pace = match asked.pace {
        Pace::Closed => "closed loop".to_owned(),
        Pace::Open { rate, arrivals: Arrivals::Constant } => format!("open loop, {rate} requests/s"),
        Pace::Open { rate, arrivals: Arrivals::Poisson } => format!("open loop, {rate} requests/s, Poisson"),
    };
    let mut lines = vec![
        format!("{} at {}: {pace}, {} connections", asked.request, asked.target, asked.connections),
        format!(
            "{} good answers in {:.2} s: {:.0}/s, {}/s in, {}/s out, {} connections made",
            result.ok,
            result.seconds,
            result.per_second,
            units::bytes(result.in_bytes as f64 / result.seconds.max(1e-9)),
            units::bytes(result.out_bytes as f64 / result.seconds.max(1e-9)),
            result.connections_made,
        ),
    ];
    let errors: Vec<String> = result.errors.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    if !errors.is_empty() {
        lines.push(format!("{} requests went wrong: {}", result.failed, errors.join(", ")));
    }
    match result.ended {
        Ended::Complete => {}
        Ended::Interrupted => lines.push("interrupted: this is what there was until then".into()),
        Ended::GaveUp => lines.push("given up: there were only errors any more".into()),
    }
    lines.push(distributions(result));
    lines.join("\n")
}

fn distributions(result: &RunResult) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(["", "p50", "p90", "p99", "p99.9", "p99.99", "max", "mean"]);
    table.add_row(row("latency", &result.latency));
    if let Some(service) = &result.service {
        table.add_row(row("of that, since it was sent", service));
    }
    align_right(&mut table);
    table.to_string()
}

fn row(name: &str, latency: &Distribution) -> [String; 8] {
    let span = |us: f64| units::span(Duration::try_from_secs_f64(us / 1e6).unwrap_or_default());
    [
        name.to_owned(),
        span(latency.p50_us),
        span(latency.p90_us),
        span(latency.p99_us),
        span(latency.p999_us),
        span(latency.p9999_us),
        span(latency.max_us),
        span(latency.mean_us),
    ]
}

/// Everything but the first column.
pub(super) fn align_right(table: &mut Table) {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}
