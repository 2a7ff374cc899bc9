//! What a page tells of a comparison, scenario by scenario, and of single runs.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    figure::{self, Story, span},
    html::{self, Chapter, escape},
    look::{Looks, is_variant},
};
use crate::{
    load::plan::{Arrivals, Pace},
    results::{Comparison, Ended, Machine, Measurement, RunResult, ScenarioResult},
    units,
};

/// A chapter on where and how, and one for each scenario.
pub(super) fn comparison(at: usize, name: &str, comparison: &Comparison) -> Vec<Chapter> {
    let measured = || comparison.scenarios.iter().flat_map(|scenario| &scenario.rows);
    let looks = Looks::of(measured().map(|row| row.peer.as_str()));
    let first = Chapter { title: format!("{name}: where and how"), body: method(comparison) };
    let scenarios = comparison.scenarios.iter().enumerate().map(|(number, of)| Chapter {
        title: of.name.clone(),
        body: scenario(&format!("figure-{at}-{number}"), of, &looks),
    });
    [first].into_iter().chain(scenarios).collect()
}

fn method(comparison: &Comparison) -> String {
    let Machine { cpu, cores, memory_bytes, kernel, open_files, proxy_core, load_core } = &comparison.machine;
    let pinned = if proxy_core == load_core {
        format!("everything on core {proxy_core}: there is only one")
    } else {
        format!("proxies on core {proxy_core}; generator and origin on core {load_core}")
    };
    let mut facts = vec![
        ("command", comparison.command.join(" ")),
        ("began", moment(comparison.began_unix)),
        ("processor", format!("{cores} cores of {cpu}, {}", units::bytes(*memory_bytes as f64))),
        ("kernel", format!("Linux {kernel}, {open_files} open files")),
        ("pinned", pinned),
    ];
    let versions = comparison.versions.iter().filter(|(peer, _)| !is_variant(peer));
    facts.extend(versions.map(|(peer, version)| (peer.as_str(), version.clone())));
    let missing = comparison.missing.iter().filter(|missing| !is_variant(&missing.peer));
    let missing: Vec<String> = missing
        .map(|missing| format!("{} was not on the machine; to install it: {}", missing.peer, missing.install))
        .collect();
    let interrupted =
        comparison.interrupted.then(|| "Interrupted: this is what there was until then.".to_owned());
    html::list("warnings", interrupted.as_slice()) + &html::facts(&facts) + &html::list("notes", &missing)
}

fn scenario(id: &str, scenario: &ScenarioResult, looks: &Looks) -> String {
    let drawn = typical(scenario);
    let stories: Vec<Story<'_>> = drawn
        .iter()
        .filter_map(|measurement| {
            let run = measurement.run.as_ref()?;
            let name = measurement.peer.clone();
            Some(Story { name, latency: &run.latency, intervals: &run.intervals })
        })
        .collect();
    let which = "Of each proxy the round whose p99 is in the middle.";
    let latency = format!("Lower is better; both axes stretch, the further right the rarer. {which}");
    let time = format!("Dips and slow starts show here. {which}");
    let mut body = format!("<p>{}</p>\n", escape(&scenario.about));
    body += &html::list("warnings", &warnings(scenario));
    body += &html::list("notes", &scenario.notes);
    if scenario.rows.is_empty() {
        return body;
    }
    body += &figure::cpu(&format!("{id}-cpu"), looks, &scenario.rows);
    body += &figure::throughput_of_rows(&format!("{id}-rate"), looks, &scenario.rows);
    body += &figure::latencies(&format!("{id}-latency"), looks, &latency, &stories);
    body + &figure::throughput(&format!("{id}-time"), looks, &time, &stories)
}

fn warnings(scenario: &ScenarioResult) -> Vec<String> {
    let skipped = scenario.skipped.iter().map(|(peer, reason)| format!("{peer} is left out: {reason}"));
    let failed = scenario.measurements.iter().filter_map(|measurement| {
        let failure = measurement.failure.as_ref()?;
        Some(format!("{} in round {}: {failure}", measurement.peer, measurement.round))
    });
    let noisy: Vec<&str> =
        scenario.rows.iter().filter(|row| row.all_noisy).map(|row| row.peer.as_str()).collect();
    let noisy = (!noisy.is_empty()).then(|| {
        let noisy = noisy.join(", ");
        format!("Others used the proxy’s core in every round of {noisy}: these figures mean little.")
    });
    skipped.chain(failed).chain(noisy).collect()
}

/// Of each proxy the measurement whose p99 is in the middle; quiet ones before noisy ones.
fn typical(scenario: &ScenarioResult) -> Vec<&Measurement> {
    let mut by_peer: BTreeMap<&str, Vec<&Measurement>> = BTreeMap::new();
    for measurement in scenario.measurements.iter().filter(|measurement| measurement.run.is_some()) {
        by_peer.entry(&measurement.peer).or_default().push(measurement);
    }
    by_peer
        .into_values()
        .filter_map(|mut all| {
            if all.iter().any(|measurement| !measurement.noisy) {
                all.retain(|measurement| !measurement.noisy);
            }
            let p99 =
                |measurement: &Measurement| measurement.run.as_ref().map_or(0.0, |run| run.latency.p99_us);
            all.sort_by(|one, other| p99(one).total_cmp(&p99(other)));
            all.get(all.len() / 2).copied()
        })
        .collect()
}

/// Single runs in common plots.
pub(super) fn runs(runs: &[(String, RunResult)]) -> Chapter {
    let service = |name: &str| format!("{name}, since it was sent");
    let stories: Vec<Story<'_>> = runs.iter().map(|(name, run)| story(name.clone(), run)).collect();
    let mut latencies: Vec<Story<'_>> = Vec::new();
    for (name, run) in runs {
        latencies.push(story(name.clone(), run));
        // What a closed loop would have said.
        latencies.extend(run.service.as_ref().map(|latency| Story {
            name: service(name),
            latency,
            intervals: &[],
        }));
    }
    let looks = Looks::of_equals(latencies.iter().map(|story| story.name.as_str()));
    let cells: Vec<Vec<String>> = runs.iter().map(|(name, run)| cells(name, run)).collect();
    let header =
        ["", "answers/s", "errors", "p50", "p99", "pace", "connections", "ended", "began", "request"];
    let mut body = html::table("What was asked, and what it came to", &header, &cells);
    body += &figure::latencies(
        "runs-latency",
        &looks,
        "Lower is better; both axes stretch, the further right the rarer. In an open loop latency counts from when a request was due.",
        &latencies,
    );
    body += &figure::throughput("runs-time", &looks, "Dips and slow starts show here.", &stories);
    Chapter { title: if runs.len() == 1 { "The run" } else { "The runs" }.to_owned(), body }
}

fn story(name: String, run: &RunResult) -> Story<'_> {
    Story { name, latency: &run.latency, intervals: &run.intervals }
}

fn cells(name: &str, run: &RunResult) -> Vec<String> {
    let asked = &run.asked;
    let pace = match asked.pace {
        Pace::Closed => "closed loop".to_owned(),
        Pace::Open { rate, arrivals: Arrivals::Constant } => format!("open loop, {rate}/s"),
        Pace::Open { rate, arrivals: Arrivals::Poisson } => format!("open loop, {rate}/s, Poisson"),
    };
    let ended = match run.ended {
        Ended::Complete => "as planned",
        Ended::Interrupted => "interrupted",
        Ended::GaveUp => "given up",
    };
    vec![
        name.to_owned(),
        format!("{:.0}", run.per_second),
        run.failed.to_string(),
        span(run.latency.p50_us),
        span(run.latency.p99_us),
        pace,
        asked.connections.to_string(),
        ended.to_owned(),
        moment(run.began_unix),
        format!("{} at {}", asked.request, asked.target),
    ]
}

fn moment(unix: f64) -> String {
    Timestamp::from_second(unix as i64).map_or_else(
        |_| "at no moment of the calendar".to_owned(),
        |moment| moment.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    )
}
