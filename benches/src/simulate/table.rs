//! Figures as people read them: Markdown.
//!
//! - [`group`]: all figures of one group, a line for each policy.
//! - [`digest`]: one figure of many groups side by side.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};

use super::{Outcome, Service, Setup, Trouble};

/// What a column of a digest has in common.
type Column = (u32, u64, String);

/// All figures of outcomes that differ in policy and routers only; nothing for none.
#[must_use]
pub fn group(outcomes: &[Outcome]) -> String {
    let Some(first) = outcomes.first() else { return String::new() };
    let mut text = format!("{}\n\n", title(&first.setup));
    let mut table = markdown();
    table.set_header([
        "policy",
        "routers",
        "waited %",
        "mean wait",
        "p50 wait",
        "p99 wait",
        "p99.9 wait",
        "p99 total",
        "failed",
    ]);
    for outcome in outcomes {
        table.add_row([
            name(&outcome.setup),
            outcome.setup.routers.to_string(),
            format!("{:.1}", 100.0 * outcome.waited),
            millis(outcome.mean_wait_ms),
            millis(outcome.p50_wait_ms),
            millis(outcome.p99_wait_ms),
            millis(outcome.p999_wait_ms),
            millis(outcome.p99_total_ms),
            outcome.failed.to_string(),
        ]);
    }
    finish(&mut text, &mut table, outcomes);
    text
}

/// The p99 waits of all outcomes, a table for each distribution of service times without and one with trouble.
#[must_use]
pub fn digest(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for troubled in [false, true] {
        for service in Service::ALL {
            let of = |outcome: &&Outcome| {
                let Setup { service: its, trouble, .. } = outcome.setup;
                its == service && (trouble != Trouble::None) == troubled
            };
            let chosen: Vec<&Outcome> = outcomes.iter().filter(of).collect();
            if !chosen.is_empty() {
                let trouble = if troubled { ", one dyno in trouble" } else { "" };
                let _infallible =
                    write!(text, "p99 wait in ms{trouble}; service times: {}\n\n", service.about());
                side_by_side(&mut text, &chosen);
            }
        }
    }
    text
}

fn side_by_side(text: &mut String, outcomes: &[&Outcome]) {
    let column = |outcome: &Outcome| -> Column {
        let Setup { dynos, load, trouble, .. } = outcome.setup;
        let percent = 100.0 * load;
        let trouble = if trouble == Trouble::None { String::new() } else { format!(", {trouble}") };
        (dynos, percent.round() as u64, format!("{dynos} dynos, {percent:.0} %{trouble}"))
    };
    let row = |outcome: &Outcome| (outcome.setup.routers, outcome.setup.policy);
    let (columns, rows) = (distinct(outcomes, column), distinct(outcomes, row));
    let mut table = markdown();
    let titles = columns.iter().map(|(.., title)| title.clone());
    table.set_header(["policy", "routers"].map(String::from).into_iter().chain(titles));
    for (routers, policy) in rows {
        let cells = columns.iter().map(|of| {
            let found = outcomes.iter().find(|outcome| {
                (outcome.setup.routers, outcome.setup.policy) == (routers, policy) && column(outcome) == *of
            });
            found.map_or_else(String::new, |outcome| cell(outcome))
        });
        let head = [policy.to_string(), routers.to_string()];
        table.add_row(head.into_iter().chain(cells));
    }
    let all: Vec<Outcome> = outcomes.iter().map(|outcome| (*outcome).clone()).collect();
    finish(text, &mut table, &all);
}

/// The values of a quality, each once, in order of their first appearance.
fn distinct<T: PartialEq>(outcomes: &[&Outcome], quality: impl Fn(&Outcome) -> T) -> Vec<T> {
    outcomes.iter().fold(Vec::new(), |mut seen, outcome| {
        let value = quality(outcome);
        if !seen.contains(&value) {
            seen.push(value);
        }
        seen
    })
}

fn title(setup: &Setup) -> String {
    let Setup { dynos, service, load, trouble, requests, .. } = setup;
    let trouble = match trouble {
        Trouble::None => String::new(),
        Trouble::Slow(times) => format!(", one dyno {times} times slower"),
        Trouble::Crash => ", one dyno down for a tenth of the run".to_owned(),
    };
    let noun = if *dynos == 1 { "dyno" } else { "dynos" };
    format!(
        "{dynos} {noun}, {:.0} % load{trouble}, {requests} requests; waits in ms; service times: {}",
        100.0 * load,
        service.about()
    )
}

fn name(setup: &Setup) -> String {
    let mark = if setup.grows() { " †" } else { "" };
    format!("{}{mark}", setup.policy)
}

fn cell(outcome: &Outcome) -> String {
    if outcome.setup.grows() { "grows †".to_owned() } else { millis(outcome.p99_wait_ms) }
}

/// Whole ms, and tenths of the few.
fn millis(ms: f64) -> String {
    if ms > 0.0 && ms < 9.95 { format!("{ms:.1}") } else { format!("{ms:.0}") }
}

fn markdown() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table
}

fn finish(text: &mut String, table: &mut Table, outcomes: &[Outcome]) {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let _infallible = writeln!(text, "{table}");
    if outcomes.iter().any(|outcome| outcome.setup.grows()) {
        text.push_str(
            "\n† The slow dyno gets more than it can serve: the wait only says how long the run lasted.\n",
        );
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Policy, run};

    fn outcome(policy: Policy, dynos: u32, trouble: Trouble) -> Outcome {
        let setup = Setup {
            policy,
            routers: 1,
            dynos,
            service: Service::Bimodal,
            load: 0.7,
            trouble,
            requests: 200,
            seed: 1,
        };
        Outcome { p99_wait_ms: f64::from(dynos), ..run(&setup).unwrap() }
    }

    #[test]
    fn a_digest_has_a_line_for_each_policy_and_a_column_for_each_group() {
        let outcomes: Vec<_> = [10, 20]
            .into_iter()
            .flat_map(|dynos| [Policy::Random, Policy::Least].map(|p| outcome(p, dynos, Trouble::None)))
            .collect();
        let text = digest(&outcomes);
        let cells: Vec<Vec<&str>> = text
            .lines()
            .filter(|line| line.starts_with('|'))
            .map(|line| line.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(cells[0], ["policy", "routers", "10 dynos, 70 %", "20 dynos, 70 %"]);
        assert_eq!(cells[2], ["random", "1", "10", "20"]);
        assert_eq!(cells[3], ["least", "1", "10", "20"]);
        assert_eq!(cells.len(), 4);
    }

    #[test]
    fn a_wait_that_grows_without_end_is_marked() {
        let slow = |policy| [outcome(policy, 3, Trouble::Slow(20))];
        assert!(group(&slow(Policy::Random)).contains("random †"));
        assert!(digest(&slow(Policy::Random)).contains("grows †"));
        assert!(!group(&slow(Policy::Least)).contains('†'));
    }
}
