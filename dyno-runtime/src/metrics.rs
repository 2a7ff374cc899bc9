//! What is measured of a dyno while it runs, and what is said about that: R14, R15, and the lines of Heroku's
//! log-runtime-metrics. Pure: time and readings are arguments.
//!
//! - [`Meter`]: one dyno's; [`Meter::on`] takes a [`Reading`] and gives [`Finding`]s. [`Meter::wants`] says what to read.
//! - [`LoadAverage`]: how many of its tasks want a CPU, averaged as Heroku does.

use std::time::Duration;

use crate::{cgroup::MemoryStat, life::Memory};

/// A reading is taken this many times per report.
const READINGS: u32 = 4;

/// What one dyno is measured by.
#[derive(Debug, Clone, PartialEq)]
pub struct Meter {
    quota: Option<u64>,
    /// `source=web.1 dyno=heroku.shop.…`, when its metrics are logged.
    label: Option<String>,
    every: Duration,
    reading: u32,
    oom_kills: u64,
    load: LoadAverage,
}

/// What is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wants {
    /// [`Reading::oom_kills`]
    pub oom_kills: bool,
    /// [`Reading::runnable`]
    pub runnable: bool,
    /// [`Reading::memory`]
    pub memory: bool,
}

/// What was read; `None` and 0 where it was not wanted or cannot be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reading {
    /// How many processes the kernel has killed for want of memory, since the dyno's start.
    pub oom_kills: u64,
    /// How many tasks run or wait for a CPU.
    pub runnable: Option<u32>,
    /// Memory.
    pub memory: Option<MemoryStat>,
}

/// What a reading means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The kernel has killed a process (R15).
    OutOfMemory,
    /// It uses more than its quota (R14).
    OverQuota(Memory),
    /// A line of log-runtime-metrics.
    Line(String),
}

impl Meter {
    /// Of a dyno with this memory quota. `every`: from one report to the next. `label`: what its lines begin with, if
    /// there are to be any.
    pub fn new(quota: Option<u64>, every: Duration, label: Option<String>) -> Self {
        Self { quota, label, every, reading: 0, oom_kills: 0, load: LoadAverage::default() }
    }

    /// How long to wait between readings; `None`: there is nothing to read.
    pub fn period(&self) -> Option<Duration> {
        (self.quota.is_some() || self.label.is_some()).then(|| self.every / READINGS)
    }

    /// What the next reading needs.
    pub fn wants(&self) -> Wants {
        let reports = (self.reading + 1).is_multiple_of(READINGS);
        Wants { oom_kills: self.quota.is_some(), runnable: self.label.is_some(), memory: reports }
    }

    /// It has another quota.
    pub fn set_quota(&mut self, quota: Option<u64>) {
        self.quota = quota;
    }

    /// Whether this count of killed processes is news.
    pub fn out_of_memory(&mut self, oom_kills: u64) -> bool {
        let is_news = oom_kills > self.oom_kills;
        self.oom_kills = self.oom_kills.max(oom_kills);
        is_news
    }

    /// Memory in use in relation to the quota; without one, in relation to itself.
    pub fn memory(&self, used: u64) -> Memory {
        Memory { used, quota: self.quota.unwrap_or(used) }
    }

    /// What a reading means that was taken at `now`, since any fixed moment.
    pub fn on(&mut self, now: Duration, reading: &Reading) -> Vec<Finding> {
        let mut findings = vec![];
        if self.out_of_memory(reading.oom_kills) {
            findings.push(Finding::OutOfMemory);
        }
        if let Some(runnable) = reading.runnable {
            self.load.sample(now, runnable);
        }
        let reports = self.wants().memory;
        self.reading += 1;
        if !reports {
            return findings;
        }
        findings.extend(self.lines(reading.memory.as_ref()).into_iter().map(Finding::Line));
        let used = reading.memory.map(|memory| memory.used());
        if let (Some(used), Some(quota)) = (used, self.quota)
            && used > quota
        {
            findings.push(Finding::OverQuota(Memory { used, quota }));
        }
        findings
    }

    fn lines(&self, memory: Option<&MemoryStat>) -> Vec<String> {
        let Some(label) = &self.label else { return vec![] };
        let load = self.load.line().map(|load| format!("{label} {load}"));
        let memory = memory.map(|memory| format!("{label} {}", memory_line(memory, self.quota)));
        load.into_iter().chain(memory).collect()
    }
}

/// `sample#memory_total=21.00MB … sample#memory_quota=512.00MB`
fn memory_line(memory: &MemoryStat, quota: Option<u64>) -> String {
    let mb =
        |name: &str, bytes: u64| format!("sample#memory_{name}={:.2}MB", bytes as f64 / f64::from(1 << 20));
    let pages = |name: &str, pages: u64| format!("sample#memory_{name}={pages}pages");
    let MemoryStat { rss, cache, swap, pages_in, pages_out, .. } = *memory;
    let mut parts = vec![
        mb("total", memory.total()),
        mb("rss", rss),
        mb("cache", cache),
        mb("swap", swap),
        pages("pgpgin", pages_in),
        pages("pgpgout", pages_out),
    ];
    parts.extend(quota.map(|quota| mb("quota", quota)));
    parts.join(" ")
}

/// How many tasks run or wait for a CPU, each average over its own time: `new = (1 - e) n + e old`, `e = exp(-dt / time)`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LoadAverage {
    averages: [f64; 3],
    began: Option<Duration>,
    last: Duration,
}

const MINUTES: [u32; 3] = [1, 5, 15];

impl LoadAverage {
    /// Counts `runnable` tasks for the time since the last sample.
    pub fn sample(&mut self, now: Duration, runnable: u32) {
        let since = now.saturating_sub(if self.began.is_some() { self.last } else { now });
        for (average, minutes) in self.averages.iter_mut().zip(MINUTES) {
            let e = (-since.as_secs_f64() / (60.0 * f64::from(minutes))).exp();
            *average = (1.0 - e) * f64::from(runnable) + e * *average;
        }
        self.began.get_or_insert(now);
        self.last = now;
    }

    /// `sample#load_avg_1m=2.46 sample#load_avg_5m=1.06 …`; as on Heroku none before there is an average to speak of.
    fn line(&self) -> Option<String> {
        let began = self.began?;
        let all = self.averages.iter().zip(MINUTES);
        let parts: Vec<String> = all.map(|(load, m)| format!("sample#load_avg_{m}m={load:.2}")).collect();
        (self.last > began).then(|| parts.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVERY: Duration = Duration::from_secs(20);
    const MIB: u64 = 1 << 20;

    fn meter(quota: Option<u64>, label: Option<&str>) -> Meter {
        Meter::new(quota, EVERY, label.map(str::to_owned))
    }

    /// Readings every five seconds, and what came of them.
    fn run(meter: &mut Meter, readings: &[Reading]) -> Vec<Finding> {
        let at = |n: usize| Duration::from_secs(5 * (n as u64 + 1));
        readings.iter().enumerate().flat_map(|(n, reading)| meter.on(at(n), reading)).collect()
    }

    #[test]
    fn above_the_quota_r14_is_said_every_20_seconds() {
        let memory = |rss| Some(MemoryStat { rss, cache: 999 * MIB, ..MemoryStat::default() });
        let over = Reading { memory: memory(590 * MIB), ..Reading::default() };
        let mut meter = meter(Some(512 * MIB), None);
        assert_eq!(meter.period(), Some(Duration::from_secs(5)));
        let found = run(&mut meter, &[over; 12]);
        let one = Finding::OverQuota(Memory { used: 590 * MIB, quota: 512 * MIB });
        assert_eq!(found, [one.clone(), one.clone(), one], "a minute");
        let under = Reading { memory: memory(512 * MIB), ..Reading::default() };
        assert_eq!(run(&mut meter, &[under; 8]), [], "page cache does not count");
    }

    #[test]
    fn each_killed_process_is_found_once() {
        let kills = |oom_kills| Reading { oom_kills, ..Reading::default() };
        let mut meter = meter(Some(MIB), None);
        let found = run(&mut meter, &[kills(0), kills(1), kills(1), kills(3), kills(3)]);
        assert_eq!(found, [Finding::OutOfMemory, Finding::OutOfMemory]);
        assert!(!meter.out_of_memory(3) && meter.out_of_memory(4));
    }

    #[test]
    fn the_lines_are_those_of_log_runtime_metrics() {
        let reading = Reading {
            runnable: Some(2),
            memory: Some(MemoryStat {
                rss: 22_250_782,
                cache: 0,
                swap: 0,
                shared: 0,
                pages_in: 348_836,
                pages_out: 343_403,
            }),
            oom_kills: 0,
        };
        let label = "source=web.1 dyno=heroku.2808254.d97d0ea7-cf3d-411b-b453-d2943a50b456";
        let mut meter = meter(Some(512 * MIB), Some(label));
        let lines = run(&mut meter, &[reading; 4]);
        let load = "sample#load_avg_1m=0.44 sample#load_avg_5m=0.10 sample#load_avg_15m=0.03";
        let memory = "sample#memory_total=21.22MB sample#memory_rss=21.22MB sample#memory_cache=0.00MB \
                      sample#memory_swap=0.00MB sample#memory_pgpgin=348836pages \
                      sample#memory_pgpgout=343403pages sample#memory_quota=512.00MB";
        let line = |rest: &str| Finding::Line(format!("{label} {rest}"));
        assert_eq!(lines, [line(load), line(memory)]);
    }

    #[test]
    fn without_a_quota_and_without_lines_nothing_is_read() {
        assert_eq!(meter(None, None).period(), None);
        let wants = meter(None, Some("x")).wants();
        assert_eq!((wants.oom_kills, wants.runnable, wants.memory), (false, true, false));
    }

    proptest! {
        #[test]
        fn an_average_is_between_the_least_and_the_most(samples in prop::collection::vec((1u64..600, 0u32..50), 1..50)) {
            let mut load = LoadAverage::default();
            let (mut now, mut most) = (Duration::ZERO, 0);
            for (later, runnable) in samples {
                now += Duration::from_secs(later);
                most = most.max(runnable);
                load.sample(now, runnable);
                prop_assert!(load.averages.iter().all(|average| (0.0..=f64::from(most)).contains(average)));
            }
        }
    }
}
