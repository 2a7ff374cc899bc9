//! What control groups say about a dyno: memory, CPU time, pressure. Pure but for [`runnable`].

use std::{fs, path::Path, time::Duration};

use rustix::process::Pid;
use serde::Serialize;

use super::files::read;

/// The memory of a dyno, in bytes, and pages in and out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct MemoryStat {
    /// Its own: heap, stack, and what else no file stands behind.
    pub rss: u64,
    /// Page cache, with what it has in `/dev/shm` and other file systems in memory.
    pub cache: u64,
    /// The part of `cache` that is in file systems in memory: it cannot be given back.
    pub shared: u64,
    /// Swapped out.
    pub swap: u64,
    /// Pages that came in since its start. 0 where the kernel does not count them (version 2 before Linux 6.12).
    pub pages_in: u64,
    /// Pages that went out.
    pub pages_out: u64,
}

impl MemoryStat {
    /// What counts against the quota: all that cannot be given back. Page cache can.
    pub fn used(&self) -> u64 {
        self.rss.saturating_add(self.shared).saturating_add(self.swap)
    }

    /// Heroku's `memory_total`.
    pub fn total(&self) -> u64 {
        self.rss.saturating_add(self.cache).saturating_add(self.swap)
    }
}

/// For how much of the last ten seconds something was waited for, in hundredths of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Pressure {
    /// Some of its tasks waited.
    pub some: u32,
    /// All of them did.
    pub full: u32,
}

/// What a dyno has waited for: Linux's pressure stall information. `None` where the kernel does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Pressures {
    /// CPU time.
    pub cpu: Option<Pressure>,
    /// Memory.
    pub memory: Option<Pressure>,
    /// Disks.
    pub io: Option<Pressure>,
}

impl Pressures {
    /// Of the group with this directory.
    pub(super) fn of(group: &Path) -> Self {
        let one = |file: &str| pressure(&read(&group.join(file)).ok()?);
        Self { cpu: one("cpu.pressure"), memory: one("memory.pressure"), io: one("io.pressure") }
    }
}

/// `some avg10=0.00 avg60=…` and `full …`
fn pressure(text: &str) -> Option<Pressure> {
    let of = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(" avg10="))?;
        let (whole, part) = line.split_whitespace().next()?.split_once('.')?;
        Some(whole.parse::<u32>().ok()? * 100 + part.get(..2)?.parse::<u32>().ok()?)
    };
    Some(Pressure { some: of("some")?, full: of("full").unwrap_or(0) })
}

/// The number after `key` in text of `key number` lines; 0 when it is not there.
pub(super) fn value(text: &str, key: &str) -> u64 {
    let at_key = |line: &str| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(at_key).unwrap_or(0)
}

/// The same of a file; 0 when it cannot be read.
pub(super) fn counter(path: &Path, key: &str) -> u64 {
    read(path).map_or(0, |text| value(&text, key))
}

/// CPU time used by the group with this directory, which need have no controller for that.
pub(super) fn cpu_time(group: &Path) -> Option<Duration> {
    let text = read(&group.join("cpu.stat")).ok()?;
    Some(Duration::from_micros(value(&text, "usage_usec")))
}

/// How many of these threads run or wait for a CPU.
pub(super) fn runnable(threads: &[Pid]) -> u32 {
    let is_runnable = |thread: &&Pid| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", thread.as_raw_nonzero())).unwrap_or_default();
        // The name before it is in parentheses and may contain anything.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('R'))
    };
    u32::try_from(threads.iter().filter(is_runnable).count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_read_in_hundredths_of_a_percent() {
        let text = "some avg10=12.34 avg60=0.00 avg300=0.00 total=5\nfull avg10=1.05 avg60=0.00 avg300=0.00 total=1\n";
        assert_eq!(pressure(text), Some(Pressure { some: 1234, full: 105 }));
        assert_eq!(pressure("some avg10=0.00 avg60=0.00\n"), Some(Pressure::default()));
        assert_eq!([pressure(""), pressure("some avg10=x")], [None, None]);
    }

    #[test]
    fn a_key_is_not_the_beginning_of_another() {
        let text = "oom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(["oom", "oom_kill", "no"].map(|key| value(text, key)), [3, 2, 0]);
    }

    #[test]
    fn page_cache_does_not_count_against_the_quota_but_files_in_memory_do() {
        let stat = MemoryStat { rss: 10, cache: 100, shared: 5, swap: 1, ..MemoryStat::default() };
        assert_eq!((stat.used(), stat.total()), (16, 111));
    }
}
