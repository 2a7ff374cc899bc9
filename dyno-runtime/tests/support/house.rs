//! An app in a temporary directory, run by a runtime of its own, whose every trace must be gone at the end.
#![allow(dead_code, reason = "each test program uses what it needs")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use busbar_registry::{
    AppName, AppRecord, Generation, Lease, LeaseId, Refusal, Registration, Registry, Revision, Snapshot,
    Watch, WebFormation,
};
use dyno_runtime::{
    AppDefinition, Enforcement, InitProgram, Procfile, Runtime, RuntimeOptions, Tail, cgroup::Site,
};
use futures_util::FutureExt as _;

/// Nothing here takes so long; only a failing test waits for it.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A registry that remembers what it was told.
#[derive(Default)]
pub(crate) struct Ledger {
    told: Mutex<Vec<String>>,
    /// Whether a dyno that is registered again gets a lease of another name.
    pub(crate) names_anew: AtomicBool,
}

impl Ledger {
    /// How often it was told so.
    pub(crate) fn times(&self, what: &str) -> usize {
        self.told.lock().unwrap().iter().filter(|told| *told == what).count()
    }
    pub(crate) fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
    fn tell(&self, what: String) -> Result<Revision, Refusal> {
        self.told.lock().unwrap().push(what);
        Ok(Revision(1))
    }
}

#[async_trait]
impl Registry for Ledger {
    async fn put_app(&self, _: AppRecord, _: Option<Revision>) -> Result<Revision, Refusal> {
        unreachable!("the program puts apps")
    }
    async fn remove_app(&self, _: &AppName) -> Result<Revision, Refusal> {
        unreachable!("the program removes apps")
    }
    async fn report_web(&self, _: &AppName, web: WebFormation) -> Result<Revision, Refusal> {
        self.tell(format!("web {}/{}/{}", web.quantity, web.starting, web.crashed))
    }
    async fn register(&self, dyno: Registration) -> Result<Lease, Refusal> {
        self.tell(format!("register {}", dyno.dyno))?;
        let id = LeaseId(dyno.dyno.to_string());
        Ok(Lease { id, generation: Generation(1), ttl_ms: dyno.ttl_ms, revision: Revision(1) })
    }
    async fn register_again(&self, dyno: Registration, _: Generation) -> Result<Lease, Refusal> {
        let mut lease = self.register(dyno).await?;
        if self.names_anew.load(Ordering::Relaxed) {
            lease.id.0 += &format!(" for the {}. time", self.told().len());
        }
        Ok(lease)
    }
    async fn renew(&self, _: &LeaseId) -> Result<Lease, Refusal> {
        Err(Refusal::LeaseGone)
    }
    async fn drain(&self, lease: &LeaseId) -> Result<Revision, Refusal> {
        self.tell(format!("drain {}", lease.0))
    }
    async fn deregister(&self, lease: &LeaseId) -> Result<Revision, Refusal> {
        self.tell(format!("deregister {}", lease.0))
    }
    async fn snapshot(&self) -> Result<Snapshot, Refusal> {
        Ok(Snapshot::default())
    }
    async fn watch(&self, _: Revision) -> Result<Watch, Refusal> {
        Ok(Box::pin(futures_util::stream::pending()))
    }
}

/// A runtime, its app, and where it runs.
pub(crate) struct House {
    pub(crate) runtime: Runtime,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) app: AppName,
    pub(crate) directory: tempfile::TempDir,
    state: tempfile::TempDir,
    pub(crate) instance: String,
}

/// The program that is both a dyno-init and a supervisor.
pub(crate) fn supervise() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().and_then(Path::parent).unwrap().join("examples/supervise");
    assert!(built.exists(), "{} is not built: cargo build -p dyno-runtime --examples", built.display());
    built
}

/// Whether control groups can be made here; says so when not.
pub(crate) fn cgroups_work() -> bool {
    let probe = format!("probe-{}", std::process::id());
    match Site::here(&probe).and_then(|site| site.prepare().map(|()| site.tidy())) {
        Ok(()) => true,
        Err(error) => {
            eprintln!("skipped: {error}");
            false
        }
    }
}

/// With control groups where they can be made, and without.
pub(crate) fn both_modes() -> Vec<Enforcement> {
    if cgroups_work() { vec![Enforcement::Required, Enforcement::Off] } else { vec![Enforcement::Off] }
}

impl House {
    /// A runtime without an app.
    pub(crate) async fn open(change: impl FnOnce(&mut RuntimeOptions)) -> Self {
        let (directory, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let unique = state.path().file_name().unwrap().to_string_lossy().replace('.', "");
        Self::after(directory, state, format!("test-{unique}"), change).await
    }

    /// A runtime of an instance that there was before.
    pub(crate) async fn after(
        directory: tempfile::TempDir,
        state: tempfile::TempDir,
        instance: String,
        change: impl FnOnce(&mut RuntimeOptions),
    ) -> Self {
        let mut options = RuntimeOptions {
            instance: instance.clone(),
            state_directory: Some(state.path().to_owned()),
            init: InitProgram { program: supervise(), ..InitProgram::default() },
            ..RuntimeOptions::default()
        };
        options.sandbox.scratch = Some(state.path().join("scratch"));
        change(&mut options);
        let ledger = Arc::new(Ledger::default());
        let registry: Arc<Ledger> = Arc::clone(&ledger);
        let runtime = Runtime::start(options, registry).await.unwrap();
        Self { runtime, ledger, app: "shop".parse().unwrap(), directory, state, instance }
    }

    /// The next runtime of the instance, to which this one leaves its dynos.
    pub(crate) async fn next(mut self, change: impl FnOnce(&mut RuntimeOptions)) -> Self {
        self.runtime.leave().await;
        let other = |place: &mut _| std::mem::replace(place, tempfile::tempdir().unwrap());
        let (directory, state) = (other(&mut self.directory), other(&mut self.state));
        let (app, instance) = (self.app.clone(), self.instance.clone());
        drop(self);
        let mut next = Self::after(directory, state, instance, change).await;
        next.app = app;
        next
    }

    /// Runs an app with this Procfile and one dyno of each type.
    pub(crate) async fn run(&self, procfile: &str, change: impl FnOnce(&mut AppDefinition)) -> Log {
        let procfile = Procfile::parse(procfile).unwrap();
        let mut definition = AppDefinition::new(self.app.clone(), self.directory.path().to_owned(), procfile);
        change(&mut definition);
        self.runtime.deploy(definition).await.unwrap();
        let (lines, tail) = self.runtime.logs(&self.app, usize::MAX).unwrap();
        Log { seen: lines.iter().map(|line| short(&line.to_string())).collect(), tail }
    }

    /// A pid that a dyno wrote into a file of its directory.
    pub(crate) async fn pid_in(&self, file: &str) -> i32 {
        pid_in(&self.directory.path().join(file)).await
    }

    /// Where the runtime keeps its records, and dynos write.
    pub(crate) fn state(&self) -> &Path {
        self.state.path()
    }

    /// The places of its dynos' control groups, one of each hierarchy that it uses.
    pub(crate) fn groups(&self) -> Vec<PathBuf> {
        let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        let of = |hierarchy: fs::DirEntry| hierarchy.path().join("busbar").join(&self.instance);
        hierarchies.map(of).filter(|group| group.exists()).collect()
    }

    /// The files that say which numbers its dynos have. Without a number there is neither a user nor an interface: these are
    /// removed first.
    pub(crate) fn numbers(&self) -> Vec<PathBuf> {
        let boots = fs::read_dir("/run/busbar/numbers").into_iter().flatten().flatten();
        let files = boots.flat_map(|boot| fs::read_dir(boot.path()).into_iter().flatten().flatten());
        let own = |file: &PathBuf| fs::read_to_string(file).unwrap_or_default().contains(&self.instance);
        files.map(|file| file.path()).filter(own).collect()
    }

    /// Stops everything and looks for what should be gone.
    pub(crate) async fn close(self) {
        tokio::time::timeout(LONG, self.runtime.shutdown()).await.expect("shutdown takes too long");
        assert_eq!(fs::read_dir(self.state.path().join("dynos")).unwrap().count(), 0, "records are left");
        let scratch = self.state.path().join("scratch").join(&self.instance);
        assert_eq!(fs::read_dir(&scratch).into_iter().flatten().count(), 0, "what dynos wrote is left");
        assert_eq!(self.numbers(), Vec::<PathBuf>::new(), "numbers, and what goes with them, are left");
        assert_eq!(self.groups(), Vec::<PathBuf>::new(), "control groups are left");
    }
}

impl Drop for House {
    /// A test has failed: nothing that its dynos hold is worth waiting for.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let records = fs::read_dir(self.state.path().join("dynos")).into_iter().flatten().flatten();
        let leader = |record: fs::DirEntry| -> Option<i64> {
            let record: serde_json::Value = serde_json::from_slice(&fs::read(record.path()).ok()?).ok()?;
            record.get("leader")?.get("pid")?.as_i64()
        };
        let leaders: Vec<i64> = records.filter_map(leader).collect();
        let mark = format!("BUSBAR_DYNO_INSTANCE={}/", self.instance);
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Ok(pid) = process.file_name().to_string_lossy().parse::<i32>() else { continue };
            let environment = fs::read(process.path().join("environ")).unwrap_or_default();
            let is_own = String::from_utf8_lossy(&environment).contains(&mark);
            let is_first = leaders.contains(&i64::from(pid))
                && fs::read_to_string(process.path().join("comm")).is_ok_and(|name| name == "dyno-init\n");
            if (is_own || is_first)
                && let Some(pid) = rustix::process::Pid::from_raw(pid)
            {
                let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// A log as a test reads it: without the time.
pub(crate) struct Log {
    pub(crate) seen: Vec<String>,
    tail: Tail,
}

impl Log {
    /// Reads on until a line contains `text`.
    pub(crate) async fn until(&mut self, text: &str) {
        self.until_nth(1, text).await;
    }

    /// Reads on until `nth` lines contain `text`.
    pub(crate) async fn until_nth(&mut self, nth: usize, text: &str) {
        let read = async {
            let mut there = self.with(text).len();
            while there < nth {
                let line = short(&self.tail.next().await.expect("the app is gone").to_string());
                there += usize::from(line.contains(text));
                self.seen.push(line);
            }
        };
        let in_time = tokio::time::timeout(LONG, read).await.is_ok();
        assert!(in_time, "{nth} × {text:?} did not come; the log is {:#?}", self.seen);
    }

    /// Reads what is there already.
    pub(crate) fn now(&mut self) {
        while let Some(Some(line)) = self.tail.next().now_or_never() {
            self.seen.push(short(&line.to_string()));
        }
    }

    /// The lines that contain `text`.
    pub(crate) fn with(&self, text: &str) -> Vec<&str> {
        self.seen.iter().filter(|line| line.contains(text)).map(String::as_str).collect()
    }
}

fn short(line: &str) -> String {
    line.split_once(' ').unwrap().1.to_owned()
}

/// Copies a program to where it will be executed.
///
/// Not by this process: a child of another test could inherit the file open for writing, and it could not be executed.
pub(crate) fn copy_program(program: impl AsRef<Path>, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-L").arg(program.as_ref()).arg(to).status();
    assert!(copied.is_ok_and(|status| status.success()), "{} can be copied", program.as_ref().display());
}

/// Waits until `holds`, by looking.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + LONG;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A pid that somebody writes into a file.
pub(crate) async fn pid_in(file: &Path) -> i32 {
    let mut pid = None;
    eventually(&format!("a pid in {}", file.display()), || {
        pid = fs::read_to_string(file).ok().and_then(|text| text.strip_suffix('\n')?.parse().ok());
        pid.is_some()
    })
    .await;
    pid.unwrap()
}

/// Whether the process runs; a zombie does not.
pub(crate) fn runs(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
