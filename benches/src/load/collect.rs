//! Starts the threads, adds up what they report, and ends a run that has become pointless.

use std::{
    sync::{
        Arc,
        atomic::AtomicU64,
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::oneshot;

use super::{
    LoadError, Plan, Progress, Stop, Watcher,
    plan::Pace,
    tally::Tally,
    thread::{Orders, Report, run as run_thread},
};
use crate::results::{Ended, Interval, RunResult};

/// Reports that may wait to be added up.
const REPORTS: usize = 64;
/// How often it is looked whether to stop.
const LOOK: Duration = Duration::from_millis(20);
/// Head start of the threads, so that all begin together.
const HEAD_START: Duration = Duration::from_millis(5);

pub(super) fn run(plan: &Plan, stop: &Stop, watcher: &mut dyn Watcher) -> Result<RunResult, LoadError> {
    let mut plan = plan.clone();
    plan.threads = plan.threads.clamp(1, plan.connections.max(1));
    let (plan, stop_threads) = (Arc::new(plan), Stop::new());
    let interval = (plan.bound.time / 20).clamp(Duration::from_millis(50), Duration::from_secs(1));
    let left = plan.bound.requests.map(|requests| Arc::new(AtomicU64::new(requests)));
    let (report, reports) = sync_channel(REPORTS);
    let mut threads = Vec::new();
    let mut starts = Vec::new();
    for index in 0..plan.threads {
        let (start, started) = oneshot::channel();
        starts.push(start);
        let orders = Orders {
            plan: Arc::clone(&plan),
            index,
            left: left.clone(),
            interval,
            start: started,
            stop: stop_threads.clone(),
            reports: report.clone(),
        };
        threads.push(thread::Builder::new().name(format!("load-{index}")).spawn(move || run_thread(orders))?);
    }
    drop(report);
    let _stop_at_end = PullOnDrop(&stop_threads);
    wait_until_ready(&plan, &reports, stop)?;

    let start = Instant::now() + HEAD_START;
    for waiting in starts {
        let _gone = waiting.send(start);
    }
    let counts_from = start + plan.warmup;
    let mut collector = Collector::new(&plan, counts_from, interval);
    let ended = collector.collect(&reports, stop, &stop_threads, watcher);
    let seconds = collector.seconds(counts_from.elapsed());
    watcher.finished();
    for thread in threads {
        thread.join().map_err(|_| LoadError::Bug)??;
    }
    Ok(collector.result(ended, seconds))
}

struct PullOnDrop<'a>(&'a Stop);

impl Drop for PullOnDrop<'_> {
    fn drop(&mut self) {
        self.0.pull();
    }
}

fn wait_until_ready(plan: &Plan, reports: &Receiver<Report>, stop: &Stop) -> Result<(), LoadError> {
    let (mut threads, mut connected, mut reason) = (0, 0, None);
    while threads < plan.threads {
        match reports.recv_timeout(LOOK) {
            Ok(Report::Ready { connected: some, failed }) => {
                threads += 1;
                connected += some;
                reason = reason.or(failed);
            }
            Err(RecvTimeoutError::Timeout) if stop.is_pulled() => return Err(LoadError::Interrupted),
            Err(RecvTimeoutError::Timeout) => {}
            Ok(_) | Err(RecvTimeoutError::Disconnected) => break, // a thread has failed, and joining it tells how
        }
    }
    match reason {
        Some(mishap) if connected == 0 => {
            Err(LoadError::Dead { address: plan.address, reason: format!("{} failed", mishap.name()) })
        }
        _ => Ok(()),
    }
}

struct Collector<'a> {
    plan: &'a Plan,
    counts_from: Instant,
    interval: Duration,
    total: Tally,
    latest: Tally,
    /// How many reports are in it.
    reports: usize,
    before: (Tally, f64),
    latest_began: Instant,
    last_good: Instant,
    intervals: Vec<Interval>,
    done: usize,
}

impl<'a> Collector<'a> {
    fn new(plan: &'a Plan, counts_from: Instant, interval: Duration) -> Self {
        Self {
            plan,
            counts_from,
            interval,
            total: Tally::new(),
            latest: Tally::new(),
            reports: 0,
            before: (Tally::new(), 0.0),
            latest_began: counts_from,
            last_good: counts_from,
            intervals: Vec::new(),
            done: 0,
        }
    }

    fn collect(
        &mut self,
        reports: &Receiver<Report>,
        stop: &Stop,
        stop_threads: &Stop,
        watcher: &mut dyn Watcher,
    ) -> Ended {
        let mut ended = Ended::Complete;
        let mut told_start = false;
        while self.done < self.plan.threads {
            let until_start = self.counts_from.saturating_duration_since(Instant::now());
            let wait = if told_start { LOOK } else { until_start.min(LOOK) };
            let report = reports.recv_timeout(wait);
            if !told_start && Instant::now() >= self.counts_from {
                told_start = true;
                watcher.started();
            }
            match report {
                Ok(Report::Tally(tally)) => {
                    self.latest.add(&tally);
                    self.reports += 1;
                }
                Ok(Report::Done(tally)) => {
                    self.latest.add(&tally);
                    self.done += 1;
                }
                Ok(Report::Ready { .. }) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.reports >= self.plan.threads {
                self.turn_interval(watcher);
            }
            if stop.is_pulled() {
                ended = Ended::Interrupted;
                stop_threads.pull();
            } else if self.is_pointless() {
                ended = Ended::GaveUp;
                stop_threads.pull();
            }
        }
        self.last_interval(watcher);
        ended
    }

    /// For how long it counted: as long as was planned, or until the last answer, when that came later. `elapsed` is the time
    /// until everything was over, which is less when the number of requests was the bound.
    fn seconds(&self, elapsed: Duration) -> f64 {
        let planned = self.plan.bound.time;
        let last =
            self.total.last_ok.map_or(planned, |last| last.saturating_duration_since(self.counts_from));
        if elapsed < planned { elapsed.as_secs_f64() } else { last.max(planned).as_secs_f64() }
    }

    /// Whether there are nothing but errors, and have been for a while.
    fn is_pointless(&self) -> bool {
        let failed = self.total.failed() + self.latest.failed();
        failed > 0 && self.latest.ok == 0 && self.last_good.elapsed() > self.plan.give_up
    }

    fn turn_interval(&mut self, watcher: &mut dyn Watcher) {
        let now = Instant::now();
        let span = now.saturating_duration_since(self.latest_began).as_secs_f64();
        let tally = std::mem::take(&mut self.latest);
        (self.latest_began, self.reports) = (now, 0);
        self.total.add(&tally);
        if tally.ok > 0 {
            self.last_good = now;
        }
        self.tell(tally, span, watcher);
    }

    /// What is left is an interval of its own only if it is long enough to say something.
    fn last_interval(&mut self, watcher: &mut dyn Watcher) {
        if self.latest_began.elapsed() < self.interval / 2 && self.intervals.pop().is_some() {
            let (before, span) = std::mem::take(&mut self.before);
            let last = self.latest_began.elapsed().as_secs_f64();
            self.total.add(&self.latest);
            self.latest.add(&before);
            let both = std::mem::take(&mut self.latest);
            self.tell(both, span + last, watcher);
        } else {
            self.turn_interval(watcher);
        }
    }

    fn tell(&mut self, tally: Tally, span: f64, watcher: &mut dyn Watcher) {
        let seconds = self.counts_from.elapsed().as_secs_f64();
        self.intervals.push(Interval::new(seconds, span, &tally));
        watcher.progress(&Progress { seconds, latest: (&tally, span), total: &self.total });
        self.before = (tally, span);
    }

    fn result(self, ended: Ended, seconds: f64) -> RunResult {
        let is_open = self.plan.pace != Pace::Closed;
        let unix = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs_f64() - seconds;
        RunResult::new(self.plan, ended, (unix, seconds), &self.total, is_open, self.intervals)
    }
}
