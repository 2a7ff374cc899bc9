//! The verbs of `busbar-bench`, one file each.
//!
//! Exit codes: 0 done; 1 a `--fail-if` holds; 2 the command line is wrong; 3 it could not be done, or the target died;
//! 130 interrupted.

mod compare;
mod files;
mod interrupt;
mod launch;
mod origin;
mod progress;
mod report;
mod run;
mod self_check;
mod simulate;
mod target;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{
    out,
    results::Ended,
    verdict::{Facts, Threshold},
};

/// Load-test harness for HTTP proxies: a generator with honest latencies, a cheap origin, and comparisons side by side.
#[derive(Debug, Parser)]
#[command(name = "busbar-bench", version, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(Box<run::Arguments>),
    Origin(origin::Arguments),
    Compare(compare::Arguments),
    SelfCheck(self_check::Arguments),
    Report(report::Arguments),
    Simulate(simulate::Arguments),
    #[command(hide = true)]
    Launch(launch::Launch),
    #[command(hide = true)]
    HyperProxy(launch::HyperProxy),
}

/// How a verb came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Done,
    ThresholdHolds,
    Failed,
    Interrupted,
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        Self::from(match end {
            End::Done => 0,
            End::ThresholdHolds => 1,
            End::Failed => 3,
            End::Interrupted => 130,
        })
    }
}

impl From<Ended> for End {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Complete => Self::Done,
            Ended::Interrupted => Self::Interrupted,
            Ended::GaveUp => Self::Failed,
        }
    }
}

/// What went wrong, as a sentence.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs the program.
pub fn main() -> ExitCode {
    let done = match Arguments::parse().verb {
        Verb::Run(arguments) => run::run(&arguments),
        Verb::Origin(arguments) => origin::run(arguments),
        Verb::Compare(arguments) => compare::run(&arguments),
        Verb::SelfCheck(arguments) => self_check::run(&arguments),
        Verb::Report(arguments) => report::run(&arguments),
        Verb::Simulate(arguments) => simulate::run(arguments),
        Verb::Launch(arguments) => launch::launch(&arguments),
        Verb::HyperProxy(arguments) => launch::hyper_proxy(arguments),
    };
    done.unwrap_or_else(|failure| {
        out::remark(format_args!("busbar-bench: {failure}"));
        End::Failed
    })
    .into()
}

/// Says which thresholds hold.
fn judge(thresholds: &[Threshold], facts: Facts<'_>) -> End {
    let complaints: Vec<String> =
        thresholds.iter().flat_map(|threshold| threshold.complaints(facts)).collect();
    complaints.iter().for_each(out::remark);
    if complaints.is_empty() { End::Done } else { End::ThresholdHolds }
}
