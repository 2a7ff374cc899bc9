//! What a process tree costs, by `/proc`.
//!
//! CPU time is that of all threads of all processes of the tree (`/proc/PID/task/*/schedstat`, nanoseconds). Threads that have
//! ended are in `/proc/PID/stat` only, in ticks of 10 ms: where that says clearly more, it is believed.

use std::{collections::HashMap, fs, time::Duration};

/// Ticks per second of `/proc/PID/stat`; the same on every Linux (`USER_HZ`).
const TICKS: u64 = 100;

/// What a process tree has used until now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// CPU time since each of its processes began.
    pub cpu: Duration,
    /// Resident memory; pages that several processes share are counted for each.
    pub rss_bytes: u64,
    /// How many processes there are.
    pub processes: usize,
}

/// The usage of process `root` and all its descendants; zero when there are none.
#[must_use]
pub fn tree(root: u32) -> Usage {
    let mut usage = Usage::default();
    for pid in pids(root) {
        if let Some(cpu) = cpu(pid) {
            usage.cpu += cpu;
            usage.rss_bytes += rss_bytes(pid).unwrap_or(0);
            usage.processes += 1;
        }
    }
    usage
}

/// Process `root` and all its descendants that are alive.
#[must_use]
pub fn pids(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok())
            && let Some(parent) = stat(pid).and_then(|stat| stat.parent)
        {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut at = 0;
    while let Some(pid) = found.get(at) {
        let more = children.remove(pid).unwrap_or_default(); // removed, so a cycle could not go on for ever
        found.extend(more);
        at += 1;
    }
    found
}

fn cpu(pid: u32) -> Option<Duration> {
    let ticks = stat(pid)?.ticks;
    let by_threads: u64 = fs::read_dir(format!("/proc/{pid}/task"))
        .ok()?
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .sum();
    let by_threads = Duration::from_nanos(by_threads);
    let by_ticks = Duration::from_millis(ticks * 1000 / TICKS);
    let ended = by_ticks.saturating_sub(by_threads);
    let is_clear = ended > Duration::from_millis(30) && ended > by_threads / 20;
    Some(if is_clear { by_ticks } else { by_threads })
}

struct Stat {
    parent: Option<u32>,
    ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?; // the name before it may contain anything
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let parent = number(1).and_then(|parent| u32::try_from(parent).ok());
    Some(Stat { parent, ticks: number(11)? + number(12)? })
}

fn rss_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// How busy a core was, and how much of that was taken by the host (steal), from `/proc/stat`.
#[derive(Debug, Clone, Copy)]
pub struct CoreClock {
    busy_ticks: u64,
    all_ticks: u64,
}

impl CoreClock {
    /// The core's clock now.
    #[must_use]
    pub fn read(core: usize) -> Option<Self> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let name = format!("cpu{core} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name))?;
        // user nice system idle iowait irq softirq steal; what follows is contained in user.
        let ticks: Vec<u64> =
            line.split_whitespace().take(8).filter_map(|field| field.parse().ok()).collect();
        let all_ticks: u64 = ticks.iter().sum();
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        Some(Self { busy_ticks: all_ticks - idle, all_ticks })
    }

    /// The time the core was busy since `before`, and the share of all time that is.
    #[must_use]
    pub fn busy_since(self, before: Self) -> (Duration, f64) {
        let busy = self.busy_ticks.saturating_sub(before.busy_ticks);
        let all = self.all_ticks.saturating_sub(before.all_ticks);
        (Duration::from_millis(busy * 1000 / TICKS), if all == 0 { 0.0 } else { busy as f64 / all as f64 })
    }
}
