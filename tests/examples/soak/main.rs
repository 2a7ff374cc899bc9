//! The long run: the real `busbar router` under three times the load that its dynos can carry, while dynos are killed and
//! registered again, routes are published and clients leave. Ends by itself, and fails unless
//!
//! - each request that was sent has exactly one line in the router's log, with the status and the code its client saw,
//! - every 5xx has an H-code,
//! - memory is flat and all file descriptors are given back.
//!
//! `cargo build --release -p router-bin && cargo run --release -p it --example soak -- target/release/busbar 10` (minutes). A table
//! goes to standard output, what fails to standard error.
//!
//! - [`clients`]: who sends and what they saw. [`dynos`]: processes that answer, and die. [`router`]: the program and its log.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test in all but its length"
)]

mod clients;
mod dynos;
mod router;

use std::{
    collections::BTreeMap,
    env,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use clients::Seen;
use dynos::Dynos;
use router::{Logged, Router, Sample};

/// How long everything may take to come to rest after the last request.
const REST: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
    match words.iter().map(AsRef::as_ref).collect::<Vec<&str>>()[..] {
        ["dyno"] => dynos::serve(),
        // For as long as our parent lives, another program.
        ["launch", program, ref rest @ ..] => {
            die_with_parent();
            let error = Command::new(program).args(rest).exec();
            eprintln!("soak: cannot start {program}: {error}");
            ExitCode::FAILURE
        }
        [busbar, minutes] => match minutes.parse::<f64>() {
            Ok(minutes) if minutes > 0.0 && minutes <= 60.0 => {
                run(PathBuf::from(busbar), Duration::from_secs_f64(minutes * 60.0))
            }
            _ => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("soak BUSBAR MINUTES: the path of the program, and how long, at most 60");
    ExitCode::from(2)
}

fn die_with_parent() {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .expect("Linux has it");
}

fn run(busbar: PathBuf, length: Duration) -> ExitCode {
    let router = Router::start(&busbar.canonicalize().expect("busbar is there"));
    let mut dynos = Dynos::start(&router);
    let before = router.sample();
    let clients = clients::start(router.address);
    let (began, mut samples, mut second) = (Instant::now(), Vec::new(), 0);
    while began.elapsed() < length {
        thread::sleep(Duration::from_secs(1));
        second += 1;
        router.publish(second);
        dynos.trouble(second, &router);
        samples.push(router.sample());
    }
    let seen = clients.stop();
    let until = Instant::now() + REST;
    while router.sample().files > before.files && Instant::now() < until {
        thread::sleep(Duration::from_millis(100));
    }
    let after = router.sample();
    let state = router.state();
    let killed = dynos.killed;
    drop(dynos);
    let errors = router.errors();
    let logged = router.stop();
    report(&seen, &logged, &samples, (before, after), length, killed, &state, &errors)
}

/// What one request came to, for the table.
fn row(seen: &Seen) -> String {
    match seen {
        Seen::Answer { status, code: Some(code), .. } => format!("{status} {code}"),
        Seen::Answer { status, code: None, .. } => format!("{status}"),
        Seen::Cut => "cut in mid-response".into(),
        Seen::Nothing => "closed without an answer".into(),
        Seen::Left => "left".into(),
    }
}

fn report(
    seen: &BTreeMap<String, Seen>,
    logged: &BTreeMap<String, Vec<Logged>>,
    samples: &[Sample],
    (before, after): (Sample, Sample),
    length: Duration,
    killed: u32,
    state: &serde_json::Value,
    errors: &[String],
) -> ExitCode {
    let mut rows: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (id, seen) in seen {
        let lines = logged.get(id).map(Vec::as_slice).unwrap_or_default();
        if !fits(seen, lines) {
            wrong.push(format!("{id}: {seen:?}, the log: {lines:?}"));
        }
        let line = lines.first().map_or_else(|| "no line".into(), Logged::to_string);
        *rows.entry((row(seen), line)).or_default() += 1;
    }
    let strangers = logged.keys().filter(|id| !seen.contains_key(*id)).count();
    let lines: usize = logged.values().map(Vec::len).sum();
    let counted = state["traffic"]["requests"].as_u64();
    let thirds = |of: fn(&Sample) -> u64| {
        let mut thirds = samples.chunks(samples.len().div_ceil(3)).map(|third| median(third, of));
        [(); 3].map(|()| thirds.next().unwrap_or_default())
    };
    let (memory, files) = (thirds(|sample| sample.rss_kib), thirds(|sample| sample.files));

    println!("| what | figure |\n|---|---|");
    println!("| length | {} s |\n| requests | {} |", length.as_secs(), seen.len());
    println!("| lines in the log, counted by the router | {lines}, {counted:?} |");
    println!("| dynos killed | {killed} |");
    println!(
        "| RSS at the start, median of each third, at the end | {} / {memory:?} / {} KiB |",
        before.rss_kib, after.rss_kib
    );
    println!("| open files, the same | {} / {files:?} / {} |", before.files, after.files);
    println!("\n| the client saw | the log says | requests |\n|---|---|---|");
    rows.iter().for_each(|((seen, line), count)| println!("| {seen} | {line} | {count} |"));

    let [_, second, last] = memory;
    let checks = [
        (errors.is_empty(), format!("the router says: {errors:#?}")),
        (
            wrong.is_empty(),
            format!("{} requests are not accounted for: {:#?}", wrong.len(), &wrong[..wrong.len().min(10)]),
        ),
        (strangers == 0, format!("{strangers} requests in the log that nobody sent")),
        (counted == Some(lines as u64), format!("the router counted {counted:?}, its log has {lines}")),
        (last * 10 <= second * 11, format!("memory grows: {memory:?} KiB")),
        (after.files <= before.files, format!("{} files before, {} after", before.files, after.files)),
    ];
    let failed: Vec<_> = checks.iter().filter(|(holds, _)| !holds).collect();
    failed.iter().for_each(|(_, complaint)| eprintln!("soak: {complaint}"));
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether the log says of a request what its client saw: once.
fn fits(seen: &Seen, lines: &[Logged]) -> bool {
    let [line] = lines else { return false };
    match seen {
        Seen::Answer { status, code, .. } => {
            let has_code = *status < 500 || code.is_some();
            has_code && line.status == *status && line.code == *code
        }
        Seen::Cut => line.code.is_some(),
        Seen::Left => true,
        Seen::Nothing => false,
    }
}

fn median(samples: &[Sample], of: fn(&Sample) -> u64) -> u64 {
    let mut values: Vec<_> = samples.iter().map(of).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
