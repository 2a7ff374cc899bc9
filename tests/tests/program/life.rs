//! How dynos replace each other, and sleep, behind the real router.

use crate::{
    busbar::{Busbar, Place, app},
    traffic::Load,
    wait::until,
};

const CONNECTIONS: usize = 8;

fn router_errors(busbar: &Busbar) -> Vec<String> {
    let lines = busbar.out.lines().into_iter();
    lines.filter(|line| line.contains("router") && !line.contains("at=info")).collect()
}

/// Restarts all under load: every old process is gone, every new one serves, and no request noticed.
fn restarts_without_loss(directory: &str, web: u32, flags: &[&str], restart: &[&str]) {
    let formation = format!("web={web}");
    let flags = [&["--formation", &formation], flags].concat();
    let busbar = Place::new().up(&app(directory), &flags);
    let names: Vec<String> = (1..=web).map(|n| format!("web.{n}")).collect();
    let before = busbar.runs(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let load = Load::start(busbar.address, CONNECTIONS);
    load.goes_on_for(200);
    let restarted = busbar.verb(&[&["restart"], restart].concat());
    assert_eq!(restarted.code, Some(0), "{restarted:?}");
    until("the new dynos are up and the old ones gone", || {
        let now = busbar.ps();
        let up = now.len() == before.len() && now.iter().all(|dyno| dyno.state == "up");
        let new = now.iter().all(|dyno| before.iter().all(|old| old.pid != dyno.pid));
        (up && new && busbar.registered() == (before.len(), 0)).then_some(())
    });
    load.goes_on_for(200);
    load.lost_nothing();
    assert_eq!(router_errors(&busbar), [] as [String; 0]);
}

#[test]
fn preboot_of_the_only_dyno_loses_no_request() {
    restarts_without_loss("examples/hello", 1, &["--preboot"], &["web"]);
}

#[test]
fn preboot_of_dynos_that_die_at_sigterm_loses_no_request() {
    restarts_without_loss("tests/apps/abrupt", 3, &[], &["web", "--preboot"]);
}

#[test]
fn a_rolling_restart_loses_no_request() {
    restarts_without_loss("tests/apps/abrupt", 4, &["--rolling", "2"], &[]);
}

#[test]
fn with_preboot_the_old_dyno_serves_until_the_new_one_is_there() {
    let slow = "web: test -e first && while [ ! -e go ]; do sleep 0.01; done; touch first; exec python3 -u -m http.server $PORT";
    let place = Place::new();
    let directory = place.app_with(slow);
    let busbar = place.up(&directory, &["--formation", "web=1", "--preboot"]);
    let before = busbar.runs(&["web.1"]);
    let load = Load::start(busbar.address, 2);
    load.goes_on_for(50);
    assert_eq!(busbar.verb(&["restart"]).code, Some(0));
    until("the new one boots", || (busbar.ps().len() == 2).then_some(()));
    // Were the only dyno gone, all would have to wait for the new one.
    load.goes_on_for(50);
    let now = busbar.ps();
    assert!(now.iter().any(|dyno| dyno.pid == before[0].pid && dyno.state == "up"), "{now:?}");
    std::fs::write(directory.join("go"), "").unwrap();
    until("the new one is alone", || {
        let now = busbar.ps();
        (now.len() == 1 && now[0].pid != before[0].pid && now[0].state == "up").then_some(())
    });
    load.goes_on_for(50);
    load.lost_nothing();
}

#[test]
fn an_app_that_nobody_asks_for_sleeps_and_a_request_wakes_it() {
    let busbar = Place::new().up(&app("examples/hello"), &["--formation", "web=2", "--idle-after", "300ms"]);
    for _ in 0..2 {
        until("both sleep", || {
            let now = busbar.ps();
            (now.len() == 2 && now.iter().all(|dyno| dyno.state == "idle")).then_some(())
        });
        let (status, body) = busbar.get("any.example", "/");
        assert_eq!(status, 200, "the request was held until a dyno was up: {body}");
    }
    busbar.out.line("Unidling");
    assert_eq!(router_errors(&busbar), [] as [String; 0]);
}

#[test]
fn run_shows_what_a_one_off_dyno_says_and_ends_as_it_ends() {
    let place = Place::new();
    let directory = place.app_with("worker: exec sleep 600");
    std::fs::write(directory.join(".env"), "GREETING=hello\n").unwrap();
    let busbar = place.up(&directory, &[]);
    let ran = busbar.verb(&["run", "--env", "WHO=world", "echo $GREETING $WHO; exit 3"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(3), "hello world\n", ""));
    let words = busbar.verb(&["run", "--", "printf", "%s|", "a b", "$HOME"]);
    assert_eq!((words.code, words.out.trim_end()), (Some(0), "a b|$HOME|"));
    let detached = busbar.verb(&["run", "--detach", "echo left alone; sleep 600"]);
    let name = detached.out.trim().to_owned();
    assert!(name.starts_with("run."), "{detached:?}");
    until("it runs on", || {
        busbar.ps().iter().any(|dyno| dyno.name == name && dyno.state == "up").then_some(())
    });
    let large = busbar.verb(&["run", "--size", "huge", "true"]).failed(2);
    assert!(large.contains("no dyno size"), "{large}");
}

#[test]
fn whoever_leaves_a_one_off_dyno_ends_it() {
    let place = Place::new();
    let directory = place.app_with("worker: exec sleep 600");
    let busbar = place.up(&directory, &[]);
    let mut client = busbar.place.command(&["run", "exec sleep 600"]).spawn().unwrap();
    until("it runs", || {
        busbar.ps().iter().any(|dyno| dyno.name.starts_with("run.") && dyno.state == "up").then_some(())
    });
    client.kill().unwrap();
    client.wait().unwrap();
    until("it is gone", || busbar.ps().iter().all(|dyno| !dyno.name.starts_with("run.")).then_some(()));
    busbar.out.line("Process exited with status 129");
}
