//! `busbar-bench compare`

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use clap::Args;

use super::{End, Failure, files, interrupt, judge};
use crate::{
    compare::{
        self, Listener, Scenario, Wish,
        peer::{self, Peer},
        scenario,
    },
    out,
    results::{Measurement, table},
    units,
    verdict::{Facts, Threshold},
};

/// Measure proxies side by side: each is started here with the same duties, pinned to a core, loaded in turns, and stopped.
///
/// Without scenarios: those that come with the program, in their order. A scenario is also the path of a file of your own.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Scenarios: names (see --list) or files.
    scenarios: Vec<String>,

    /// Which proxies, with commas; NAME+log writes an access log; busbar:least and so on balance that way.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<Peer>,

    /// Show the scenarios and the proxies, and which of those are on this machine.
    #[arg(long)]
    list: bool,

    /// How often everything is measured.
    #[arg(long, default_value_t = 3)]
    rounds: u32,

    /// How long each measurement takes.
    #[arg(long, short, default_value = "3s", value_parser = units::duration)]
    duration: Duration,

    /// How long each proxy is warmed up before.
    #[arg(long, default_value = "500ms", value_parser = units::duration)]
    warmup: Duration,

    /// On a shared machine: how long may be spent altogether on waiting for quiet cores and on repeating noisy measurements.
    #[arg(long, default_value = "0", value_parser = units::duration)]
    patience: Duration,

    /// Where busbar is.
    #[arg(long, value_name = "PATH")]
    busbar: Option<PathBuf>,

    /// Where another proxy is: NAME=PATH.
    #[arg(long = "peer", value_name = "NAME=PATH", value_parser = place)]
    places: Vec<(String, PathBuf)>,

    /// Exit with 1 when this holds in a scenario: 'ratio:haproxy.cpu>0.9', 'p99>50ms', 'errors>0' (of busbar). As often as
    /// you like.
    #[arg(long)]
    fail_if: Vec<Threshold>,

    /// Write everything as JSON; - is standard output.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the tables as Markdown.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,

    /// Show no progress and no tables.
    #[arg(long, short)]
    quiet: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<End, Failure> {
    let wish = wish(arguments)?;
    if arguments.list {
        list(&wish);
        return Ok(End::Done);
    }
    let stop = interrupt::stop_on_signal()?;
    let comparison = compare::compare(&wish, &stop, &mut Progress { is_quiet: arguments.quiet })?;
    let text = table::comparison(&comparison);
    if !arguments.quiet {
        out::say(&text);
    }
    if let Some(path) = &arguments.json {
        files::write_json(path, &comparison)?;
    }
    if let Some(path) = &arguments.markdown {
        files::write(path, &text)?;
    }
    if comparison.interrupted {
        return Ok(End::Interrupted);
    }
    if comparison.scenarios.iter().all(|scenario| scenario.rows.is_empty()) {
        return Err("nothing could be measured".into());
    }
    Ok(judge(&arguments.fail_if, Facts::Comparison(&comparison)))
}

fn wish(arguments: &Arguments) -> Result<Wish, Failure> {
    if arguments.rounds == 0 {
        return Err("--rounds 0 measures nothing".into());
    }
    let names: Vec<String> = match arguments.scenarios.as_slice() {
        [] => scenario::NAMES.iter().map(|name| (*name).to_owned()).collect(),
        some => some.to_vec(),
    };
    let mut places: BTreeMap<String, PathBuf> = arguments.places.iter().cloned().collect();
    if let Some(path) = &arguments.busbar {
        places.insert("busbar".into(), path.clone());
    }
    let launcher = std::env::current_exe()?;
    places.insert("hyper".into(), launcher.clone());
    Ok(Wish {
        scenarios: names.iter().map(|name| find_scenario(name)).collect::<Result<_, _>>()?,
        peers: if arguments.peers.is_empty() { peer::all() } else { arguments.peers.clone() },
        places,
        rounds: arguments.rounds,
        time: arguments.duration,
        warmup: arguments.warmup,
        patience: arguments.patience,
        launcher,
        command: std::env::args().collect(),
    })
}

fn find_scenario(name: &str) -> Result<Scenario, Failure> {
    if let Some(scenario) = scenario::named(name) {
        return Ok(scenario?);
    }
    let text = std::fs::read_to_string(name).map_err(|error| {
        format!("`{name}` is neither a scenario ({}) nor a file: {error}", scenario::NAMES.join(", "))
    })?;
    let stem =
        std::path::Path::new(name).file_stem().map_or_else(|| name.into(), |stem| stem.to_string_lossy());
    Ok(Scenario::read(&stem, &text)?)
}

fn list(wish: &Wish) {
    for scenario in &wish.scenarios {
        out::say(format_args!("{:20} {}", scenario.name, scenario.about));
    }
    out::say("");
    for peer in &wish.peers {
        match peer.find(&wish.places, &wish.launcher) {
            Some(found) => out::say(format_args!("{:20} {}", peer.name, found.version)),
            None => out::say(format_args!("{:20} missing; {}", peer.name, peer.kind.install)),
        }
    }
}

fn place(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=PATH"))?;
    name.parse::<Peer>()?;
    Ok((name.to_owned(), path.into()))
}

/// Says what is measured.
struct Progress {
    is_quiet: bool,
}

impl Listener for Progress {
    fn done(&mut self, scenario: &str, rounds: u32, measurement: &Measurement) {
        if self.is_quiet {
            return;
        }
        let place = format!("{scenario} {}/{rounds} {:12}", measurement.round, measurement.peer);
        match (&measurement.run, &measurement.failure) {
            (Some(run), _) => out::remark(format_args!(
                "{place} {:8.0}/s  {:>6} µs CPU  p99 {:>8}  {} errors{}",
                run.per_second,
                measurement.cpu_us_per_request.map_or_else(|| "-".into(), units::three_digits),
                units::span(Duration::from_secs_f64(run.latency.p99_us / 1e6)),
                run.failed,
                if measurement.noisy { "  (others used its core)" } else { "" },
            )),
            (None, failure) => {
                out::remark(format_args!("{place} {}", failure.as_deref().unwrap_or("nothing")));
            }
        }
    }
}
