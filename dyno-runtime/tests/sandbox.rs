//! Dynos that are kept apart: what one of them, with the worst intentions, can see, reach, change and leave behind.
//!
//! - [`escape`]: out of it, into the machine. [`neighbours`]: into another dyno, or the runtime.
//! - [`life`]: its processes, and what is left of them. [`steps`]: what happens when a step of its making fails.
//! - [`levels`]: without root. [`disk`]: a full disk. [`outbound`]: the way out by NAT.
//!
//! `probe.py` runs in the dyno and tries. What needs root is skipped loudly without it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test says what it needs by failing, and why it was skipped by printing"
)]

#[path = "support/house.rs"]
mod support;

#[path = "sandbox/disk.rs"]
mod disk;
#[path = "sandbox/escape.rs"]
mod escape;
#[path = "sandbox/levels.rs"]
mod levels;
#[path = "sandbox/life.rs"]
mod life;
#[path = "sandbox/neighbours.rs"]
mod neighbours;
#[path = "sandbox/outbound.rs"]
mod outbound;
#[path = "sandbox/steps.rs"]
mod steps;

use std::{collections::BTreeMap, fs};

use dyno_runtime::{Isolation, Network, RestartPolicy, RuntimeOptions};
use support::{House, LONG, Log};

/// Whether this is root; says so when not.
fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: only root has full isolation");
    }
    root
}

/// Fully kept apart; it can be called and calls nobody.
fn full(options: &mut RuntimeOptions) {
    options.isolation = Isolation::Full;
    options.sandbox.network = Network::Inbound;
}

async fn full_house() -> House {
    let house = House::open(full).await;
    fs::write(house.directory.path().join("probe.py"), include_str!("sandbox/probe.py")).unwrap();
    house
}

/// Runs the probe in a dyno that lives on, and returns the outcome of each attempt.
async fn attempts(house: &House, attempts: &[&str]) -> BTreeMap<String, String> {
    let quoted: Vec<String> = attempts.iter().map(|attempt| format!("'{attempt}'")).collect();
    let procfile = format!("worker: python3 probe.py {}; exec sleep 600", quoted.join(" "));
    let slow = RestartPolicy { base: LONG, ..RestartPolicy::default() };
    let mut log = house.run(&procfile, |app| app.restart = slow).await;
    log.until("app[worker.1]: tried everything").await;
    outcomes(&log, attempts)
}

fn outcomes(log: &Log, attempts: &[&str]) -> BTreeMap<String, String> {
    let outcome = |attempt: &&str| {
        let begin = format!("app[worker.1]: {attempt}: ");
        let line = log.seen.iter().find_map(|line| line.strip_prefix(&begin));
        ((*attempt).to_owned(), line.unwrap_or_else(|| panic!("{attempt}: {:#?}", log.seen)).to_owned())
    };
    attempts.iter().map(outcome).collect()
}

/// Fails unless each attempt ended with one of these errors.
#[track_caller]
fn all_refused(outcomes: &BTreeMap<String, String>, errors: &[&str]) {
    let got: Vec<_> = outcomes.iter().filter(|(_, outcome)| !errors.contains(&outcome.as_str())).collect();
    assert!(got.is_empty(), "{got:#?}");
}
