//! The processes of a dyno that is kept apart, and what is left of them.

use std::{fs, process::Stdio, time::Duration};

use busbar_registry::{Bounds, Memory};
use dyno_runtime::{Formation, RestartPolicy, Runtime, RuntimeOptions, Times};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    full, full_house, root,
    support::{House, LONG, eventually, runs, supervise},
};

fn slow() -> RestartPolicy {
    RestartPolicy { base: LONG, ..RestartPolicy::default() }
}

/// The processes below `pid`, as the machine numbers them.
fn below(pid: i32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children: Vec<i32> = children.split_whitespace().map(|child| child.parse().unwrap()).collect();
    children.iter().copied().chain(children.iter().flat_map(|child| below(*child))).collect()
}

#[tokio::test]
async fn f4_how_a_command_ended_is_told_exactly() {
    if !root() {
        return;
    }
    let house = House::open(full).await;
    let procfile =
        "zero: exit 0\nthree: exit 3\nhigh: exit 255\nkilled: kill -9 $$\nterm: kill -15 $$\nnone: ./none";
    let mut log = house.run(procfile, |app| app.restart = slow()).await;
    log.until_nth(12, "to crashed").await;
    for (dyno, status) in
        [("zero", 0), ("three", 3), ("high", 255), ("killed", 137), ("term", 143), ("none", 127)]
    {
        let line = format!("heroku[{dyno}.1]: Process exited with status {status}");
        assert_eq!(log.with(&line).len(), 2, "{line}: {:#?}", log.seen);
    }
    let status = house.runtime.ps(&house.app).await.unwrap();
    let of = |name: &str| status.iter().find(|dyno| dyno.dyno.to_string() == name).unwrap().last_exit;
    assert_eq!(of("killed.1"), Some(dyno_runtime::Exit::Signal(9)));
    assert_eq!(of("high.1"), Some(dyno_runtime::Exit::Code(255)));
    house.close().await;
}

#[tokio::test]
async fn f5_a_thousand_orphans_are_buried() {
    if !root() {
        return;
    }
    let house = House::open(full).await;
    // Each child leaves a grandchild behind, which ends after it: the first process inherits it.
    let orphans = r#"
import os, time
for _ in range(1000):
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            time.sleep(0.05)
        os._exit(0)
    os.waitpid(child, 0)
def others():
    return [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) not in (1, os.getpid(), os.getppid())]
while others():
    time.sleep(0.01)
print("all buried", flush=True)
time.sleep(600)
"#;
    fs::write(house.directory.path().join("orphans.py"), orphans).unwrap();
    let mut log = house.run("worker: python3 orphans.py", |app| app.restart = slow()).await;
    log.until("app[worker.1]: all buried").await;
    house.close().await;
}

#[tokio::test]
async fn f2_nothing_survives_the_first_process() {
    if !root() {
        return;
    }
    let house = House::open(full).await;
    let daemon = "worker: (setsid env -i /bin/sh -c 'trap \"\" TERM; while :; do /bin/sleep 0.05; done' &) ; echo ready; exec sleep 600";
    let exit = Duration::from_millis(300);
    let mut log = house.run(daemon, |app| app.times = Times { exit, ..Times::default() }).await;
    log.until("app[worker.1]: ready").await;
    let first = house.runtime.ps(&house.app).await.unwrap()[0].pid.unwrap();
    let all = below(first);
    assert!(all.len() >= 2 && all.iter().any(|pid| runs(*pid)), "{all:?}");
    house.runtime.stop_app(&house.app).await.unwrap();
    assert!(!runs(first) && !all.iter().any(|pid| runs(*pid)), "{all:?}");
    house.close().await;
}

#[tokio::test]
async fn the_first_process_becomes_a_small_program_that_may_signal_and_nothing_else() {
    if !root() {
        return;
    }
    let house = House::open(full).await;
    let mut log = house.run("worker: echo ready; exec sleep 600", |_| {}).await;
    log.until("app[worker.1]: ready").await;
    let first = house.runtime.ps(&house.app).await.unwrap()[0].pid.unwrap();
    let read = |name: &str| fs::read_to_string(format!("/proc/{first}/{name}")).unwrap();
    let small = || {
        let program = fs::read_link(format!("/proc/{first}/exe")).unwrap();
        program.to_string_lossy().starts_with("/memfd:dyno-init") && read("comm") == "dyno-init\n"
    };
    eventually("another program", small).await;
    let status = read("status");
    for line in [
        "CapPrm:\t0000000000000020",
        "CapEff:\t0000000000000020",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
    ] {
        assert!(status.contains(line), "{line}\n{status}");
    }
    assert_eq!(read("environ"), "");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kilobytes: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes < 256, "{resident}");
    house.close().await;
}

#[tokio::test]
async fn sigterm_reaches_every_process_once_and_an_orderly_end_is_waited_for() {
    if !root() {
        return;
    }
    let house = House::open(full).await;
    let orderly = "worker: trap 'echo heard; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let mut log = house.run(orderly, |_| {}).await;
    log.until("app[worker.1]: ready").await;
    house.runtime.scale(&house.app, vec!["worker=0".parse().unwrap()]).await.unwrap();
    log.until("exited with status 7").await;
    assert_eq!(log.with("app[worker.1]: heard").len(), 1, "{:?}", log.seen);
    house.close().await;
}

#[tokio::test]
async fn f10_when_the_first_process_is_killed_the_whole_dyno_dies_and_comes_back() {
    if !root() {
        return;
    }
    let house = House::open(full).await;
    let mut log = house.run("worker: sleep 600 & sleep 600 & echo ready; wait", |_| {}).await;
    log.until("app[worker.1]: ready").await;
    let first = house.runtime.ps(&house.app).await.unwrap()[0].pid.unwrap();
    let all = below(first);
    assert!(all.len() >= 3, "{all:?}");
    kill_process(Pid::from_raw(first).unwrap(), Signal::KILL).unwrap();
    log.until("Process exited with status 137").await;
    log.until("State changed from up to crashed").await;
    assert!(!all.iter().any(|pid| runs(*pid)));
    log.until_nth(2, "app[worker.1]: ready").await;
    house.close().await;
}

#[tokio::test]
async fn f12_many_dynos_start_at_once_and_none_has_a_file_of_another() {
    if !root() {
        return;
    }
    let house = full_house().await;
    let many: Formation = "worker=40".parse().unwrap();
    let mut log =
        house.run("worker: python3 probe.py files; exec sleep 600", |app| app.formation = many).await;
    log.until_nth(40, "tried everything").await;
    assert_eq!(log.with("files: [0, 1, 2] cwd=/app root=/").len(), 40);
    house.close().await;
}

#[tokio::test]
async fn f7_what_a_killed_runtime_leaves_of_its_dynos_the_next_one_removes_if_it_is_to_adopt_none() {
    if !root() {
        return;
    }
    let (directory, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(
        directory.path().join("Procfile"),
        "web: exec python3 -m http.server $PORT\nworker: exec sleep 600\n",
    )
    .unwrap();
    let instance = format!("test-f7-{}", std::process::id());
    let mut supervisor = std::process::Command::new(supervise())
        .args([
            directory.path(),
            state.path(),
            "best-effort".as_ref(),
            instance.as_ref(),
            "full".as_ref(),
            "inbound".as_ref(),
        ])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let records = || -> Vec<serde_json::Value> {
        let entries = fs::read_dir(state.path().join("dynos")).into_iter().flatten().flatten();
        let texts = entries.filter(|entry| entry.path().extension().is_some_and(|kind| kind == "json"));
        texts.filter_map(|entry| serde_json::from_slice(&fs::read(entry.path()).ok()?).ok()).collect()
    };
    let pid =
        |record: &serde_json::Value| record["leader"]["pid"].as_i64().map(|pid| i32::try_from(pid).unwrap());
    // A first process has others below it for a moment, while it sets up the dyno.
    let executed =
        |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name != "dyno-init\n");
    let commands = |pid: i32| below(pid).iter().filter(|pid| executed(pid)).count();
    let up = || records().iter().filter_map(pid).filter(|pid| commands(*pid) == 1).count() == 2;
    eventually("two dynos", up).await;
    let left = records();
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    let pids: Vec<i32> =
        left.iter().filter_map(pid).flat_map(|pid| [vec![pid], below(pid)].concat()).collect();
    assert!(pids.len() == 4 && pids.iter().all(|pid| runs(*pid)), "they outlive it: {pids:?}");

    let mut options = RuntimeOptions {
        instance,
        state_directory: Some(state.path().to_owned()),
        adopt: None,
        ..RuntimeOptions::default()
    };
    full(&mut options);
    options.sandbox.scratch = Some(state.path().join("scratch"));
    let next = Runtime::start(options, Memory::start(Bounds::default())).await.unwrap();
    assert_eq!((next.swept().dynos, next.swept().stuck), (2, 0));
    assert!(!pids.iter().any(|pid| runs(*pid)));
    for record in left {
        let quarters = &record["quarters"];
        let number = quarters["number"][0].as_u64().unwrap();
        assert!(!fs::exists(format!("/sys/class/net/busbar{number}")).unwrap());
        for left in [&quarters["number"][1], &quarters["scratch"]] {
            assert!(!fs::exists(left.as_str().unwrap()).unwrap(), "{left}");
        }
    }
    assert_eq!(fs::read_dir(state.path().join("dynos")).unwrap().count(), 0);
    next.shutdown().await;
}
