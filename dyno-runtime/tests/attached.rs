//! One-off dynos that somebody is attached to: by pipes, or by a terminal of their own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says what it needs by failing, and why it was skipped by printing"
)]

use std::{fs, time::Duration};

use dyno_runtime::{Exit, Isolation, Network, OneOff, Started, Stdio, Streams, Terminal, Times, WindowSize};
use support::{House, LONG, Log, eventually};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::unix::pipe,
};

#[path = "support/house.rs"]
mod support;

const SIZE: WindowSize = WindowSize { rows: 31, columns: 97 };

/// A house for each level that can be had here.
async fn houses() -> Vec<(House, Log)> {
    let full = rustix::process::geteuid().is_root();
    if !full {
        eprintln!("skipped: only root has full isolation");
    }
    let levels = [Some(Isolation::Plain), full.then_some(Isolation::Full)];
    let mut houses = vec![];
    for level in levels.into_iter().flatten() {
        let house = House::open(|options| {
            options.isolation = level;
            options.sandbox.network = Network::Inbound;
        })
        .await;
        let soon = Times { attach: LONG, ..Times::default() };
        let log = house.run("worker: exec sleep 600", |app| app.times = soon).await;
        houses.push((house, log));
    }
    houses
}

async fn started(house: &House, command: &str, stdio: Stdio) -> Started {
    let order = OneOff { command: command.to_owned(), stdio, ..OneOff::default() };
    house.runtime.run(&house.app, order).await.unwrap()
}

async fn on_terminal(house: &House, command: &str) -> (Terminal, Started) {
    let mut started = started(house, command, Stdio::Terminal(SIZE)).await;
    match started.attach.take().unwrap().attach().await.expect("it is launched") {
        Streams::Terminal(terminal) => (terminal, started),
        Streams::Pipes { .. } => panic!("a terminal was asked for"),
    }
}

async fn on_pipes(house: &House, command: &str) -> (pipe::Sender, [pipe::Receiver; 2], Started) {
    let mut started = started(house, command, Stdio::Pipes).await;
    match started.attach.take().unwrap().attach().await.expect("it is launched") {
        Streams::Pipes { stdin: Some(stdin), stdout, stderr } => (stdin, [stdout, stderr], started),
        _ => panic!("pipes were asked for"),
    }
}

/// Reads what is shown until that contains `text`, or, without one, to the end.
async fn shown(terminal: &Terminal, text: Option<&str>) -> String {
    let (mut seen, mut buffer) = (vec![], [0; 4096]);
    let read = async {
        loop {
            let count = terminal.read(&mut buffer).await.unwrap();
            seen.extend_from_slice(buffer.get(..count).unwrap());
            let so_far = String::from_utf8_lossy(&seen);
            if count == 0 || text.is_some_and(|text| so_far.contains(text)) {
                return so_far.into_owned();
            }
        }
    };
    tokio::time::timeout(LONG, read).await.unwrap_or_else(|_| panic!("{text:?} is not shown"))
}

async fn exit(started: Started) -> Option<Exit> {
    tokio::time::timeout(LONG, started.ended).await.expect("it ends").unwrap()
}

#[tokio::test]
async fn through_pipes_all_bytes_pass_both_ways_and_none_of_them_are_in_the_log() {
    for (house, mut log) in houses().await {
        let (mut stdin, [mut stdout, mut stderr], started) =
            on_pipes(&house, "test ! -t 0 && cat; echo done >&2; exit 3").await;
        let bytes: Vec<u8> = (0..8 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let (mut came, mut said) = (vec![], String::new());
        let write = async {
            stdin.write_all(&bytes).await.unwrap();
            drop(stdin);
        };
        let (_, read, also) =
            tokio::join!(write, stdout.read_to_end(&mut came), stderr.read_to_string(&mut said));
        assert_eq!((read.unwrap(), also.unwrap(), said.as_str()), (bytes.len(), 5, "done\n"));
        assert!(came == bytes, "the bytes are others");
        let name = started.dyno.clone();
        assert_eq!(exit(started).await, Some(Exit::Code(3)));
        log.until(&format!("{name}]: State changed from up to complete")).await;
        assert_eq!(log.with(&format!("app[{name}]")), Vec::<&str>::new());
        assert_eq!(log.with("Awaiting client").len(), 1, "{:#?}", log.seen);
        house.close().await;
    }
}

#[tokio::test]
async fn a_command_that_closes_its_standard_input_is_told_apart_from_one_that_does_not_read() {
    for (house, _) in houses().await {
        let (mut stdin, [mut stdout, _stderr], started) =
            on_pipes(&house, "exec 0<&-; echo closed; exec sleep 600").await;
        let mut said = [0; 7];
        stdout.read_exact(&mut said).await.unwrap();
        let refused = stdin.write_all(&[0; 1 << 20]).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::BrokenPipe);
        house.runtime.stop_one_off(&house.app, started.dyno.clone(), true).await.unwrap();
        assert_eq!(exit(started).await, Some(Exit::Signal(1)));
        house.close().await;
    }
}

#[tokio::test]
async fn a_terminal_is_the_dynos_own_and_programs_find_it() {
    for (house, _) in houses().await {
        let asks = "tty; stty size; test -t 0 && test -t 1 && test -t 2 && echo three; echo by-name > $(tty); \
                    echo by-device > /dev/tty; ls -l /proc/self/fd | grep -c ptmx; stty -a | grep -o ' iutf8'; exit 4";
        let (terminal, started) = on_terminal(&house, asks).await;
        let seen = shown(&terminal, None).await;
        let lines: Vec<&str> = seen.lines().map(str::trim).collect();
        assert!(lines.first().is_some_and(|line| line.starts_with("/dev/pts/")), "{seen}");
        assert_eq!(
            lines.get(1..),
            Some(&["31 97", "three", "by-name", "by-device", "0", "iutf8"][..]),
            "{seen}"
        );
        assert_eq!(exit(started).await, Some(Exit::Code(4)));
        house.close().await;
    }
}

#[tokio::test]
async fn what_is_typed_interrupts_and_suspends_and_a_new_size_is_told() {
    for (house, _) in houses().await {
        let (terminal, started) = on_terminal(&house, "PS1='> ' exec bash --norc --noprofile -i").await;
        let type_in = async |text: &str| {
            assert_eq!(terminal.write(text.as_bytes()).await.unwrap(), text.len());
        };
        // Nobody else's on this machine.
        let sleep = format!("sleep 1{}", std::process::id());
        shown(&terminal, Some("> ")).await;
        type_in(&format!("{sleep}\n")).await;
        shown(&terminal, Some(&sleep)).await;
        eventually("it sleeps", || runs(&sleep)).await;
        type_in("\x1a").await;
        shown(&terminal, Some("Stopped")).await;
        type_in("jobs\n").await;
        shown(&terminal, Some("[1]+  Stopped")).await;
        type_in("fg\n").await;
        shown(&terminal, Some(&format!("{sleep}\r\n"))).await;
        eventually("it sleeps again", || states(&sleep) == "S").await;
        type_in("\x03").await;
        shown(&terminal, Some("^C")).await;
        eventually("it sleeps no more", || !runs(&sleep)).await;
        terminal.resize(WindowSize { rows: 11, columns: 22 }).unwrap();
        type_in("stty size\n").await;
        shown(&terminal, Some("11 22")).await;
        type_in("exit\n").await;
        shown(&terminal, None).await;
        assert_eq!(exit(started).await, Some(Exit::Code(0)));
        house.close().await;
    }
}

/// The states of the processes that have these arguments.
fn states(arguments: &str) -> String {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let state = |entry: fs::DirEntry| {
        let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
        let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        let stat = String::from_utf8_lossy(&read("stat")).into_owned();
        (line.trim_end() == arguments).then(|| stat.rsplit_once(") ")?.1.chars().next()).flatten()
    };
    all.filter_map(state).collect()
}

/// Whether a process has these arguments.
fn runs(arguments: &str) -> bool {
    !states(arguments).is_empty()
}

#[tokio::test]
async fn a_terminal_that_nobody_holds_any_more_hangs_the_dyno_up() {
    for (house, _) in houses().await {
        let (terminal, started) =
            on_terminal(&house, "trap 'exit 5' HUP; echo ready; while :; do sleep 600 & wait; done").await;
        shown(&terminal, Some("ready")).await;
        drop(terminal);
        assert_eq!(exit(started).await, Some(Exit::Code(5)));
        house.close().await;
    }
}

#[tokio::test]
async fn who_does_not_attach_in_time_or_goes_away_before_is_r13_and_nothing_is_launched() {
    let house = House::open(|_| {}).await;
    let soon = Times { attach: Duration::from_millis(20), ..Times::default() };
    let mut log = house.run("worker: exec sleep 600", |app| app.times = soon).await;
    let mut late = started(&house, "touch launched", Stdio::Pipes).await;
    let attach = late.attach.take().unwrap();
    let name = late.dyno.clone();
    assert_eq!(exit(late).await, None);
    assert!(attach.attach().await.is_none());
    log.until(&format!("{name}]: State changed from starting to complete")).await;
    assert_eq!(
        log.with(&name.to_string()),
        [
            format!("heroku[{name}]: Awaiting client"),
            format!("heroku[{name}]: Error R13 (Attach error) -> Failed to attach to process"),
            format!("heroku[{name}]: State changed from starting to complete"),
        ]
    );
    drop(started(&house, "touch launched", Stdio::Terminal(SIZE)).await);
    log.until_nth(2, "R13").await;
    assert!(!house.directory.path().join("launched").exists());
    house.close().await;
}

#[tokio::test]
async fn an_app_that_stops_does_not_wait_for_whoever_wanted_to_attach() {
    let house = House::open(|_| {}).await;
    let slow = Times { attach: LONG * 100, ..Times::default() };
    let mut log = house.run("worker: exec sleep 600", |app| app.times = slow).await;
    let waiting = started(&house, "touch launched", Stdio::Pipes).await;
    log.until("Awaiting client").await;
    tokio::time::timeout(LONG, house.runtime.shutdown()).await.expect("it stops");
    assert_eq!(exit(waiting).await, None);
    log.now();
    assert_eq!(log.with("R13"), Vec::<&str>::new());
    house.close().await;
}
