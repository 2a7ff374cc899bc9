//! What limits do to real processes in real control groups. Needs root, or a delegated group.
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
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use dyno_runtime::{
    Enforcement, Limits, RestartPolicy, ScaleChange,
    cgroup::{Cgroup, CgroupError, Disk, HARD_FACTOR, Role, Site},
};
use support::{House, LONG, Log, cgroups_work, eventually};

#[path = "support/house.rs"]
mod support;

const MIB: u64 = 1 << 20;
/// The kernel's mark of a file system that is memory.
const TMPFS: i64 = 0x0102_1994;

fn memory(mib: u64) -> Limits {
    Limits { memory: Some(mib * MIB), ..Limits::default() }
}

/// An app whose dynos are limited, and do not come back when they end.
async fn limited(procfile: &str, limits: Limits) -> (House, Log) {
    let house = House::open(|options| options.cgroups = Enforcement::Required).await;
    let slow = RestartPolicy { base: LONG, ..RestartPolicy::default() };
    let log = house
        .run(procfile, |app| {
            app.restart = slow;
            app.limits = limits;
        })
        .await;
    (house, log)
}

/// A group of this test's own, without a dyno. What is in it ends with it, also when the test fails.
struct Bare {
    site: Site,
    group: Cgroup,
}

impl Bare {
    fn new(name: &str, limits: &Limits) -> Self {
        Self::beside(&site(name), "leaf", limits)
    }

    fn beside(site: &Site, leaf: &str, limits: &Limits) -> Self {
        let group = site.plan(leaf);
        group.control().create(limits).unwrap();
        Self { site: site.clone(), group }
    }

    /// Python that is in the group before it does anything.
    fn python(&self, program: &str) -> Child {
        let files: Vec<PathBuf> = self.group.control().join_files(Role::App);
        let join: String = files.iter().map(|file| format!("echo 0 > {} && ", file.display())).collect();
        Command::new("sh")
            .args(["-c", &format!("{join} exec python3 -u -c \"$PROGRAM\"")])
            .env("PROGRAM", program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    async fn remove(self) {
        self.group.control().kill().unwrap();
        self.group.remove().await.unwrap();
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _gone = self.group.control().kill();
        let deadline = std::time::Instant::now() + LONG;
        while self.group.control().remove().is_err() && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        self.site.tidy();
    }
}

fn site(name: &str) -> Site {
    let site = Site::here(&format!("test-{name}-{}", std::process::id())).unwrap();
    site.prepare().unwrap();
    site
}

/// Returns when the child has written a line.
fn one_line(child: &mut Child) -> String {
    use std::io::BufRead as _;
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line
}

#[tokio::test]
async fn f15_twice_the_hard_limit_of_page_cache_kills_nobody() {
    if !cgroups_work() {
        return;
    }
    // On a disk: the files of a tmpfs are memory, which counts.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    if rustix::fs::statfs(directory.path()).unwrap().f_type == TMPFS {
        return eprintln!("skipped: {} is memory", directory.path().display());
    }
    let (big, size) = (directory.path().join("big"), 2 * HARD_FACTOR * 16);
    let write = format!(
        "worker: head -c {size}M /dev/zero > {0}; sync {0}; cat {0} > /dev/null; rm {0}; echo done",
        big.display()
    );
    let (house, mut log) = limited(&write, memory(16)).await;
    log.until("Process exited").await;
    assert_eq!(log.with("app[worker.1]"), ["app[worker.1]: done"]);
    assert_eq!(log.with("status 0").len(), 1, "{:?}", log.seen);
    assert_eq!(log.with("R15"), Vec::<&str>::new());
    house.close().await;
}

#[tokio::test]
async fn f16_what_a_dyno_puts_into_dev_shm_is_charged_to_it() {
    if !cgroups_work() {
        return;
    }
    let file = format!("/dev/shm/busbar-test-{}", std::process::id());
    let fill = format!(
        "worker: head -c 20M /dev/zero > {file}; echo filled; head -c 200M /dev/zero >> {file}; exec sleep 600"
    );
    let (house, mut log) = limited(&fill, memory(32)).await;
    log.until("app[worker.1]: filled").await;
    eventually("R15", || {
        log.now();
        log.with("R15").len() == 1
    })
    .await;
    let held = fs::metadata(&file).unwrap().len();
    assert!(held < HARD_FACTOR * 32 * MIB, "{held} bytes are more than it may have");
    fs::remove_file(&file).unwrap();
    house.close().await;
}

#[tokio::test]
async fn f19_under_contention_cpu_time_goes_by_shares_and_a_cap_holds() {
    if !cgroups_work() {
        return;
    }
    let shares = |cpu_shares| Limits { cpu_shares: Some(cpu_shares), ..Limits::default() };
    let site = site("f19");
    let many = Bare::beside(&site, "many", &shares(4096));
    let few = Bare::beside(&site, "few", &shares(1024));
    let cap = Limits { cpu_millis: Some(100), ..Limits::default() };
    let capped = Bare::beside(&site, "capped", &cap);
    // All on one CPU, which one of them alone could fill.
    let spin = "import os\nos.sched_setaffinity(0, {0})\nwhile True: pass";
    let mut children = [many.python(spin), few.python(spin), capped.python(spin)];
    let used = |bare: &Bare| bare.group.control().cpu_time().unwrap().as_secs_f64();
    let all = || [&many, &few, &capped].map(used);
    // One begins before the other; what they compete for is what they use from here on.
    eventually("all of them spin", || all().iter().all(|seconds| *seconds > 0.1)).await;
    let base = all();
    eventually("the smaller share has had half a second", || used(&few) > base[1] + 0.5).await;
    let now = all();
    let [many_used, few_used, capped_used] = [0, 1, 2].map(|which| now[which] - base[which]);
    let ratio = many_used / few_used;
    assert!((2.8..5.5).contains(&ratio), "4 : 1 became {ratio}");
    assert!(capped_used < many_used / 2.0, "{capped_used} of {many_used}");
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    for bare in [many, few, capped] {
        bare.remove().await;
    }
}

#[tokio::test]
async fn f22_what_the_kernel_refuses_is_a_typed_error_and_nothing_changes() {
    if !cgroups_work() {
        return;
    }
    let bare = Bare::new("f22", &memory(64));
    let mut child = bare.python("x = bytearray(48 << 20); print('has it'); import time; time.sleep(600)");
    assert_eq!(one_line(&mut child), "has it\n");
    let refused = bare.group.control().update(&memory(8));
    assert!(
        matches!(refused, Err(CgroupError::MemoryInUse { limit, .. }) if limit == 16 * MIB),
        "{refused:?}"
    );
    assert!(bare.group.control().memory().unwrap().used() > 40 * MIB, "it lives on");
    let busy = bare.group.control().remove().unwrap_err();
    assert!(busy.to_string().contains("it is in use by other processes"), "{busy}");
    let too_many = Limits { pids: Some(u32::MAX), ..Limits::default() };
    let invalid = bare.group.control().update(&too_many).unwrap_err().to_string();
    assert!(invalid.contains("the kernel does not accept this value"), "{invalid}");
    child.kill().unwrap();
    child.wait().unwrap();
    bare.remove().await;
}

#[tokio::test]
async fn f23_limits_are_raised_and_lowered_while_the_dyno_runs() {
    if !cgroups_work() {
        return;
    }
    let bare = Bare::new("f23", &memory(64));
    let grow = "import sys\nheld = []\nfor line in sys.stdin: held.append(bytearray(int(line) << 20)); print(len(held))";
    let mut child = bare.python(grow);
    let ask = |child: &mut Child, mib: u32| {
        use std::io::Write as _;
        writeln!(child.stdin.as_mut().unwrap(), "{mib}").unwrap();
        one_line(child)
    };
    assert_eq!(ask(&mut child, 40), "1\n");
    for quota in [32, 256, 100, 200] {
        bare.group.control().update(&memory(quota)).unwrap();
    }
    assert_eq!(ask(&mut child, 200), "2\n", "240 MiB are below twice 200");
    assert!(matches!(bare.group.control().update(&memory(60)), Err(CgroupError::MemoryInUse { .. })));
    assert_eq!(ask(&mut child, 10), "3\n", "what was refused changed nothing");
    assert_eq!(ask(&mut child, 300), "", "and the limit still holds");
    assert_eq!(bare.group.control().oom_kills(), 1);
    child.wait().unwrap();
    bare.remove().await;
}

#[tokio::test]
async fn a_dyno_gets_another_size_without_a_restart_where_it_fits_and_with_one_where_not() {
    if !cgroups_work() {
        return;
    }
    let eat =
        "worker: exec python3 -u -c 'x = bytearray(100 << 20); print(\"fed\"); import time; time.sleep(600)'";
    let (house, mut log) = limited(eat, Limits::default()).await;
    let scale = async |change: &str| {
        let change: ScaleChange = change.parse().unwrap();
        house.runtime.scale(&house.app, vec![change]).await.unwrap();
        let status = house.runtime.ps(&house.app).await.unwrap();
        status.iter().rev().find_map(|dyno| dyno.quota).map(|quota| quota / MIB)
    };
    log.until("app[worker.1]: fed").await;
    let mut pid = None;
    while pid.is_none() {
        pid = house.runtime.ps(&house.app).await.unwrap()[0].pid;
    }
    assert_eq!(scale("worker=standard-2x").await, Some(1024));
    assert_eq!(scale("worker=custom-80MiB").await, Some(80));
    assert_eq!(house.runtime.ps(&house.app).await.unwrap()[0].pid, pid, "it fits: nothing restarts");
    assert_eq!(scale("worker=custom-40MiB").await, Some(40));
    log.until("Restarting").await;
    log.until("R15").await;
    house.close().await;
}

#[tokio::test]
async fn a_disk_rate_is_set_for_the_disk_that_holds_the_app() {
    if !cgroups_work() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let disk = match Disk::of(directory.path()) {
        Ok(disk) => disk,
        Err(none) => return eprintln!("skipped: {none}"),
    };
    let bare = Bare::new("disk", &Limits::default());
    bare.group.control().limit_disk(disk, 20 * MIB).unwrap();
    let own = bare.group.control().join_files(Role::Init);
    let shown = own.iter().map(|procs| procs.with_file_name("blkio.throttle.write_bps_device"));
    let v1: String = shown.filter_map(|file| fs::read_to_string(file).ok()).collect();
    let v2 = fs::read_to_string(bare.group.control().path().join("io.max")).unwrap_or_default();
    let expected = [
        format!("{disk} {}\n", 20 * MIB),
        format!("{disk} rbps={0} wbps={0} riops=max wiops=max\n", 20 * MIB),
    ];
    assert!(expected.contains(&format!("{v1}{v2}")), "{v1:?} {v2:?}");
    bare.remove().await;
}

#[tokio::test]
async fn pressure_and_what_runs_can_be_read() {
    if !cgroups_work() {
        return;
    }
    let bare = Bare::new("psi", &Limits::default());
    let mut child = bare.python("while True: pass");
    eventually("it runs", || bare.group.control().runnable() == Some(1)).await;
    let pressures = bare.group.control().pressures();
    assert_eq!(pressures.cpu.is_some(), fs::exists("/proc/pressure/cpu").unwrap(), "{pressures:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    // `python3` may be a script that starts others before it becomes Python.
    eventually("nothing runs", || bare.group.control().runnable() == Some(0)).await;
    bare.remove().await;
}

#[tokio::test]
async fn where_there_are_no_groups_another_size_gives_a_dyno_nothing_to_do() {
    let house = House::open(|options| options.cgroups = Enforcement::Off).await;
    let mut log = house.run("worker: exec sleep 600", |_| {}).await;
    log.until("State changed from starting to up").await;
    house.runtime.scale(&house.app, vec!["worker=standard-2x".parse().unwrap()]).await.unwrap();
    // A clock that is stopped jumps to the next time that is waited for, once nothing else is to be done.
    let (over, is_over) = std::sync::mpsc::channel();
    let (give_up, gave_up) = tokio::sync::oneshot::channel::<()>();
    let watch = std::thread::spawn(move || {
        let _over_or_too_late: Result<(), _> = is_over.recv_timeout(LONG);
        drop(give_up);
    });
    tokio::time::pause();
    let is_at_rest = tokio::select! {
        () = tokio::time::sleep(Duration::from_secs(3600)) => true,
        _ = gave_up => false,
    };
    tokio::time::resume();
    drop(over);
    watch.join().unwrap();
    assert!(is_at_rest, "an hour of nothing to do never passed");
    house.close().await;
}
