//! What is checked inside a machine with cgroup version 2: F1, F2, F13, F14, F19 of the fault list.
//!
//! It is the first program in a small virtual machine that `tests/version_2.rs` makes; it needs a shell at `/bin/sh`,
//! and root. For each check it prints `PASS name` or `FAIL name: why`, and in the end `DONE`.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "this is a test; its output is the verdict, and a panic is a failed check"
)]

use std::{
    panic::AssertUnwindSafe,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use busbar_registry::{AppRecord, Bounds, Memory, Registry as _};
use dyno_runtime::{
    AppDefinition, Enforcement, Limits, Procfile, RestartPolicy, Runtime, RuntimeOptions,
    cgroup::{Cgroup, Role, Site},
    init,
    options::INIT_VERB,
};
use futures_util::FutureExt as _;

const LONG: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [INIT_VERB, ..] => init::main(),
        ["eat", mib] => eat(mib.parse().unwrap()),
        ["spin"] => loop {
            std::hint::spin_loop();
        },
        _ => check_all(),
    }
}

/// Has so many mebibytes, and keeps them.
fn eat(mib: usize) -> ExitCode {
    let held = vec![1_u8; mib << 20];
    println!("fed {}", held.iter().map(|byte| u64::from(*byte)).sum::<u64>());
    std::thread::sleep(LONG);
    ExitCode::SUCCESS
}

#[tokio::main(flavor = "current_thread")]
async fn check_all() -> ExitCode {
    let version_2 = matches!(Site::here("probe"), Ok(Site::V2(_)));
    println!("{} the_machine_has_version_2", if version_2 { "PASS" } else { "FAIL" });
    macro_rules! check {
        ($($name:ident),*) => { $(
            let verdict = AssertUnwindSafe(tokio::time::timeout(LONG, $name())).catch_unwind().await;
            match verdict {
                Ok(Ok(())) => println!("PASS {}", stringify!($name)),
                Ok(Err(_)) => println!("FAIL {}: it takes too long", stringify!($name)),
                Err(panic) => {
                    let why = panic.downcast_ref::<String>().map(String::as_str);
                    let why = why.or(panic.downcast_ref::<&str>().copied()).unwrap_or("?");
                    println!("FAIL {}: {}", stringify!($name), why.replace('\n', " "));
                }
            }
        )* };
    }
    check!(
        f1_a_fork_bomb_is_held_and_killed,
        f2_what_left_the_session_is_gone_after_the_stop,
        f13_a_child_that_needs_too_much_ends_the_dyno_and_no_other,
        f14_above_the_quota_it_lives_and_r14_is_said_again,
        f19_cpu_time_goes_by_weight,
        limits_change_while_it_runs
    );
    println!("DONE");
    ExitCode::SUCCESS
}

/// One app, in a runtime of its own.
struct House {
    runtime: Runtime,
    tail: dyno_runtime::Tail,
    seen: Vec<String>,
}

impl House {
    async fn run(procfile: &str, limits: Limits) -> Self {
        let registry = Memory::start(Bounds::default());
        registry.put_app(AppRecord::new("shop".parse().unwrap(), []), None).await.unwrap();
        let options = RuntimeOptions {
            instance: "guest".into(),
            state_directory: Some("/tmp/state".into()),
            cgroups: Enforcement::Required,
            ..RuntimeOptions::default()
        };
        let runtime = Runtime::start(options, registry).await.unwrap();
        let procfile = Procfile::parse(&procfile.replace("SELF", &own_path())).unwrap();
        let mut app = AppDefinition::new("shop".parse().unwrap(), PathBuf::from("/tmp"), procfile);
        app.limits = limits;
        app.restart = RestartPolicy { base: LONG, ..RestartPolicy::default() };
        app.metrics.every = Duration::from_secs(2);
        app.times.exit = Duration::from_secs(1);
        runtime.deploy(app).await.unwrap();
        let (lines, tail) = runtime.logs(&"shop".parse().unwrap(), usize::MAX).unwrap();
        Self { runtime, tail, seen: lines.iter().map(ToString::to_string).collect() }
    }

    async fn until(&mut self, nth: usize, text: &str) {
        while self.count(text) < nth {
            let line = self.tail.next().await.unwrap();
            self.seen.push(line.to_string());
        }
    }

    fn count(&self, text: &str) -> usize {
        self.seen.iter().filter(|line| line.contains(text)).count()
    }

    /// Stops it; nothing of it is left.
    async fn close(self) {
        self.runtime.shutdown().await;
        let left = PathBuf::from("/sys/fs/cgroup/busbar/guest");
        assert!(!left.exists(), "{} is left", left.display());
    }
}

fn own_path() -> String {
    std::env::current_exe().unwrap().to_str().unwrap().to_owned()
}

fn memory(mib: u64) -> Limits {
    Limits { memory: Some(mib * MIB), ..Limits::default() }
}

async fn f1_a_fork_bomb_is_held_and_killed() {
    let bomb = "worker: bomb() { bomb 2>/dev/null | bomb 2>/dev/null & }; bomb; exec sleep 600\nother: exec sleep 600";
    let mut house = House::run(bomb, Limits { pids: Some(32), ..Limits::default() }).await;
    house.until(2, "to up").await;
    let pids = PathBuf::from("/sys/fs/cgroup/busbar/guest");
    let group = std::fs::read_dir(&pids)
        .unwrap()
        .flatten()
        .find(|entry| entry.path().to_string_lossy().contains("worker"));
    let group = group.unwrap().path();
    let read = |file: &str| std::fs::read_to_string(group.join(file)).unwrap();
    while !read("pids.events").lines().any(|line| line.strip_prefix("max ").is_some_and(|n| n != "0")) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(read("pids.current").trim().parse::<u32>().unwrap() <= 32);
    assert_eq!(house.count("other.1]: Process exited"), 0);
    house.close().await;
}

async fn f2_what_left_the_session_is_gone_after_the_stop() {
    let daemon = "worker: (env -i setsid /bin/sh -c 'trap \"\" TERM; echo $$ > /tmp/daemon; while :; do sleep 1; done' &); exec sleep 600";
    let _none = std::fs::remove_file("/tmp/daemon");
    let house = House::run(daemon, Limits::default()).await;
    let mut pid = String::new();
    while !pid.ends_with('\n') {
        tokio::time::sleep(Duration::from_millis(5)).await;
        pid = std::fs::read_to_string("/tmp/daemon").unwrap_or_default();
    }
    let there = || {
        std::fs::read_to_string(format!("/proc/{}/cgroup", pid.trim()))
            .is_ok_and(|group| group.contains("worker"))
    };
    assert!(there());
    house.close().await;
    assert!(!there());
}

async fn f13_a_child_that_needs_too_much_ends_the_dyno_and_no_other() {
    let eat = "worker: SELF eat 100; echo child ended; sleep 600\nother: exec sleep 600";
    let mut house = House::run(eat, memory(32)).await;
    house.until(1, "worker.1]: State changed from up to crashed").await;
    let r15 = house.seen.iter().position(|line| line.contains("Error R15")).unwrap();
    assert!(house.seen[r15 - 1].contains("Process running mem=64M(200.0%)"), "{:?}", house.seen);
    assert!(house.count("worker.1]: Process exited with status 137") >= 1);
    assert_eq!(house.count("other.1]: Process exited"), 0);
    house.close().await;
}

async fn f14_above_the_quota_it_lives_and_r14_is_said_again() {
    let mut house = House::run("worker: exec SELF eat 40", memory(32)).await;
    house.until(2, "Error R14 (Memory quota exceeded)").await;
    assert_eq!((house.count("exited"), house.count("R15")), (0, 0), "{:?}", house.seen);
    house.close().await;
}

/// A group without a dyno, with a program in it.
struct Bare(Cgroup, std::process::Child);

impl Bare {
    fn new(site: &Site, leaf: &str, limits: &Limits, program: &str) -> Self {
        let group = site.plan(leaf);
        group.control().create(limits).unwrap();
        let files = group.control().join_files(Role::App);
        let join: String = files.iter().map(|file| format!("echo 0 > {} && ", file.display())).collect();
        let child =
            std::process::Command::new("/bin/sh").args(["-c", &format!("{join} exec {program}")]).spawn();
        Self(group, child.unwrap())
    }

    async fn remove(mut self) {
        self.0.control().kill().unwrap();
        self.1.wait().unwrap();
        self.0.remove().await.unwrap();
    }
}

async fn f19_cpu_time_goes_by_weight() {
    let site = Site::here("weights").unwrap();
    site.prepare().unwrap();
    let program = format!("taskset 1 {} spin", own_path());
    let shares = |cpu_shares| Limits { cpu_shares: Some(cpu_shares), ..Limits::default() };
    let many = Bare::new(&site, "many", &shares(40_960), &program);
    let few = Bare::new(&site, "few", &shares(10_240), &program);
    let used = |bare: &Bare| bare.0.control().cpu_time().unwrap().as_secs_f64();
    // One begins before the other; what they compete for is what they use from here on.
    while used(&many) < 0.1 || used(&few) < 0.1 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let base = (used(&many), used(&few));
    while used(&few) < base.1 + 0.4 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ratio = (used(&many) - base.0) / (used(&few) - base.1);
    assert!((2.5..6.5).contains(&ratio), "4 : 1 became {ratio}");
    many.remove().await;
    few.remove().await;
    site.tidy();
}

async fn limits_change_while_it_runs() {
    let site = Site::here("change").unwrap();
    site.prepare().unwrap();
    let bare = Bare::new(&site, "leaf", &memory(64), &format!("{} eat 60", own_path()));
    let deadline = Instant::now() + LONG;
    while bare.0.control().memory().is_none_or(|memory| memory.used() < 60 * MIB) {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bare.0.control().update(&memory(100)).unwrap();
    let refused = bare.0.control().update(&memory(16)).unwrap_err().to_string();
    assert!(refused.contains("uses more than"), "{refused}");
    bare.0.control().update(&memory(40)).unwrap();
    assert_eq!(bare.0.control().oom_kills(), 0);
    bare.remove().await;
    site.tidy();
}
