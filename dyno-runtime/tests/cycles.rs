//! F11: what a runtime holds after 500 lives of dynos. It counts the files and the memory of this very process, so it is
//! alone in its program.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test says what it needs by failing, and why it was skipped by printing"
)]

use std::{fs, time::Duration};

use dyno_runtime::{Isolation, Network, Phase, RuntimeOptions};
use support::{House, Log};

#[path = "support/house.rs"]
mod support;

/// What could grow with every dyno, of this process and of what is its runtime's on the machine.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    files: usize,
    mounts: usize,
    numbers: usize,
    groups: usize,
    records: usize,
}

impl Held {
    fn by(house: &House) -> Self {
        Self {
            files: fs::read_dir("/proc/self/fd").unwrap().count(),
            mounts: mounts(house),
            numbers: house.numbers().len(),
            groups: house.groups().iter().flat_map(fs::read_dir).flatten().flatten().count(),
            records: fs::read_dir(house.state().join("dynos")).unwrap().count(),
        }
    }
}

/// What is mounted for this house; the machine may mount more meanwhile.
fn mounts(house: &House) -> usize {
    let (all, state) = (fs::read_to_string("/proc/self/mounts").unwrap(), house.state().to_str().unwrap());
    all.lines().filter(|line| line.contains(state) || line.contains(&house.instance)).count()
}

fn resident_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

async fn cycle(house: &House, log: &mut Log) {
    house.runtime.scale(&house.app, vec!["worker=0".parse().unwrap()]).await.unwrap();
    while !house.runtime.ps(&house.app).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    house.runtime.scale(&house.app, vec!["worker=1".parse().unwrap()]).await.unwrap();
    while house.runtime.ps(&house.app).await.unwrap().first().is_none_or(|dyno| dyno.phase != Phase::Up) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    log.now();
    log.seen.clear();
}

async fn cycles(most: usize, change: fn(&mut RuntimeOptions)) {
    let house = House::open(change).await;
    let mut log = house.run("worker: exec sleep 600", |_| {}).await;
    log.until("to up").await;
    // What is made once and kept is made by then.
    for _ in 0..20 {
        cycle(&house, &mut log).await;
    }
    let (before, memory) = (Held::by(&house), resident_kb());
    for _ in 20..most {
        cycle(&house, &mut log).await;
    }
    assert_eq!(Held::by(&house), before);
    let now = resident_kb();
    assert!(now < memory + 8 * 1024, "{memory} kB became {now} kB");
    house.close().await;
}

#[tokio::test]
async fn f11_after_500_cycles_nothing_has_grown() {
    if rustix::process::geteuid().is_root() {
        cycles(150, |options| {
            options.isolation = Isolation::Full;
            options.sandbox.network = Network::Inbound;
        })
        .await;
    } else {
        eprintln!("skipped in part: only root has full isolation");
    }
    cycles(350, |_| {}).await;
}
