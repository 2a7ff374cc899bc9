//! Under load: nothing is lost that a dyno did not take with it.

use std::{collections::BTreeSet, fs, process::Command};

use it::{Head, Wire};
use serde_json::Value;

use crate::{
    busbar::{Busbar, Place, app},
    traffic::{Load, Outcome},
    wait::{skipped, until},
};

const CONNECTIONS: usize = 8;

fn up(directory: &str, web: u32) -> Busbar {
    let busbar = Place::new().up(&app(directory), &["--formation", &format!("web={web}")]);
    let names: Vec<_> = (1..=web).map(|n| format!("web.{n}")).collect();
    busbar.runs(&names.iter().map(String::as_str).collect::<Vec<_>>());
    busbar
}

#[test]
fn two_dynos_share_the_load() {
    let busbar = up("examples/hello", 2);
    let load = Load::start(busbar.address, CONNECTIONS);
    load.goes_on_for(2000);
    let tally = load.finish();
    let answers = ["Hello from web.1", "Hello from web.2"].map(|body| Outcome::Answered(body.into()));
    assert_eq!(tally.keys().cloned().collect::<Vec<_>>(), answers);
    assert!(tally.values().all(|n| *n > 500), "{tally:?}");
}

#[test]
fn wrk_sees_no_error() {
    let busbar = up("examples/hello", 2);
    let address = format!("http://{}/", busbar.address);
    // A machine that is busy with other tests may take seconds for an answer; that is no error.
    let wrk = Command::new("wrk").args(["-t1", "-c64", "-d5s", "--timeout", "60s", &address]).output();
    let Ok(wrk) = wrk else { return skipped("there is no wrk") };
    let report = String::from_utf8_lossy(&wrk.stdout);
    assert!(wrk.status.success() && report.contains(" requests in "), "{wrk:?}");
    assert!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}");
}

/// What the router's log says about requests that failed.
fn failures(busbar: &Busbar) -> Vec<String> {
    let lines = busbar.out.lines().into_iter();
    lines.filter(|line| line.contains("router") && !line.contains("at=info")).collect()
}

#[test]
fn a_killed_dyno_takes_its_own_requests_with_it_and_no_others() {
    let busbar = up("tests/apps/abrupt", 2);
    let before = busbar.runs(&["web.1", "web.2"]);
    let go = busbar.place.path("go");
    let mut held: Vec<_> = (0..4).map(|_| busbar.client()).collect();
    for (n, client) in held.iter_mut().enumerate() {
        let target = if n < 2 { "hold" } else { "half" };
        client.send(format!("GET /{target}?{} HTTP/1.1\r\nHost: held.example\r\n\r\n", go.display()));
        let waits = || busbar.out.lines().iter().filter(|line| line.contains(" waits for go")).count() > n;
        until("the dyno has the request", || waits().then_some(()));
    }
    let load = Load::start(busbar.address, CONNECTIONS);
    load.goes_on_for(200);
    before[0].kill();
    until("web.1 is up again", || {
        let dyno = busbar.ps().into_iter().find(|dyno| dyno.name == "web.1")?;
        (dyno.pid != before[0].pid && dyno.state == "up" && busbar.registered() == (2, 0)).then_some(())
    });
    load.goes_on_for(200);
    let tally = load.finish();
    fs::write(&go, "").unwrap();

    // Least in flight: each dyno has two of the four, one held before its head and one in its body.
    let (mut answered, mut refused, mut cut) = (0, 0, 0);
    for (n, client) in held.iter_mut().enumerate() {
        let head = client.head();
        let rest = rest_of(client, &head);
        match (n, head.status()) {
            (_, 200) if rest == "Hello from web.2\n" => answered += 1,
            (0 | 1, 503) if rest.contains("H13") => refused += 1,
            (2 | 3, 200) if rest == "Hello" => cut += 1,
            (_, status) => panic!("{n}: {status} {rest:?}"),
        }
    }
    assert_eq!((answered, refused, cut), (2, 1, 1));
    let lost: u64 = tally
        .iter()
        .filter(|(outcome, _)| !matches!(outcome, Outcome::Answered(_)))
        .map(|(_, count)| count)
        .sum();
    // Every one that the log shows is its own; all are counted, also those of which a busy terminal shows none.
    let its_own = |line: &String| {
        line.contains(" dyno=web.1 ") && (line.contains(" code=H13 ") || line.contains(" code=H18 "))
    };
    let failures = failures(&busbar);
    assert!(failures.iter().all(its_own), "{failures:#?}");
    until("each is counted", || (its_faults(&busbar) == lost + 2).then_some(()));
    // Each connection can have lost the one request that it had at web.1 at that moment.
    assert!(lost <= CONNECTIONS as u64, "{tally:#?}");
    let bodies: BTreeSet<_> = tally.into_keys().filter(|o| matches!(o, Outcome::Answered(_))).collect();
    assert_eq!(bodies.len(), 2, "both dynos answer");
    busbar.out.line("State changed from up to crashed");
}

/// How many requests failed as those of a dyno do that is killed; no others may have failed.
fn its_faults(busbar: &Busbar) -> u64 {
    let (_, state) = busbar.admin("/v1/state").expect("the admin API answers");
    let state: Value = serde_json::from_str(&state).expect("JSON");
    let faults = state["traffic"]["faults"].as_object().expect("an object");
    let its_own = ["closed_without_response", "server_request_interrupted"];
    let others: Vec<_> = faults.keys().filter(|name| !its_own.contains(&name.as_str())).collect();
    assert!(others.is_empty(), "{faults:?}");
    faults.values().filter_map(Value::as_u64).sum()
}

/// As much of the body as comes.
fn rest_of(client: &mut Wire, head: &Head) -> String {
    let length = head.content_length().expect("a length");
    let mut body = Vec::new();
    while body.len() < length && client.has_more() {
        body.extend(client.available());
    }
    String::from_utf8(body).expect("text")
}

fn scales_without_loss(directory: &str) {
    let busbar = up(directory, 1);
    let load = Load::start(busbar.address, CONNECTIONS);
    load.goes_on_for(100);
    let scaled = busbar.verb(&["scale", "web=8"]);
    assert!(scaled.out.contains("web at 8"), "{scaled:?}");
    busbar.runs(&["web.1", "web.2", "web.3", "web.4", "web.5", "web.6", "web.7", "web.8"]);
    load.goes_on_for(300);
    assert_eq!(busbar.verb(&["scale", "web=2"]).code, Some(0));
    busbar.runs(&["web.1", "web.2"]);
    load.goes_on_for(300);
    load.lost_nothing();
    assert_eq!(failures(&busbar), [] as [String; 0]);
}

#[test]
fn scaling_from_1_to_8_to_2_loses_no_request() {
    scales_without_loss("examples/hello");
}

#[test]
fn scaling_dynos_that_die_at_sigterm_loses_no_request() {
    scales_without_loss("tests/apps/abrupt");
}

fn restarts_without_loss(directory: &str, web: u32, target: &str) {
    let busbar = up(directory, web);
    let before = busbar.ps();
    let load = Load::start(busbar.address, CONNECTIONS);
    load.goes_on_for(100);
    let restarted = busbar.verb(&["restart", target]);
    assert_eq!(restarted.code, Some(0), "{restarted:?}");
    until("the new dynos are up and the old ones gone", || {
        let now = busbar.ps();
        let is_new = |name: &str, old: i32| now.iter().any(|dyno| dyno.name == name && dyno.pid != old);
        let chosen = before.iter().filter(|dyno| dyno.name == target || target == "web");
        let replaced = chosen.clone().count() > 0 && chosen.clone().all(|dyno| is_new(&dyno.name, dyno.pid));
        let up = now.len() == before.len() && now.iter().all(|dyno| dyno.state == "up");
        (replaced && up && busbar.registered() == (before.len(), 0)).then_some(())
    });
    load.goes_on_for(100);
    load.lost_nothing();
    assert_eq!(failures(&busbar), [] as [String; 0]);
}

#[test]
fn restarting_one_of_two_dynos_loses_no_request() {
    restarts_without_loss("examples/hello", 2, "web.1");
}

#[test]
fn restarting_one_of_two_dynos_that_die_at_sigterm_loses_no_request() {
    restarts_without_loss("tests/apps/abrupt", 2, "web.2");
}

#[test]
fn restarting_all_dynos_of_a_type_loses_no_request() {
    restarts_without_loss("examples/hello", 3, "web");
}

#[test]
fn restarting_all_dynos_that_die_at_sigterm_loses_no_request() {
    restarts_without_loss("tests/apps/abrupt", 3, "web");
}

#[test]
fn restarting_the_only_dyno_holds_requests_until_the_new_one_is_up() {
    restarts_without_loss("examples/hello", 1, "web.1");
}
