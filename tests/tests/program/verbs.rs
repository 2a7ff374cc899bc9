//! What the verbs say, on which stream, with which exit code.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    busbar::{Busbar, Ended, Place, app},
    wait::{Said, until},
};

fn hello() -> Busbar {
    let busbar = Place::new().up(&app("examples/hello"), &[]);
    busbar.runs(&["web.1", "web.2", "worker.1"]);
    busbar
}

/// Its output, if it did what was asked for and had nothing to complain about.
#[track_caller]
fn done(ended: Ended) -> String {
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{}", ended.out);
    ended.out
}

#[test]
fn ps_shows_the_dynos_as_heroku_does() {
    let busbar = hello();
    let name = &busbar.place.app;
    let shown = done(busbar.verb(&["ps"]));
    let lines: Vec<_> = shown.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines[0], format!("=== web ({name}): python3 hello.py web (2)"));
    assert!(lines[1].starts_with("web.1: up 2") && lines[1].ends_with("s ago)"), "{shown}");
    assert!(lines[2].starts_with("web.2: up 2"), "{shown}");
    assert_eq!(lines[3], format!("=== worker ({name}): python3 hello.py worker (1)"));
    assert!(lines[4].starts_with("worker.1: up 2") && lines.len() == 5, "{shown}");

    let workers = busbar.verb(&["ps", "worker", "--json"]).json();
    assert_eq!(workers.as_array().unwrap().len(), 1);
    assert_eq!(workers[0]["process_type"], "worker");
    assert_eq!(workers[0]["dynos"][0]["name"], "worker.1");
    let said = busbar.verb(&["ps", "nope"]).failed(2);
    assert!(said.contains("no process type nope"), "{said}");
}

#[test]
fn scale_says_what_runs_now_and_refuses_what_cannot_be() {
    let busbar = hello();
    assert_eq!(done(busbar.verb(&["scale"])), "web=2 worker=1\n");
    let scaled = done(busbar.verb(&["scale", "web+1", "worker=0"]));
    assert_eq!(scaled, "Scaling dynos... done, now running web at 3, worker at 0\n");
    busbar.runs(&["web.1", "web.2", "web.3"]);
    for (change, words) in [
        ("nope=1", "nope"),
        ("web=many", "\"many\" is no dyno size"),
        ("web", "web"),
        ("web=1:huge", "\"huge\" is no dyno size"),
        ("web=1000", "100"),
    ] {
        let said = busbar.verb(&["scale", change]).failed(1);
        assert!(said.starts_with("busbar: ") && said.contains(words), "{change}: {said}");
    }
    assert_eq!(done(busbar.verb(&["scale"])), "web=3 worker=0\n");
    done(busbar.verb(&["scale", "web=0"]));
    busbar.runs(&[]);
    assert_eq!(done(busbar.verb(&["ps"])), format!("No dynos on {}\n", busbar.place.app));
    let (status, body) = busbar.get("any.example", "/");
    assert!(status == 503 && body.contains("H14"), "{status} {body}");
}

#[test]
fn restart_replaces_the_dynos_it_names_and_no_others() {
    let busbar = hello();
    let name = busbar.place.app.clone();
    let before = busbar.ps();
    for (target, words) in
        [(None, "all dynos"), (Some("web"), "all web dynos"), (Some("web.1"), "dyno web.1")]
    {
        let before = busbar.ps();
        let arguments: Vec<_> = ["restart"].into_iter().chain(target).collect();
        assert_eq!(done(busbar.verb(&arguments)), format!("Restarting {words} on {name}... done\n"));
        let concerned = |dyno: &str| target.is_none_or(|target| dyno.starts_with(target));
        until(words, || {
            let now = busbar.ps();
            let right = now.len() == before.len()
                && now
                    .iter()
                    .zip(&before)
                    .all(|(new, old)| new.state == "up" && (new.pid != old.pid) == concerned(&new.name));
            right.then_some(())
        });
    }
    assert!(busbar.ps().iter().all(|dyno| dyno.crashes == 0), "{before:?}");
    for target in ["web.9", "nope", "web.0", "web.x"] {
        let ended = busbar.verb(&["restart", target]);
        let code = ended.code.unwrap();
        assert!([1, 2].contains(&code), "{ended:?}");
        assert!(ended.failed(code).contains(target));
    }
}

#[test]
fn logs_are_herokus_lines_filtered_by_dyno() {
    let busbar = hello();
    assert_eq!(busbar.get("logged.example", "/for-the-log").0, 200);
    busbar.out.line("path=\"/for-the-log\"");
    let is_line = |line: &str| {
        let (at, rest) = line.split_once(' ').unwrap_or_default();
        let (from, _) = rest.split_once(": ").unwrap_or_default();
        at.len() == 32 && at.ends_with("+00:00") && (from.starts_with("app[") || from.starts_with("heroku["))
    };
    let all = done(busbar.verb(&["logs"]));
    assert!(all.lines().count() > 8 && all.lines().all(is_line), "{all}");
    let router = done(busbar.verb(&["logs", "-d", "router", "-n", "1"]));
    assert!(router.contains("heroku[router]: at=info method=GET path=\"/for-the-log\""), "{router}");
    assert_eq!(router.lines().count(), 1);
    let worker = done(busbar.verb(&["logs", "--dyno", "worker"]));
    assert!(worker.lines().all(|line| line.contains("[worker.1]: ")) && !worker.is_empty(), "{worker}");
    assert!(done(busbar.verb(&["logs", "-d", "web.9"])).is_empty());
    busbar.verb(&["logs", "-d", "web 1"]).failed(2);
}

#[test]
fn logs_tail_goes_on_until_ctrl_c() {
    let busbar = hello();
    let wanted = busbar.place.command(&["logs", "--tail", "-n", "1", "-d", "router"]);
    // Whoever started the tests may ignore the signal, and then so would every program that does not ask.
    let mut tail = Command::new("env");
    tail.arg("--default-signal=INT").arg(wanted.get_program()).args(wanted.get_args()).stdout(Stdio::piped());
    tail.envs(wanted.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut tail = tail.spawn().unwrap();
    let said = Said::listen(tail.stdout.take().unwrap());
    until("the tail goes on", || {
        busbar.get("tail.example", "/tailed");
        said.lines().iter().any(|line| line.contains("path=\"/tailed\"")).then_some(())
    });
    kill_process(Pid::from_child(&tail), Signal::INT).unwrap();
    until("the tail ends", || tail.try_wait().unwrap());
}

#[test]
fn logs_tail_ends_with_the_busbar_it_follows() {
    let busbar = hello();
    let mut tail = busbar.place.command(&["logs", "--tail"]).spawn().unwrap();
    let said = Said::listen(tail.stdout.take().unwrap());
    said.line("worker.1 works");
    busbar.signal(Signal::INT);
    let status = until("the tail ends", || tail.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    assert!(said.to_the_end().iter().any(|line| line.contains("worker.1 puts its work down")));
}

#[test]
fn routes_show_each_host() {
    let busbar = hello();
    let name = &busbar.place.app;
    let table = done(busbar.verb(&["routes"]));
    let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let host = format!("{name}.localhost");
    assert_eq!(
        rows,
        [
            vec!["HOST", "APP", "DYNOS", "STATE"],
            vec![&*host, &**name, "2", "up"],
            vec!["*", &**name, "2", "up"],
        ]
    );
    let json = busbar.verb(&["routes", "--json"]).json();
    assert_eq!((&json[0]["host"], &json[1]["up"]), (&Value::from(host), &Value::from(2)));
}

#[test]
fn the_admin_api_answers_as_documented() {
    let busbar = hello();
    let json = |path: &str| {
        let (status, body) = busbar.admin(path).unwrap();
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    assert_eq!(busbar.admin("/health").unwrap().0, 200);
    assert_eq!(busbar.admin("/ready"), Some((200, "ready\n".into())));
    let (status, state) = json("/v1/state");
    assert_eq!((status, &state["role"], &state["readiness"]), (200, &"up".into(), &"ready".into()));
    assert_eq!(state["snapshot"]["dynos"].as_array().unwrap().len(), 2);
    let (status, refusal) = json("/v1/nope");
    assert_eq!((status, &refusal["id"]), (404, &"not_found".into()));
    let said = busbar.verb(&["reload"]).failed(1);
    assert!(said.contains("has no configuration file to read again"), "{said}");
    let mode = fs::metadata(busbar.place.admin()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "others may open the admin socket");
}

#[test]
fn version_is_told_in_words_and_in_json() {
    let place = Place::new();
    let version = env!("CARGO_PKG_VERSION"); // all packages have the same
    for arguments in [["version"], ["--version"]] {
        assert_eq!(done(place.verb(&arguments)), format!("busbar {version}\n"));
    }
    assert_eq!(place.verb(&["version", "--json"]).json()["version"], version);
}

#[test]
fn completions_are_scripts_that_their_shell_accepts() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = done(place.verb(&["completions", shell]));
        assert!(script.contains("restart") && script.contains("busbar"), "{shell}");
        let file = place.write("completions", &script);
        if let Ok(checked) = Command::new(shell).arg("-n").arg(&file).output() {
            assert!(checked.status.success(), "{shell}: {checked:?}");
        }
    }
    place.verb(&["completions", "nosuchshell"]).failed(2);
}

#[test]
fn man_prints_a_page_for_the_program_and_for_each_verb() {
    let place = Place::new();
    let page = done(place.verb(&["man"]));
    assert!(page.contains(".TH busbar 1") && page.contains("busbar\\-up(1)"), "{page}");
    for verb in ["up", "router", "ps", "scale", "logs"] {
        assert!(done(place.verb(&["man", verb])).contains(".SH NAME"), "{verb}");
    }
    let said = place.verb(&["man", "nope"]).failed(2);
    assert!(said.contains("nope"), "{said}");
}

#[test]
fn without_a_running_busbar_each_verb_says_where_it_looked() {
    let place = Place::new();
    for verb in ["ps", "scale", "restart", "logs", "routes", "reload"] {
        let said = place.verb(&[verb]).failed(5);
        let at = format!("unix:{}", place.admin().display());
        assert!(said.starts_with(&format!("busbar: no busbar answers at {at}: ")), "{verb}: {said}");
    }
}
