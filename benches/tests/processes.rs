//! Processes of `busbar-bench`: they cost what `/proc` says, they end when told, and they leave nobody behind.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test says what it needs by failing")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use busbar_bench::{
    origin::{Listener, Origin},
    process::usage,
    results::{Comparison, Ended, RunResult},
};
use rustix::{
    process::{Pid, Signal, kill_process},
    time::{ClockId, clock_gettime},
};

const BENCH: &str = env!("CARGO_BIN_EXE_busbar-bench");

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A child that does not outlive the test.
struct Guarded(std::process::Child);

impl Guarded {
    fn start(arguments: &[&str]) -> Self {
        let command = Command::new(BENCH).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self(command.unwrap())
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.0.id().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn ended(&mut self) -> ExitStatus {
        eventually("the end", || self.0.try_wait().unwrap())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn origin() -> (Origin, String) {
    let origin = Origin::start(vec![Listener::anywhere()], 1).unwrap();
    let url = format!("http://{}/", origin.addresses[0]);
    (origin, url)
}

fn exit_code(arguments: &[&str]) -> Option<i32> {
    Guarded::start(arguments).ended().code()
}

#[test]
fn an_interrupted_run_writes_what_there_was_and_says_130() {
    let (origin, url) = origin();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("result.json");
    let mut run = Guarded::start(&["run", &url, "-d", "60s", "-c", "2", "--json", file.to_str().unwrap()]);
    eventually("the first request", || (origin.counts.served().requests > 0).then_some(()));
    run.signal(Signal::INT);
    assert_eq!(run.ended().code(), Some(130));
    let result: RunResult = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(result.ended, Ended::Interrupted);
    assert!(result.ok > 0);
}

#[test]
fn exit_codes_say_what_happened() {
    let (_origin, url) = origin();
    let run = |more: &[&str]| exit_code(&[&["run", &url, "-q", "-n", "20", "-c", "1"], more].concat());
    assert_eq!(run(&[]), Some(0));
    assert_eq!(run(&["--fail-if", "errors>0", "--fail-if", "p99>50s"]), Some(0));
    assert_eq!(run(&["--fail-if", "p50>1ns"]), Some(1));
    assert_eq!(run(&["--fail-if", "p50>"]), Some(2));
    assert_eq!(exit_code(&["run", "http://127.0.0.1:1/"]), Some(3), "nobody is there");
    assert_eq!(exit_code(&["run", "http://192.0.2.1/"]), Some(3), "strangers are not hit");
}

/// Starts a comparison of the proxy that is always there, and waits until it is loaded.
fn long_comparison() -> (Guarded, Vec<u32>) {
    let compare = Guarded::start(&["compare", "small-64", "--peers", "hyper", "-d", "60s", "--rounds", "9"]);
    let family = eventually("the proxy", || {
        let family = usage::pids(compare.0.id());
        family
            .iter()
            .any(|pid| is_named(*pid, "hyper-proxy") && usage::tree(*pid).cpu.as_millis() > 50)
            .then_some(family)
    });
    assert!(family.len() >= 3, "itself, the origin and the proxy: {family:?}");
    (compare, family)
}

fn is_named(pid: u32, name: &str) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).split('\0').nth(1) == Some(name)
}

/// Whether a process runs, rather than having ended without being asked for its status.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !matches!(stat.rsplit_once(") ").map(|(_, rest)| rest.starts_with('Z')), None | Some(true))
}

#[test]
fn an_interrupted_comparison_leaves_nobody_behind() {
    let (mut compare, family) = long_comparison();
    compare.signal(Signal::INT);
    assert_eq!(compare.ended().code(), Some(130));
    assert_eq!(family.into_iter().filter(|pid| runs(*pid)).count(), 0);
}

#[test]
fn even_a_killed_comparison_leaves_nobody_behind() {
    let (mut compare, family) = long_comparison();
    compare.signal(Signal::KILL);
    compare.ended();
    eventually("the end of its children", || (!family.iter().any(|pid| runs(*pid))).then_some(()));
}

#[test]
fn a_comparison_says_what_each_did_and_can_be_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let (json, markdown) = (folder.path().join("c.json"), folder.path().join("c.md"));
    let own = folder.path().join("own.toml");
    fs::write(&own, "about = 'mine'\n[load]\nconnections = 4\npath = '/1k'\nidle_connections = 20").unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let code = exit_code(&[
        "compare",
        &path(&own),
        "--peers",
        "direct,hyper",
        "--rounds",
        "2",
        "--duration",
        "300ms",
        "--warmup",
        "50ms",
        "--json",
        &path(&json),
        "--markdown",
        &path(&markdown),
    ]);
    assert_eq!(code, Some(0));
    let comparison: Comparison = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    let scenario = &comparison.scenarios[0];
    let order: Vec<(u32, &str)> = scenario.measurements.iter().map(|m| (m.round, m.peer.as_str())).collect();
    assert_eq!(order, [(1, "direct"), (1, "hyper"), (2, "direct"), (2, "hyper")], "in turns");
    assert_eq!(scenario.notes, Vec::<String>::new(), "the proxy does its duties");
    let (direct, hyper) = (&scenario.rows[0], &scenario.rows[1]);
    assert!(direct.cpu_us.is_none() && hyper.cpu_us.is_some_and(|cpu| cpu.min > 0.0), "{hyper:?}");
    assert_eq!((direct.failed, hyper.failed), (0, 0));
    assert!(
        hyper.rss_bytes.is_some() && scenario.measurements[1].idle.is_some_and(|idle| idle.connections == 20)
    );
    assert!(fs::read_to_string(markdown).unwrap().contains("| hyper"));
}

/// CPU time each thread of the workload burns.
const BURN: Duration = Duration::from_millis(250);

#[test]
fn a_process_tree_costs_what_its_processes_say() {
    let mut root = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "workload", "--nocapture"])
        .env("WORKLOAD_CHILDREN", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(root.stdout.take().unwrap()).lines();
    let burned: Vec<Duration> = lines
        .filter_map(|line| {
            Some(Duration::from_nanos(line.unwrap().split_once("burned ")?.1.parse().unwrap()))
        })
        .take(2)
        .collect();
    let usage = usage::tree(root.id());
    drop(root.stdin.take());
    root.wait().unwrap();
    let said: Duration = burned.iter().sum();
    assert!(said >= 4 * BURN, "two processes with two threads each: {burned:?}");
    assert_eq!(usage.processes, 2);
    assert!(usage.rss_bytes > 1 << 20);
    let difference = usage.cpu.abs_diff(said);
    assert!(difference <= said / 20 + Duration::from_millis(30), "{:?} instead of {said:?}", usage.cpu);
}

#[test]
#[ignore = "it is what the test above starts"]
fn workload() {
    let Ok(children) = std::env::var("WORKLOAD_CHILDREN") else { return };
    let mut child = (children == "1").then(|| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "workload", "--nocapture"])
            .env("WORKLOAD_CHILDREN", "0")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap()
    });
    thread::spawn(burn).join().unwrap(); // a thread that has ended
    burn();
    let mut out = std::io::stdout();
    writeln!(out, "\nburned {}", cpu(ClockId::ProcessCPUTime).as_nanos()).unwrap();
    out.flush().unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    if let Some(child) = &mut child {
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

fn burn() {
    let began = cpu(ClockId::ThreadCPUTime);
    while cpu(ClockId::ThreadCPUTime) - began < BURN {
        std::hint::spin_loop();
    }
}

fn cpu(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}
