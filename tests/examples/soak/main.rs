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
    path::Path,
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
                run(Path::new(busbar), Duration::from_secs_f64(minutes * 60.0))
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

/// Everything that a run has shown.
struct Run {
    length: Duration,
    seen: BTreeMap<String, Seen>,
    logged: BTreeMap<String, Vec<Logged>>,
    /// One per second.
    samples: Vec<Sample>,
    before: Sample,
    after: Sample,
    killed: u32,
    /// How many requests the router has counted.
    counted: Option<u64>,
    /// What it complained about.
    errors: Vec<String>,
}

fn run(busbar: &Path, length: Duration) -> ExitCode {
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
    let counted = router.state().pointer("/traffic/requests").and_then(serde_json::Value::as_u64);
    let (errors, killed) = (router.errors(), dynos.killed);
    drop(dynos);
    let logged = router.stop();
    Run { length, seen, logged, samples, before, after, killed, counted, errors }.report()
}

impl Run {
    /// Prints the table and what does not hold.
    fn report(&self) -> ExitCode {
        let (memory, files) = (self.thirds(|sample| sample.rss_kib), self.thirds(|sample| sample.files));
        let Self { before, after, counted, .. } = self;
        println!("| what | figure |\n|---|---|");
        println!("| length | {} s |\n| requests | {} |", self.length.as_secs(), self.seen.len());
        println!("| lines in the log, counted by the router | {}, {counted:?} |", self.lines());
        println!("| dynos killed | {} |", self.killed);
        println!(
            "| RSS at the start, median of each third, at the end | {} / {memory:?} / {} KiB |",
            before.rss_kib, after.rss_kib
        );
        println!("| open files, the same | {} / {files:?} / {} |", before.files, after.files);
        println!("\n| the client saw | the log says | requests |\n|---|---|---|");
        self.rows().iter().for_each(|((seen, line), count)| println!("| {seen} | {line} | {count} |"));

        let complaints = self.complaints(memory);
        complaints.iter().for_each(|complaint| eprintln!("soak: {complaint}"));
        if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// How often what was seen and what was logged of one request.
    fn rows(&self) -> BTreeMap<(String, String), u64> {
        let mut rows = BTreeMap::new();
        for (id, seen) in &self.seen {
            let line = self.logged_of(id).first().map_or_else(|| "no line".into(), Logged::to_string);
            *rows.entry((row(seen), line)).or_default() += 1;
        }
        rows
    }

    fn complaints(&self, [_, second, last]: [u64; 3]) -> Vec<String> {
        let unaccounted =
            self.seen.iter().filter(|(id, seen)| !fits(seen, self.logged_of(id))).map(|(id, seen)| {
                format!("{id} is not accounted for: {seen:?}, the log: {:?}", self.logged_of(id))
            });
        let mut complaints: Vec<_> = unaccounted.take(10).collect();
        complaints.extend(self.errors.iter().map(|error| format!("the router says: {error}")));
        let mut check = |holds: bool, complaint: String| {
            if !holds {
                complaints.push(complaint);
            }
        };
        let strangers = self.logged.keys().filter(|id| !self.seen.contains_key(*id)).count();
        let (lines, before, after) = (self.lines(), self.before.files, self.after.files);
        check(strangers == 0, format!("{strangers} requests in the log that nobody sent"));
        check(
            self.counted == Some(lines),
            format!("the router counted {:?}, its log has {lines}", self.counted),
        );
        check(last * 10 <= second * 11, format!("memory grows: {second} KiB, then {last} KiB"));
        check(after <= before, format!("{before} files before, {after} after"));
        complaints
    }

    fn logged_of(&self, id: &str) -> &[Logged] {
        self.logged.get(id).map(Vec::as_slice).unwrap_or_default()
    }

    fn lines(&self) -> u64 {
        self.logged.values().map(|lines| lines.len() as u64).sum()
    }

    /// The medians of the first, second and last third of the run.
    fn thirds(&self, of: fn(&Sample) -> u64) -> [u64; 3] {
        let mut thirds =
            self.samples.chunks(self.samples.len().div_ceil(3).max(1)).map(|third| median(third, of));
        [(); 3].map(|()| thirds.next().unwrap_or_default())
    }
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
