//! What is seen while a run runs: a bar on a terminal, a plain line a second elsewhere.

use std::{
    io::{IsTerminal as _, stderr},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    load::{Progress, Watcher, plan::Bound},
    out, units,
};

/// Shows the progress of runs.
pub(super) struct Show {
    bar: Option<ProgressBar>,
    is_quiet: bool,
    last_line: Instant,
    time: Duration,
}

impl Show {
    pub(super) fn new(bound: Bound, is_quiet: bool) -> Self {
        let bar = (!is_quiet && stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new(u64::try_from(bound.time.as_millis()).unwrap_or(u64::MAX));
            let style = ProgressStyle::with_template("{bar:30} {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar, is_quiet, last_line: Instant::now(), time: bound.time }
    }
}

impl Watcher for Show {
    fn progress(&mut self, so_far: &Progress<'_>) {
        let line = line(so_far, self.time);
        if let Some(bar) = &self.bar {
            bar.set_position((so_far.seconds * 1e3) as u64);
            bar.set_message(line);
        } else if !self.is_quiet && self.last_line.elapsed() >= Duration::from_secs(1) {
            self.last_line = Instant::now();
            out::remark(line);
        }
    }

    fn finished(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn line(so_far: &Progress<'_>, time: Duration) -> String {
    let (latest, seconds) = so_far.latest;
    let total = so_far.total;
    let at = |quantile| units::span(Duration::from_nanos(total.latency.value_at_quantile(quantile)));
    format!(
        "{:.1}/{:.0} s  {:.0}/s  p50 {}  p99 {}  p99.9 {}  errors {}",
        so_far.seconds,
        time.as_secs_f64(),
        latest.ok as f64 / seconds.max(1e-9),
        at(0.5),
        at(0.99),
        at(0.999),
        total.failed(),
    )
}
