//! A deterministic simulation of `route/`: table, admission, balance, queue, deadlines, retries, quarantine and ejection, driven as
//! `proxy/` drives them, in virtual time.
//!
//! - [`world`]: time, events, what is published, and the random faults: dynos that refuse, are silent, die, come back with another
//!   generation; tables that are swapped; clients that leave.
//! - [`request`]: one request's way, step by step.
//! - [`checks`]: what must hold after every step.
//!
//! The same seed is the same run. A seed that fails is printed; `SIMULATION_SEED=n` runs that one only, and prints what happens.

mod checks;
mod request;
mod world;

use std::collections::BTreeMap;

use world::World;

/// Says which seed it was when something does not hold.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was SIMULATION_SEED={}", self.0);
        }
    }
}

fn run(seed: u64, aloud: bool) -> (u64, BTreeMap<String, u32>) {
    let seed = Seed(seed);
    World::new(seed.0, aloud).run()
}

#[test]
fn every_request_ends_once_and_as_the_circumstances_allow() {
    if let Some(seed) = std::env::var("SIMULATION_SEED").ok().and_then(|seed| seed.parse().ok()) {
        eprintln!("{:#?}", run(seed, true).1);
        return;
    }
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    for seed in 0..300 {
        for (end, times) in run(seed, false).1 {
            *ends.entry(end).or_default() += times;
        }
    }
    // A simulation in which something never happens says nothing about it.
    for end in [
        "answered",
        "AppCrashed",
        "BacklogTooDeep",
        "RequestTimeout",
        "ClosedWithoutResponse",
        "NoWebProcesses",
        "IdleConnection",
        "ServerRequestInterrupted",
        "ConnectTimeout",
        "BootTimeout",
        "ConnectRefused",
        "RequestLimit",
        "ClientInterrupted",
        "AllQuarantined",
        "Maintenance",
        "UnknownHost",
    ] {
        assert!(ends.get(end).is_some_and(|times| *times >= 20), "hardly any {end}: {ends:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..20 {
        assert_eq!(run(seed, false), run(seed, false), "seed {seed}");
    }
    assert_ne!(run(1, false).0, run(2, false).0);
}
