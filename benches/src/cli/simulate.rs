//! `busbar-bench simulate`

use std::path::{Path, PathBuf};

use clap::Args;

use super::{End, Failure, files, interrupt};
use crate::{
    out,
    simulate::{
        Policy, Service, Trouble,
        study::{Grid, Results, Study},
        table,
    },
};

/// Simulate how long requests wait under each policy: the router's own code in virtual time, without a socket.
///
/// Without a choice of --dynos, --service, --load or --trouble the whole study runs, which takes minutes; with one, only what is
/// chosen, the rest being 10 dynos, rap-genius, 0.7 and none. Lists are written with commas. Equal seeds give equal figures.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A few seconds' worth of it: rough figures.
    #[arg(long, conflicts_with_all = ["dynos", "service", "load", "trouble"])]
    quick: bool,

    /// How requests are routed: random, round_robin, peak_ewma, p2c, least, central_queue.
    #[arg(long, value_delimiter = ',', value_name = "POLICIES")]
    policy: Vec<Policy>,

    /// How many routers there are, each seeing only its own requests.
    #[arg(long, value_delimiter = ',', value_name = "NUMBERS", value_parser = clap::value_parser!(u32).range(1..=1000))]
    routers: Vec<u32>,

    /// How many dynos, each serving one request at a time.
    #[arg(long, value_delimiter = ',', value_name = "NUMBERS", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    dynos: Vec<u32>,

    /// How long requests take: rap-genius, exponential, bimodal.
    #[arg(long, value_delimiter = ',', value_name = "DISTRIBUTIONS")]
    service: Vec<Service>,

    /// Share of what the dynos can serve, like 0.7.
    #[arg(long, value_delimiter = ',', value_name = "SHARES", value_parser = share)]
    load: Vec<f64>,

    /// What goes wrong with one dyno: none, slow:5 (any number of times slower), crash.
    #[arg(long, value_delimiter = ',', value_name = "TROUBLES")]
    trouble: Vec<Trouble>,

    /// Requests in each experiment [default: 600000, with many dynos 1000 for each].
    #[arg(long, short = 'n', value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,

    /// Where chance comes from.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Write all figures to this file; - for standard output, in place of the tables.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Print only the digest at the end.
    #[arg(long)]
    digest: bool,
}

pub(super) fn run(arguments: Arguments) -> Result<End, Failure> {
    let stop = interrupt::stop_on_signal()?;
    let (json, digest) = (arguments.json.clone(), arguments.digest);
    let tables = json.as_deref() != Some(Path::new("-"));
    let groups = study(arguments).groups();
    let (mut outcomes, mut end) = (Vec::new(), End::Done);
    for (number, group) in (1..).zip(&groups) {
        let of_group = group.run()?;
        if tables && !digest {
            out::say(table::group(&of_group));
        } else {
            out::remark(format_args!("{number} of {} groups done", groups.len()));
        }
        outcomes.extend(of_group);
        if stop.is_pulled() {
            end = End::Interrupted;
            break;
        }
    }
    if tables {
        out::say(table::digest(&outcomes));
    }
    if let Some(file) = json {
        files::write_json(&file, &Results::new(outcomes))?;
    }
    Ok(end)
}

/// What was chosen.
fn study(arguments: Arguments) -> Study {
    let Arguments { quick, policy, routers, dynos, service, load, trouble, requests, seed, .. } = arguments;
    let mut study = if quick { Study::quick(seed) } else { Study::full(seed) };
    let whole = dynos.is_empty() && service.is_empty() && load.is_empty() && trouble.is_empty();
    if !whole {
        study.grids = vec![Grid {
            dynos: or(dynos, 10),
            services: or(service, Service::RapGenius),
            loads: or(load, 0.7),
            troubles: or(trouble, Trouble::None),
        }];
    }
    if !policy.is_empty() {
        study.policies = policy;
    }
    if !routers.is_empty() {
        study.routers = routers;
    }
    study.requests = requests.or(study.requests);
    study
}

fn or<T>(chosen: Vec<T>, usual: T) -> Vec<T> {
    if chosen.is_empty() { vec![usual] } else { chosen }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| *share > 0.0 && *share <= 10.0);
    share.ok_or_else(|| format!("`{text}` is not a share above 0; write 0.7 for 70 %"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn groups(line: &[&str]) -> usize {
        let words = ["simulate"].iter().chain(line);
        study(Line::try_parse_from(words).unwrap().arguments).groups().len()
    }

    #[test]
    fn what_is_not_chosen_is_the_published_load_on_ten_dynos() {
        assert_eq!(groups(&["--load", "0.5,0.9"]), 2);
        assert_eq!(groups(&["--dynos", "10,20", "--trouble", "none,crash,slow:3"]), 6);
        assert_eq!(groups(&["--policy", "least", "--seed", "7"]), Study::full(7).groups().len());
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [["--load", "0"], ["--dynos", "0"], ["--policy", "best"], ["--trouble", "slow:0"]] {
            assert!(Line::try_parse_from(["simulate"].iter().chain(&line)).is_err(), "{line:?}");
        }
    }
}
