//! Results as people read them.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

use super::{Comparison, Distribution, Ended, Machine, Measurement, Row, RunResult, ScenarioResult, Spread};
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

/// Proxies side by side, as Markdown.
#[must_use]
pub fn comparison(comparison: &Comparison) -> String {
    let mut lines = vec![command(comparison), String::new(), machine(&comparison.machine), String::new()];
    lines.extend(comparison.versions.iter().map(|(peer, version)| format!("- {peer}: {version}")));
    let missing = comparison.missing.iter();
    lines.extend(
        missing.map(|missing| format!("- {} is missing; to install it: `{}`", missing.peer, missing.install)),
    );
    for scenario in &comparison.scenarios {
        lines.extend([
            String::new(),
            format!("## {}", scenario.name),
            String::new(),
            scenario.about.clone(),
            String::new(),
        ]);
        lines.extend(scenario.skipped.iter().map(|(peer, reason)| format!("- {peer} is left out: {reason}")));
        lines.extend(scenario.notes.iter().map(|note| format!("- {note}")));
        lines.extend(scenario.measurements.iter().filter_map(failure));
        lines.extend([String::new(), rows(scenario)]);
    }
    if comparison.interrupted {
        lines.extend([String::new(), "Interrupted: this is what there was until then.".into()]);
    }
    lines.push(String::new());
    lines.join("\n")
}

fn command(comparison: &Comparison) -> String {
    let words: Vec<&str> = comparison.command.iter().map(String::as_str).collect();
    format!("`{}`", words.join(" "))
}

fn machine(machine: &Machine) -> String {
    format!(
        "{} cores of {}, {}, Linux {}, {} open files; proxies on core {}, generator and origin on core {}{}.",
        machine.cores,
        machine.cpu,
        units::bytes(machine.memory_bytes as f64),
        machine.kernel,
        machine.open_files,
        machine.proxy_core,
        machine.load_core,
        if machine.proxy_core == machine.load_core { " too: they share it" } else { "" },
    )
}

fn failure(measurement: &Measurement) -> Option<String> {
    let failure = measurement.failure.as_ref()?;
    Some(format!("- {} in round {}: {failure}", measurement.peer, measurement.round))
}

fn rows(scenario: &ScenarioResult) -> String {
    let has_idle = scenario.rows.iter().any(|row| row.idle_bytes.is_some());
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    let mut header = vec![
        "proxy",
        "rounds",
        "requests/s",
        "CPU µs/request",
        "busbar's CPU",
        "busbar's rate",
        "p50",
        "p99",
        "p99.9",
        "RSS",
        "errors",
    ];
    if has_idle {
        header.push("per idle connection");
    }
    table.set_header(header);
    for row in &scenario.rows {
        let mut cells = comparison_row(row);
        if has_idle {
            cells.push(row.idle_bytes.map_or_else(dash, |spread| spread_of(spread, units::bytes)));
        }
        table.add_row(cells);
    }
    align_right(&mut table);
    table.to_string()
}

fn comparison_row(row: &Row) -> Vec<String> {
    let span = |us: f64| units::span(Duration::try_from_secs_f64(us / 1e6).unwrap_or_default());
    let times = |ratio: f64| format!("{ratio:.2}×");
    let optional =
        |spread: Option<Spread>, show: fn(f64) -> String| spread.map_or_else(dash, |s| spread_of(s, show));
    let rounds = match (row.rounds, row.all_noisy) {
        ((used, _), true) => format!("{used}, all noisy"),
        ((used, 0), false) => used.to_string(),
        ((used, noisy), false) => format!("{used}, {noisy} noisy left out"),
    };
    vec![
        row.peer.clone(),
        rounds,
        spread_of(row.per_second, |rate| format!("{rate:.0}")),
        optional(row.cpu_us, units::three_digits),
        optional(row.busbar_cpu_ratio, times),
        optional(row.busbar_rate_ratio, times),
        spread_of(row.p50_us, span),
        spread_of(row.p99_us, span),
        spread_of(row.p999_us, span),
        row.rss_bytes.map_or_else(dash, |rss| units::bytes(rss.median)),
        row.failed.to_string(),
    ]
}

fn spread_of(spread: Spread, show: fn(f64) -> String) -> String {
    if spread.min == spread.max {
        return show(spread.median);
    }
    format!("{} ({}–{})", show(spread.median), show(spread.min), show(spread.max))
}

fn dash() -> String {
    "–".into()
}

/// Everything but the first column.
fn align_right(table: &mut Table) {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}
