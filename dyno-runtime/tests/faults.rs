//! Faults that real dynos commit, by their number in the list of faults; those of the sandbox, of limits and of lives have
//! files of their own.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test says what it needs by failing, and why it was skipped by printing"
)]

use std::{fs, process::Command, time::Duration};

use dyno_runtime::{Enforcement, Limits, RestartPolicy, Times, logs};
use support::{House, LONG, cgroups_work, eventually, runs, supervise};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

#[path = "support/house.rs"]
mod support;

const WEB: &str = "exec python3 -u -m http.server $PORT";

fn slow() -> RestartPolicy {
    RestartPolicy { base: LONG, ..RestartPolicy::default() }
}

#[tokio::test]
async fn f1_a_fork_bomb_is_held_its_neighbour_answers_and_the_stop_leaves_nothing() {
    if !cgroups_work() {
        return;
    }
    let house = House::open(|options| options.cgroups = Enforcement::Required).await;
    let bomb = "worker: bomb() { bomb 2>/dev/null | bomb 2>/dev/null & }; bomb; exec sleep 600";
    let mut log = house
        .run(&format!("{bomb}\nweb: {WEB}"), |app| {
            app.limits = Limits { pids: Some(64), ..Limits::default() };
            app.times = Times { exit: Duration::from_millis(300), ..Times::default() };
        })
        .await;
    log.until("web.1]: State changed from starting to up").await;
    let groups = || {
        let found = Command::new("find")
            .args(["/sys/fs/cgroup/pids", "-path", "*shop.worker.1*", "-name", "pids.events"])
            .output();
        String::from_utf8(found.unwrap().stdout).unwrap()
    };
    let held = |file: &str| {
        fs::read_to_string(file).unwrap_or_default().contains("max ")
            && !fs::read_to_string(file).unwrap_or_default().contains("max 0")
    };
    if fs::exists("/sys/fs/cgroup/pids").unwrap() {
        eventually("the bomb is held", || groups().lines().any(held)).await;
    }
    let address = house.runtime.ps(&house.app).await.unwrap().iter().find_map(|dyno| dyno.address).unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut client, b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    house.close().await;
}

#[tokio::test]
async fn f20_a_flood_costs_bounded_memory_is_counted_and_delays_no_other_dyno() {
    let house = House::open(|_| {}).await;
    let flood = "flood: yes 0123456789012345678901234567890123456789 | head -c 40000000; head -c 5000000 /dev/zero; printf '\\n\\xff\\xfe\\n'";
    let other = "other: n=0; while [ ! -e over ]; do n=$((n+1)); echo line $n; sleep 0.01; done; echo last $n; exec sleep 600";
    let mut log = house.run(&format!("{flood}\n{other}"), |app| app.restart = slow()).await;
    log.until("flood.1]: Process exited").await;
    let during = log.with("app[other.1]: line ").len();
    fs::write(house.directory.path().join("over"), "").unwrap();
    log.until("app[other.1]: last ").await;
    let dropped: u64 = log
        .with("flood.1]: Error L10 (output buffer overflow): ")
        .iter()
        .filter_map(|line| line.split("overflow): ").nth(1)?.split(' ').next()?.parse::<u64>().ok())
        .sum();
    assert!(dropped > 100_000, "{dropped} of some million lines");
    assert!(during > 0, "the other one was heard while the flood went on");
    let lines: Vec<u32> = log
        .with("app[other.1]: line ")
        .iter()
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect();
    assert!(lines.windows(2).all(|pair| pair[0] + 1 == pair[1]), "none of its lines is missing");
    let (history, _) = house.runtime.logs(&house.app, usize::MAX).unwrap();
    let bytes: usize = history.iter().map(|line| line.text.len()).sum();
    assert!(history.len() <= logs::HISTORY && bytes <= logs::HISTORY * logs::MAX_LINE);
    house.close().await;
}

#[tokio::test]
async fn f21_while_nobody_reads_the_log_the_app_goes_on() {
    let house = House::open(|_| {}).await;
    let (_, stalled) = {
        let mut log = house.run("worker: seq 1 300000; echo ready > done; exec sleep 600", |_| {}).await;
        log.until("to up").await;
        house.runtime.logs(&house.app, 0).unwrap()
    };
    eventually("all is written", || house.directory.path().join("done").exists()).await;
    drop(stalled);
    house.close().await;
}

#[tokio::test]
async fn f40_nothing_of_this_needs_cap_sys_resource() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: only root has this right to give up");
    }
    let (app, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(
        app.path().join("Procfile"),
        "worker: grep CapBnd /proc/self/status; echo $$ > pid; exec sleep 600\n",
    )
    .unwrap();
    let instance = format!("test-f40-{}", std::process::id());
    let mut supervisor = Command::new("setpriv")
        .args(["--bounding-set", "-sys_resource"])
        .arg(supervise())
        .args([app.path(), state.path()])
        .args(["best-effort", &instance])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pid = support::pid_in(&app.path().join("pid")).await;
    let own = rustix::process::Pid::from_child(&supervisor);
    rustix::process::kill_process(own, rustix::process::Signal::TERM).unwrap();
    let said = supervisor.wait_with_output_bounded();
    assert!(said.contains("Process exited with status 143"), "{said}");
    let bounding = said.lines().find_map(|line| line.split("CapBnd:").nth(1)).unwrap();
    let bounding = u64::from_str_radix(bounding.trim(), 16).unwrap();
    assert_eq!(bounding & 1 << 24, 0, "it ran without the right");
    assert!(!cgroups_work() || !said.contains("WITHOUT"), "{said}");
    assert!(!runs(pid));
}

trait Bounded {
    fn wait_with_output_bounded(&mut self) -> String;
}

impl Bounded for std::process::Child {
    fn wait_with_output_bounded(&mut self) -> String {
        use std::io::Read as _;
        let mut said = String::new();
        self.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        self.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        self.wait().unwrap();
        said
    }
}

#[tokio::test]
async fn f41_a_port_bound_by_a_child_counts_and_one_of_another_address_does_not() {
    let house = House::open(|_| {}).await;
    let child = format!("web: ({WEB}) & wait");
    let mut log = house.run(&child, |_| {}).await;
    log.until("State changed from starting to up").await;
    house.close().await;

    let house = House::open(|_| {}).await;
    let elsewhere = "web: exec python3 -u -m http.server $PORT --bind 127.0.0.9";
    let mut log = house
        .run(elsewhere, |app| {
            app.restart = slow();
            app.times.boot = Duration::from_millis(800);
        })
        .await;
    log.until("Error R10 (Boot timeout)").await;
    assert_eq!(log.with("to up"), Vec::<&str>::new());
    house.close().await;
}

#[tokio::test]
async fn f41_a_port_that_was_bound_and_is_closed_again_is_no_port() {
    let house = House::open(|_| {}).await;
    let procfile = "web: python3 -c 'import os, socket; s = socket.socket(); s.bind((\"127.0.0.1\", int(os.environ[\"PORT\"]))); s.close()'; exec sleep 600";
    let mut log = house
        .run(procfile, |app| {
            app.restart = slow();
            app.times.boot = Duration::from_millis(800);
        })
        .await;
    log.until("Error R10 (Boot timeout)").await;
    house.close().await;
}
