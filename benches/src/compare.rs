//! Proxies side by side in one run: each started here, with the same duties, on a core of its own, in turns.
//!
//! - [`Wish`]: what is to be compared. [`compare`]: does it.
//! - [`Scenario`]: what is measured, read from a file. [`peer`]: the proxies and how each is told its duties.
//!
//! Inside: `stage` is what one proxy is told, `measure` takes one measurement, `rows` adds them up, `change` alters routes
//! during a run, `machine` says where all this happened, `duties` looks whether a proxy does what it was told.

mod change;
mod duties;
mod machine;
mod measure;
pub mod peer;
mod rows;
pub mod scenario;
mod stage;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, SystemTime},
};

pub use self::scenario::Scenario;
use self::{
    measure::Bench,
    peer::{Found, Peer},
    scenario::{Rate, Share},
};
use crate::{
    load::{Stop, plan::Pace},
    results::{Comparison, FORMAT, Measurement, Missing, ScenarioResult},
};

/// What is to be compared.
#[derive(Debug, Clone)]
pub struct Wish {
    /// What is measured.
    pub scenarios: Vec<Scenario>,
    /// Which proxies.
    pub peers: Vec<Peer>,
    /// Where programs are that are not where they usually are.
    pub places: BTreeMap<String, PathBuf>,
    /// How often everything is measured.
    pub rounds: u32,
    /// How long each measurement takes.
    pub time: Duration,
    /// How long each proxy is warmed up before.
    pub warmup: Duration,
    /// How long may be spent altogether on waiting for quiet cores, and on repeating measurements that turned out noisy.
    pub patience: Duration,
    /// Where `busbar-bench` itself is: it starts the proxies.
    pub launcher: PathBuf,
    /// The command line, for the record.
    pub command: Vec<String>,
}

/// Told about what goes on.
pub trait Listener {
    /// A measurement of a scenario is done.
    fn done(&mut self, scenario: &str, rounds: u32, measurement: &Measurement);
}

/// Measures everything that is wished for. Pulling `stop` ends it; the result holds what there was until then.
///
/// # Errors
/// The machine gave no folder, core or thread. A proxy that fails is not an error: its measurements say so.
pub fn compare(wish: &Wish, stop: &Stop, listener: &mut dyn Listener) -> std::io::Result<Comparison> {
    let began_unix = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs_f64();
    let machine = machine::describe();
    let (found, missing) = find(wish);
    let bench = Bench::new(wish, &machine, stop)?;
    let mut scenarios = Vec::new();
    for scenario in &wish.scenarios {
        if stop.is_pulled() {
            break;
        }
        scenarios.push(measure_all(wish, &bench, scenario, &found, stop, listener));
    }
    Ok(Comparison {
        format: FORMAT,
        command: wish.command.clone(),
        began_unix,
        machine,
        versions: found.iter().map(|found| (found.peer.name.to_owned(), found.version.clone())).collect(),
        missing,
        interrupted: stop.is_pulled(),
        scenarios,
    })
}

fn find(wish: &Wish) -> (Vec<Found>, Vec<Missing>) {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for peer in &wish.peers {
        match peer.find(&wish.places, &wish.launcher) {
            Some(program) => found.push(program),
            None => missing.push(Missing { peer: peer.name.into(), install: peer.kind.install.into() }),
        }
    }
    (found, missing)
}

fn measure_all(
    wish: &Wish,
    bench: &Bench<'_>,
    scenario: &Scenario,
    found: &[Found],
    stop: &Stop,
    listener: &mut dyn Listener,
) -> ScenarioResult {
    let mut notes = Vec::new();
    let (able, unable): (Vec<&Found>, Vec<&Found>) =
        found.iter().partition(|found| found.peer.cannot(scenario).is_none());
    let reason = |found: &&Found| Some((found.peer.name.to_owned(), found.peer.cannot(scenario)?.to_owned()));
    let skipped = unable.iter().filter_map(reason).collect();
    let pace = pace(bench, scenario, &able, &mut notes);
    for found in &able {
        notes.extend(bench.duties(scenario, found));
    }
    let mut measurements = Vec::new();
    for round in 1..=wish.rounds {
        for found in &able {
            if stop.is_pulled() {
                break;
            }
            let mut measurement = bench.measure_in_quiet(scenario, found, pace, &mut notes);
            measurement.round = round;
            listener.done(&scenario.name, wish.rounds, &measurement);
            measurements.push(measurement);
        }
    }
    ScenarioResult {
        name: scenario.name.clone(),
        about: scenario.about.clone(),
        file: scenario.text.clone(),
        notes,
        skipped,
        rows: rows::rows(&able, &measurements),
        measurements,
    }
}

/// The pace of a scenario: a share of what another proxy can do has to be measured first.
fn pace(bench: &Bench<'_>, scenario: &Scenario, able: &[&Found], notes: &mut Vec<String>) -> Pace {
    let arrivals = scenario.load.arrivals;
    match &scenario.load.rate {
        None => Pace::Closed,
        Some(Rate::PerSecond(rate)) => Pace::Open { rate: *rate, arrivals },
        Some(Rate::Share(Share { share, of })) => {
            let model = able.iter().find(|found| found.peer.name == of).or_else(|| able.first());
            let Some(model) = model else { return Pace::Closed };
            let best = bench
                .measure_in_quiet(scenario, model, Pace::Closed, notes)
                .run
                .map_or(0.0, |run| run.per_second);
            let rate = (best * share).max(1.0).round();
            notes.push(format!(
                "{rate}/s is {share} of the {best:.0}/s that {} reached in a closed loop",
                model.peer.name
            ));
            Pace::Open { rate, arrivals }
        }
    }
}
