//! Runtimes that are killed: the example `supervise` in a process of its own, one after the other.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use dyno_runtime::{AppDefinition, Enforcement, Isolation, Network, RuntimeOptions};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::{House, LONG, Log, cgroups_work, eventually, runs, supervise};

/// How dynos are kept apart, and whether they have control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct How {
    pub(crate) isolation: Isolation,
    pub(crate) cgroups: Enforcement,
}

impl How {
    const PLAIN: Self = Self { isolation: Isolation::Plain, cgroups: Enforcement::Off };

    /// All that can be had here.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![Self::PLAIN];
        if cgroups_work() {
            all.push(Self { cgroups: Enforcement::BestEffort, ..Self::PLAIN });
        }
        if rustix::process::geteuid().is_root() {
            all.push(Self { isolation: Isolation::Full, cgroups: Enforcement::BestEffort });
        } else {
            eprintln!("skipped in part: only root has full isolation");
        }
        all
    }

    /// The same for a runtime in this process.
    pub(crate) fn apply(self, options: &mut RuntimeOptions) {
        options.cgroups = self.cgroups;
        options.isolation = self.isolation;
        options.sandbox.network = Network::Inbound;
    }

    fn words(self) -> [&'static str; 2] {
        let level = if self.isolation == Isolation::Full { "full" } else { "plain" };
        [if self.cgroups == Enforcement::Off { "off" } else { "best-effort" }, level]
    }
}

/// An app and the state of its runtimes.
pub(crate) struct Place {
    pub(crate) how: How,
    pub(crate) directory: TempDir,
    runtimes: Runtimes,
    orphans: Orphans,
    pub(crate) state: TempDir,
    instance: String,
}

/// Whatever a test that fails leaves is killed by its record.
struct Orphans(PathBuf);

impl Drop for Orphans {
    fn drop(&mut self) {
        for leader in records(&self.0).iter().filter_map(leader) {
            for pid in below(leader).into_iter().chain([leader]).filter_map(Pid::from_raw) {
                let _gone = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// They end with the test.
#[derive(Default)]
struct Runtimes(Vec<Child>);

impl Place {
    pub(crate) fn new(how: How, procfile: &str) -> Self {
        let (directory, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(directory.path().join("Procfile"), procfile).unwrap();
        let unique = state.path().file_name().unwrap().to_string_lossy().replace('.', "");
        let (runtimes, orphans) = (Runtimes::default(), Orphans(state.path().to_owned()));
        Self { how, directory, runtimes, orphans, state, instance: format!("test-{unique}") }
    }

    /// A runtime that runs the app; its log goes into a file.
    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    pub(crate) fn start_with(&mut self, environment: &[(&str, &str)]) {
        let log = fs::File::create(self.state.path().join(format!("log.{}", self.runtimes.0.len()))).unwrap();
        let [groups, level] = self.how.words();
        let (directory, state) = (self.directory.path(), self.state.path());
        let mut command = Command::new(supervise());
        command.args([directory, state, groups.as_ref(), self.instance.as_ref(), level.as_ref()]);
        command.arg("inbound").envs(environment.iter().copied());
        self.runtimes.0.push(command.stdout(log).stderr(Stdio::null()).spawn().unwrap());
    }

    /// Kills the runtime that runs.
    pub(crate) fn kill(&mut self) {
        let last = self.runtimes.0.last_mut().unwrap();
        last.kill().unwrap();
        last.wait().unwrap();
    }

    /// Sends the runtime that runs a signal.
    pub(crate) fn tell(&mut self, signal: Signal) {
        kill_process(Pid::from_child(self.runtimes.0.last_mut().unwrap()), signal).unwrap();
    }

    /// Whether the runtime that has ended was killed.
    pub(crate) fn was_killed(&mut self) -> bool {
        self.runtimes.0.last_mut().unwrap().wait().unwrap().signal() == Some(9)
    }

    /// Changes what is written down.
    pub(crate) fn rewrite(&self, change: impl Fn(&mut serde_json::Value)) {
        let entries =
            fs::read_dir(self.state.path().join("dynos")).unwrap().map(|entry| entry.unwrap().path());
        for path in entries.filter(|path| path.extension().is_some_and(|kind| kind == "json")) {
            let mut record = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            change(&mut record);
            fs::write(path, record.to_string()).unwrap();
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.runtimes.0.last_mut().unwrap().try_wait().unwrap().is_some()
    }

    /// What each of the runtimes so far has logged, without the times.
    pub(crate) fn logs(&self) -> Vec<Vec<String>> {
        (0..self.runtimes.0.len()).map(|nth| self.log(nth)).collect()
    }

    pub(crate) fn log(&self, nth: usize) -> Vec<String> {
        let text = fs::read_to_string(self.state.path().join(format!("log.{nth}"))).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().filter_map(|line| Some(line.split_once(' ')?.1.to_owned())).collect()
    }

    /// Waits until the runtime that runs has logged it.
    pub(crate) async fn logged(&self, text: &str) {
        let last = self.runtimes.0.len() - 1;
        let has = || self.log(last).iter().any(|line| line.contains(text));
        let deadline = tokio::time::Instant::now() + LONG;
        while !has() {
            let log = self.log(last);
            let end = &log[log.len().saturating_sub(5)..];
            assert!(
                tokio::time::Instant::now() < deadline,
                "{:?}: {text:?} did not come after {end:?}",
                self.how
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What is written down.
    pub(crate) fn records(&self) -> Vec<serde_json::Value> {
        records(self.state.path())
    }

    /// The first processes of all dynos, once there are so many and all are in that stage.
    pub(crate) async fn leaders(&self, quantity: usize, stage: &str) -> Vec<i32> {
        let mut found = vec![];
        eventually(&format!("{quantity} dynos in stage {stage}"), || {
            found = self.records();
            found.len() == quantity && found.iter().all(|record| record["life"]["stage"] == stage)
        })
        .await;
        found.iter().filter_map(leader).collect()
    }

    /// The next runtime, in this process.
    pub(crate) async fn next(self, change: impl FnOnce(&mut RuntimeOptions)) -> House {
        let Self { how, directory, state, instance, runtimes, orphans } = self;
        drop(runtimes);
        // From here on that is the house's business.
        std::mem::forget(orphans);
        let mut house = House::after(directory, state, instance, |options| {
            how.apply(options);
            change(options);
        })
        .await;
        house.app = "hello".parse().unwrap();
        house
    }
}

/// The app as the example has it.
pub(crate) fn definition(directory: &Path) -> AppDefinition {
    AppDefinition::from_directory("hello".parse().unwrap(), directory).unwrap()
}

/// Deploys it, changed.
pub(crate) async fn deploy(house: &House, change: impl FnOnce(&mut AppDefinition)) -> Log {
    let same = definition(house.directory.path());
    house
        .run("web: none", |app| {
            *app = same;
            change(app);
        })
        .await
}

pub(crate) fn records(state: &Path) -> Vec<serde_json::Value> {
    let entries = fs::read_dir(state.join("dynos")).into_iter().flatten().flatten();
    let texts = entries.filter(|entry| entry.path().extension().is_some_and(|kind| kind == "json"));
    texts.filter_map(|entry| serde_json::from_slice(&fs::read(entry.path()).ok()?).ok()).collect()
}

pub(crate) fn leader(record: &serde_json::Value) -> Option<i32> {
    record["leader"]["pid"].as_i64().map(|pid| i32::try_from(pid).unwrap())
}

/// The processes below `pid`, as the machine numbers them.
pub(crate) fn below(pid: i32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children: Vec<i32> = children.split_whitespace().map(|child| child.parse().unwrap()).collect();
    children.iter().copied().chain(children.iter().flat_map(|child| below(*child))).collect()
}

impl Drop for Runtimes {
    fn drop(&mut self) {
        for runtime in &mut self.0 {
            let _ended = runtime.kill();
            let _ended = runtime.wait();
        }
    }
}

/// All of them run.
pub(crate) fn all_run(pids: &[i32]) -> bool {
    pids.iter().all(|pid| runs(*pid))
}
