//! How dynos replace each other, sleep, cycle, and what is said about their memory, as real processes.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test says what it needs by failing, and why it was skipped by printing"
)]

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use busbar_registry::AppName;
use dyno_runtime::{
    AppDefinition, Demand, Drained, Draining, Enforcement, Limits, OneOff, Phase, Replacement, RestartPolicy,
    RuntimeError, Which,
};
use futures_util::future::BoxFuture;
use support::{House, LONG, cgroups_work, eventually};
use tokio::sync::Notify;

#[path = "life/deploys.rs"]
mod deploys;
#[path = "support/house.rs"]
mod support;

const WEB: &str = "web: exec python3 -u -m http.server $PORT";

fn web(quantity: u32) -> impl FnOnce(&mut AppDefinition) {
    move |app| app.formation = format!("web={quantity}").parse().unwrap()
}

/// All dynos are up, and these are their processes.
async fn pids(house: &House, quantity: usize) -> Vec<i32> {
    loop {
        let status = house.runtime.ps(&house.app).await.unwrap();
        let pids: Vec<i32> =
            status.iter().filter(|dyno| dyno.phase == Phase::Up).filter_map(|dyno| dyno.pid).collect();
        if pids.len() == quantity && status.len() == quantity {
            return pids;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a word stands before another one in what the registry was told.
fn order(house: &House, first: &str, nth: usize, then: &str, nth_then: usize) -> bool {
    let told = house.ledger.told();
    let place = |what: &str, nth: usize| {
        told.iter().enumerate().filter(|(_, t)| *t == what).nth(nth).map(|(at, _)| at)
    };
    match (place(first, nth), place(then, nth_then)) {
        (Some(first), Some(then)) => first < then,
        _ => panic!("{first} {nth}, {then} {nth_then}: {told:?}"),
    }
}

/// Lets nothing be in flight before it is told so.
#[derive(Default)]
struct Busy {
    idle: Arc<Notify>,
}

#[async_trait]
impl Drained for Busy {
    async fn unrouted(&self, _: Draining) -> BoxFuture<'static, ()> {
        let idle = Arc::clone(&self.idle);
        Box::pin(async move { idle.notified().await })
    }
}

#[tokio::test]
async fn with_preboot_the_new_dyno_is_up_before_the_old_one_leaves_and_the_old_one_finishes() {
    let busy = Arc::new(Busy::default());
    let hook: Arc<Busy> = Arc::clone(&busy);
    let house = House::open(|options| options.drained = hook).await;
    let mut log = house.run(WEB, |app| app.replacement = Replacement { preboot: true, at_once: None }).await;
    let before = pids(&house, 1).await;
    eventually("registered", || house.ledger.told().contains(&"register web.1".into())).await;
    house.runtime.restart(&house.app, Which::All, None).await.unwrap();
    log.until_nth(2, "State changed from starting to up").await;
    eventually("both", || house.ledger.told().iter().filter(|told| *told == "register web.1").count() == 2)
        .await;
    assert!(
        order(&house, "drain web.1", 0, "register web.1", 1),
        "one name, one dyno: the old one leaves first"
    );
    assert_eq!(log.with("SIGTERM"), Vec::<&str>::new(), "requests are in flight at the old one");
    assert!(support::runs(before[0]));
    busy.idle.notify_one();
    log.until("Process exited with status 143").await;
    let after = pids(&house, 1).await;
    assert_ne!(before, after);
    // The crash count of a successor begins anew, and nothing was a crash.
    assert_eq!(house.runtime.ps(&house.app).await.unwrap()[0].crashes, 0);
    busy.idle.notify_one();
    house.close().await;
}

#[tokio::test]
async fn with_preboot_a_new_dyno_that_does_not_boot_leaves_the_old_one_in_its_place() {
    let house = House::open(|_| {}).await;
    let once = "web: test -e second && exit 1; touch second; exec python3 -u -m http.server $PORT";
    let mut log = house.run(once, |app| app.replacement.preboot = true).await;
    let before = pids(&house, 1).await;
    eventually("registered", || house.ledger.told().contains(&"register web.1".into())).await;
    house.runtime.restart(&house.app, Which::All, None).await.unwrap();
    log.until("web.1 did not come up").await;
    assert_eq!(pids(&house, 1).await, before);
    assert!(!house.ledger.told().contains(&"drain web.1".into()));
    house.close().await;
}

#[tokio::test]
async fn with_preboot_an_old_dyno_that_dies_meanwhile_is_followed_at_once() {
    let house = House::open(|_| {}).await;
    let slow = "web: test -e second && while [ ! -e go ]; do sleep 0.01; done; touch second; exec python3 -u -m http.server $PORT";
    let mut log = house.run(slow, |app| app.replacement.preboot = true).await;
    let before = pids(&house, 1).await;
    eventually("registered", || house.ledger.told().contains(&"register web.1".into())).await;
    house.runtime.restart(&house.app, Which::All, None).await.unwrap();
    log.until_nth(2, "Starting process").await;
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(before[0]).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    log.until("status 137").await;
    std::fs::write(house.directory.path().join("go"), "").unwrap();
    log.until_nth(2, "State changed from starting to up").await;
    eventually("registered", || {
        house.ledger.told().iter().filter(|told| *told == "register web.1").count() == 2
    })
    .await;
    assert_eq!(log.with("Starting process").len(), 2, "no third one was needed");
    house.close().await;
}

/// No lease ends, so that a dyno is registered once.
async fn long_leases() -> House {
    House::open(|options| options.lease = Duration::from_secs(3600)).await
}

async fn registered(house: &House, quantity: usize) {
    let all = || house.ledger.told().iter().filter(|told| told.starts_with("register")).count();
    eventually("registered", || all() == quantity).await;
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_rolling_restart_replaces_so_many_at_a_time() {
    let house = House::open(|_| {}).await;
    let mut log = house.run(WEB, web(4)).await;
    let before = pids(&house, 4).await;
    eventually("registered", || {
        house.ledger.told().iter().filter(|t| t.starts_with("register")).count() == 4
    })
    .await;
    let two = Replacement { at_once: Some(2), preboot: false };
    house.runtime.restart(&house.app, Which::Type("web".parse().unwrap()), Some(two)).await.unwrap();
    log.until_nth(8, "State changed from starting to up").await;
    let after = pids(&house, 4).await;
    assert!(before.iter().all(|pid| !after.contains(pid)), "{before:?} {after:?}");
    let (mut down, mut most) = (0_i32, 0);
    for line in log.seen.iter().skip_while(|line| !line.contains("Restarting")) {
        down += i32::from(line.contains("]: Restarting")) - i32::from(line.contains("from starting to up"));
        most = most.max(down);
    }
    assert_eq!((down, most), (0, 2), "{:#?}", log.seen);
    house.close().await;
}

#[tokio::test]
async fn an_old_dyno_that_is_registered_again_is_not_taken_for_the_new_one() {
    // Leases are lost all the time.
    let house = House::open(|options| options.lease = Duration::from_millis(60)).await;
    house.ledger.names_anew.store(true, Ordering::Relaxed);
    let slow = "web: if [ -e second ]; then while [ ! -e go ]; do sleep 0.01; done; fi; exec python3 -u -m http.server $PORT";
    let mut log = house.run(slow, web(2)).await;
    pids(&house, 2).await;
    let both = ["register web.1", "register web.2"];
    eventually("both are registered", || both.iter().all(|told| house.ledger.times(told) > 0)).await;
    std::fs::write(house.directory.path().join("second"), "").unwrap();
    let one = Replacement { preboot: true, at_once: Some(1) };
    house.runtime.restart(&house.app, Which::All, Some(one)).await.unwrap();
    log.until_nth(3, "Starting process").await;
    let before = both.map(|told| house.ledger.times(told));
    eventually("again and again", || {
        both.iter().zip(before).all(|(told, before)| house.ledger.times(told) > before + 3)
    })
    .await;
    log.now();
    assert_eq!(log.with("Starting process").len(), 3, "one at a time: {:#?}", log.seen);
    std::fs::write(house.directory.path().join("go"), "").unwrap();
    log.until_nth(4, "State changed from starting to up").await;
    house.close().await;
}

#[tokio::test]
async fn a_rolling_restart_stops_at_the_first_dyno_that_does_not_come_up() {
    let house = House::open(|_| {}).await;
    let procfile = "worker: test -e broken && exit 1; exec sleep 600";
    let slow = RestartPolicy { base: LONG, ..RestartPolicy::default() };
    let mut log = house
        .run(&format!("{WEB}\n{procfile}"), |app| {
            app.formation = "web=1,worker=2".parse().unwrap();
            app.restart = slow;
        })
        .await;
    pids(&house, 3).await;
    // The web dyno comes up again, whatever is broken; the workers do not stay, but come up for a moment.
    std::fs::write(house.directory.path().join("broken"), "").unwrap();
    let one = Replacement { at_once: Some(1), preboot: false };
    house.runtime.restart(&house.app, Which::All, Some(one)).await.unwrap();
    log.until("worker.2]: State changed from up to crashed").await;
    house.close().await;
}

#[tokio::test]
async fn a_dyno_is_cycled_when_it_has_run_for_long_enough() {
    let house = House::open(|_| {}).await;
    let mut log =
        house.run("worker: exec sleep 600", |app| app.cycle = Some(Duration::from_millis(300))).await;
    log.until_nth(2, "Cycling").await;
    let first: Vec<&str> = log.with("heroku[worker.1]").into_iter().skip(2).take(3).collect();
    assert_eq!(first[0], "heroku[worker.1]: Cycling");
    assert_eq!(first[1], "heroku[worker.1]: State changed from up to starting");
    assert_eq!(log.with("crashed"), Vec::<&str>::new());
    house.close().await;
}

/// Is quiet, and wants the app, when it is told so.
#[derive(Default)]
struct Told {
    quiet: Notify,
    wanted: Notify,
}

#[async_trait]
impl Demand for Told {
    async fn quiet(&self, _: &AppName, span: Duration) {
        assert_eq!(span, Duration::from_secs(1800));
        self.quiet.notified().await;
    }
    async fn wanted(&self, _: &AppName) {
        self.wanted.notified().await;
    }
}

#[tokio::test]
async fn an_app_nobody_asks_for_is_idle_and_starts_with_the_next_request() {
    let demand = Arc::new(Told::default());
    let hook: Arc<Told> = Arc::clone(&demand);
    let house = House::open(|options| options.demand = Some(hook)).await;
    let mut log = house
        .run(&format!("{WEB}\nworker: exec sleep 600"), |app| {
            app.idle_after = Some(Duration::from_secs(1800));
        })
        .await;
    pids(&house, 2).await;
    for round in 1..=2 {
        demand.quiet.notify_one();
        log.until_nth(round, "web.1]: Process exited").await;
        let told = || house.ledger.told().into_iter().rfind(|told| told.starts_with("web "));
        eventually("neither starting nor crashed", || told().as_deref() == Some("web 1/0/0")).await;
        let mut status = house.runtime.ps(&house.app).await.unwrap();
        while status.len() > 2 {
            status = house.runtime.ps(&house.app).await.unwrap();
        }
        assert_eq!((status[0].phase, status[1].phase), (Phase::Idle, Phase::Up), "{status:?}");
        demand.wanted.notify_one();
        log.until_nth(round + 1, "web.1]: State changed from starting to up").await;
    }
    let seen = log.with("web.1]");
    let at = seen.iter().position(|line| line.ends_with("Idling")).unwrap();
    let words: Vec<&str> =
        seen[at..at + 7].iter().filter_map(|line| line.split_once(": ")).map(|(_, word)| word).collect();
    assert_eq!(
        words[..6],
        [
            "Idling",
            "State changed from up to down",
            "Stopping all processes with SIGTERM",
            "Process exited with status 143",
            "Unidling",
            "State changed from down to starting",
        ]
    );
    house.close().await;
}

#[tokio::test]
async fn without_anybody_who_knows_of_requests_no_app_can_be_idle() {
    let house = House::open(|_| {}).await;
    let procfile = dyno_runtime::Procfile::parse(WEB).unwrap();
    let mut app = AppDefinition::new(house.app.clone(), house.directory.path().to_owned(), procfile);
    app.idle_after = Some(Duration::from_secs(1));
    let refused = house.runtime.deploy(app).await.unwrap_err().to_string();
    assert!(refused.contains("cannot be idle"), "{refused}");
    house.close().await;
}

/// An app with a quota, measured all the time.
fn measured(mib: u64) -> impl FnOnce(&mut AppDefinition) {
    move |app| {
        app.limits = Limits { memory: Some(mib << 20), ..Limits::default() };
        app.restart = RestartPolicy { base: LONG, ..RestartPolicy::default() };
        app.metrics.every = Duration::from_millis(200);
    }
}

#[tokio::test]
async fn f13_when_only_a_child_is_killed_for_want_of_memory_the_dyno_ends_with_r15_and_its_neighbour_lives() {
    if !cgroups_work() {
        return;
    }
    let house = House::open(|options| options.cgroups = Enforcement::Required).await;
    let eat = "worker: test -e fed && exec sleep 600; touch fed; python3 -c 'x = bytearray(300 << 20)'; echo child ended $?; sleep 600\nother: exec sleep 600";
    let mut log = house
        .run(eat, |app| {
            measured(64)(app);
            // The child is killed long before the next reading, and its parent has time to say so.
            app.metrics.every = Duration::from_secs(8);
        })
        .await;
    log.until("worker.1]: State changed from up to crashed").await;
    let said: Vec<&str> = log.with("heroku[worker.1]");
    assert_eq!(log.with("child ended 137").len(), 1, "its parent lived on: {:#?}", log.seen);
    assert_eq!(
        said[2..7],
        [
            "heroku[worker.1]: Process running mem=128M(200.0%)",
            "heroku[worker.1]: Error R15 (Memory quota vastly exceeded)",
            "heroku[worker.1]: Stopping process with SIGKILL",
            "heroku[worker.1]: Process exited with status 137",
            "heroku[worker.1]: State changed from up to crashed",
        ]
    );
    assert_eq!(log.with("other.1]: Process exited"), Vec::<&str>::new());
    house.close().await;
}

#[tokio::test]
async fn f14_between_quota_and_twice_the_quota_r14_is_said_again_and_again_and_the_dyno_lives() {
    if !cgroups_work() {
        return;
    }
    let house = House::open(|options| options.cgroups = Enforcement::Required).await;
    let eat = "worker: exec python3 -c 'x = bytearray(80 << 20); import time; time.sleep(600)'";
    let mut log = house.run(eat, measured(64)).await;
    log.until_nth(3, "Error R14 (Memory quota exceeded)").await;
    let running = log.with("Process running mem=");
    assert!(running.len() >= 3 && running[2].contains("mem=8") && running[2].ends_with("%)"), "{running:?}");
    assert_eq!(log.with("exited"), Vec::<&str>::new());
    assert_eq!(log.with("R15"), Vec::<&str>::new());
    house.close().await;
}

#[tokio::test]
async fn runtime_metrics_are_logged_when_they_are_asked_for() {
    if !cgroups_work() {
        return;
    }
    let house = House::open(|options| options.cgroups = Enforcement::Required).await;
    let mut log = house
        .run("worker: while :; do :; done\nother: exec sleep 600", |app| {
            measured(64)(app);
            app.metrics.log = true;
        })
        .await;
    log.until_nth(2, "worker.1]: source=worker.1 dyno=heroku.shop.").await;
    log.until("other.1]: source=other.1 ").await;
    let memory =
        log.with("worker.1 dyno=heroku.shop.").into_iter().find(|line| line.contains("memory_total"));
    let memory = memory.unwrap();
    assert!(
        memory.contains("MB sample#memory_rss=") && memory.ends_with("sample#memory_quota=64.00MB"),
        "{memory}"
    );
    let load = log.with("sample#load_avg_1m=");
    assert!(!load.is_empty(), "{:#?}", log.seen);
    house.close().await;
}

fn one_off(command: &str) -> OneOff {
    OneOff { command: command.to_owned(), ..OneOff::default() }
}

#[tokio::test]
async fn a_one_off_dyno_has_the_apps_config_vars_and_its_own_and_its_end_is_told_and_no_crash() {
    let house = House::open(|_| {}).await;
    let vars = dyno_runtime::ConfigVars::from_iter([("GREETING", "hello"), ("KEY", "old")]);
    let mut log = house.run("worker: exec sleep 600", |app| app.config_vars = vars).await;
    let own = dyno_runtime::ConfigVars::from_iter([("KEY", "new")]);
    let order = OneOff { environment: own, ..one_off("echo $GREETING $KEY $DYNO; exit 7") };
    let started = house.runtime.run(&house.app, order).await.unwrap();
    let name = started.dyno.to_string();
    assert!(name.starts_with("run.") && name.len() == 8, "{name}");
    assert_eq!(started.ended.await.unwrap().map(|exit| exit.to_string()).as_deref(), Some("7"));
    log.until(&format!("{name}]: State changed from up to complete")).await;
    assert_eq!(log.with(&format!("app[{name}]: hello new {name}")).len(), 1, "{:#?}", log.seen);
    assert!(house.runtime.ps(&house.app).await.unwrap().iter().all(|dyno| dyno.dyno.to_string() != name));
    house.close().await;
}

#[tokio::test]
async fn a_one_off_dyno_nobody_is_attached_to_any_more_is_hung_up() {
    let house = House::open(|_| {}).await;
    let mut log = house.run("worker: exec sleep 600", |_| {}).await;
    let started = house.runtime.run(&house.app, one_off("echo runs; exec sleep 600")).await.unwrap();
    log.until("app[run.").await;
    house.runtime.stop_one_off(&house.app, started.dyno, true).await.unwrap();
    assert_eq!(started.ended.await.unwrap().map(|exit| exit.to_string()).as_deref(), Some("129"));
    house.close().await;
}

#[tokio::test]
async fn a_release_command_runs_before_the_dynos_and_when_it_fails_the_old_release_stays() {
    let house = House::open(|_| {}).await;
    let procfile = "release: echo migrating; test ! -e broken\nworker: exec sleep 600";
    let mut log = house.run(procfile, |_| {}).await;
    log.until("worker.1]: State changed from starting to up").await;
    let at = |text: &str| log.seen.iter().position(|line| line.contains(text)).unwrap();
    assert!(at("]: migrating") < at("worker.1]: Starting process"), "{:#?}", log.seen);
    let before = pids(&house, 1).await;

    std::fs::write(house.directory.path().join("broken"), "").unwrap();
    let procfile = dyno_runtime::Procfile::parse(&procfile.replace("600", "700")).unwrap();
    let next = AppDefinition::new(house.app.clone(), house.directory.path().to_owned(), procfile);
    let refused = house.runtime.deploy(next.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("failed with status 1; nothing was changed"), "{refused}");
    log.until("Release command failed").await;
    assert_eq!(pids(&house, 1).await, before);

    std::fs::remove_file(house.directory.path().join("broken")).unwrap();
    house.runtime.deploy(next).await.unwrap();
    log.until("Starting process with command `exec sleep 700`").await;
    house.close().await;
}

#[tokio::test]
async fn an_app_whose_release_command_runs_can_be_stopped() {
    let house = House::open(|_| {}).await;
    let procfile = dyno_runtime::Procfile::parse("release: exec sleep 600\nworker: exec sleep 600").unwrap();
    let app = AppDefinition::new(house.app.clone(), house.directory.path().to_owned(), procfile);
    let stop = async {
        while !house.runtime.ps(&house.app).await.is_ok_and(|all| all.iter().any(|it| it.phase == Phase::Up))
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        house.runtime.shutdown().await;
    };
    let both = async { tokio::join!(house.runtime.deploy(app), stop) };
    let (deployed, ()) = tokio::time::timeout(LONG, both).await.expect("it stops");
    assert!(matches!(deployed, Err(RuntimeError::Stopping(_))), "{deployed:?}");
    house.close().await;
}
