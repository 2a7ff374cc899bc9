//! An app from its Procfile.

use std::{fs, process::Command};

use crate::{
    busbar::{Busbar, Place, app},
    wait::{skipped, until},
};

/// Lines as `heroku local` shows them: when, who, what.
fn told(line: &str) -> Option<(&str, &str)> {
    let (head, text) = line.split_once(" | ")?;
    let (time, who) = head.split_once(' ')?;
    let digits = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    (time.split(':').count() == 3 && time.split(':').all(digits)).then_some((who.trim_end(), text))
}

#[test]
fn a_directory_is_an_app_at_its_own_name_and_at_every_other_host() {
    let place = Place::new();
    let name = place.app.clone();
    let directory = place.path(&name);
    fs::create_dir(&directory).unwrap();
    for file in ["Procfile", "app.json", "hello.py"] {
        fs::copy(app("examples/hello").join(file), directory.join(file)).unwrap();
    }
    let mut command = place.command(&["up", "--port", "0"]);
    command.current_dir(&directory);
    let busbar = Busbar::start(place, command);
    busbar.runs(&["web.1", "web.2", "worker.1"]);
    let browser = busbar.err.line(" is at ");
    let port = busbar.address.port();
    assert_eq!(
        browser,
        format!(
            "busbar: {name} is at http://{name}.localhost:{port} or http://127.0.0.1:{port} (Ctrl-C to stop)"
        )
    );
    for host in [&format!("{name}.localhost:{port}"), "127.0.0.1", "anything.example", "[::1]:80"] {
        let (status, body) = busbar.get(host, "/");
        assert!(status == 200 && body.starts_with("Hello from web."), "{host}: {status} {body}");
    }
}

#[test]
fn curl_finds_the_app_where_it_is_announced() {
    let busbar = Place::new().up(&app("examples/hello"), &[]);
    busbar.runs(&["web.1", "web.2", "worker.1"]);
    let address = format!("http://{}.localhost:{}/", busbar.place.app, busbar.address.port());
    // Not every machine resolves names below `localhost`; browsers and newer curls do so themselves.
    let resolve = format!("{}.localhost:{}:127.0.0.1", busbar.place.app, busbar.address.port());
    let curl =
        Command::new("curl").args(["-sSi", "--noproxy", "*", "--resolve", &resolve, &address]).output();
    let Ok(curl) = curl else { return skipped("there is no curl") };
    let answer = String::from_utf8_lossy(&curl.stdout);
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\r\n\r\nHello from web."),
        "{curl:?}"
    );
}

#[test]
fn the_lines_of_all_dynos_and_the_router_are_interleaved() {
    let busbar = Place::new().up(&app("examples/hello"), &[]);
    busbar.runs(&["web.1", "web.2", "worker.1"]);
    assert_eq!(busbar.get("lines.example", "/a/path").0, 200);
    for (who, words) in [
        ("web.1", "Starting process with command `python3 hello.py web`"),
        ("web.1", "web.1 listens on port"),
        ("web.2", "State changed from starting to up"),
        ("worker.1", "worker.1 works"),
        ("router", "method=GET path=\"/a/path\" host=lines.example "),
    ] {
        let of = |line: &str| told(line).is_some_and(|(by, text)| by == who && text.contains(words));
        busbar.out.find(words, |line| of(line).then_some(()));
    }
    assert!(busbar.out.lines().iter().all(|line| told(line).is_some()), "{:#?}", busbar.out.lines());
}

#[test]
fn flags_choose_the_formation() {
    let busbar = Place::new().up(&app("tests/apps/abrupt"), &["--formation", "web=3"]);
    busbar.runs(&["web.1", "web.2", "web.3"]);
}

#[test]
fn a_node_app_runs() {
    if Command::new("node").arg("--version").output().is_err() {
        return skipped("there is no node");
    }
    let busbar = Place::new().up(&app("tests/apps/node"), &["--formation", "web=2"]);
    busbar.runs(&["web.1", "web.2"]);
    assert!(busbar.get("node.example", "/").1.ends_with(" on node\n"));
    let mut client = busbar.client();
    let body = it::filler(300_000);
    let head = format!("POST / HTTP/1.1\r\nHost: n.example\r\nContent-Length: {}\r\n\r\n", body.len());
    client.send([head.as_bytes(), &body].concat());
    assert!(client.response().body == body, "what node sent back is not what was sent");
}

#[test]
fn a_directory_of_files_runs_under_python() {
    let busbar = Place::new().up(&app("tests/apps/files"), &[]);
    busbar.runs(&["web.1"]);
    assert_eq!(busbar.get("files.example", "/index.html"), (200, "Hello from a file\n".into()));
    assert_eq!(busbar.get("files.example", "/missing").0, 404);
}

#[test]
fn config_vars_reach_the_dynos_and_no_output() {
    let place = Place::new();
    let directory =
        place.app_with("worker: test \"$SECRET\" = 's3cr3t value' && echo it is there; exec sleep 1000\n");
    fs::write(directory.join(".env"), "SECRET='s3cr3t value'\n").unwrap();
    let busbar = place.up(&directory, &[]);
    busbar.out.line("| it is there");
    let said = [busbar.out.lines(), busbar.err.lines()].concat();
    // The command itself is shown, and it contains the words; nothing else may.
    let leaks = said.iter().filter(|line| line.contains("s3cr3t") && !line.contains("Starting process"));
    assert_eq!(leaks.count(), 0, "{said:#?}");
}

#[test]
fn a_dyno_that_crashes_is_started_again() {
    let busbar = Place::new().up(&app("examples/hello"), &["--formation", "web=1"]);
    let before = busbar.runs(&["web.1"]);
    busbar.get("crash.example", "/crash");
    let after = until("web.1 is up again", || {
        busbar.ps().into_iter().find(|dyno| dyno.crashes == 1 && dyno.state == "up")
    });
    assert_ne!(before[0].pid, after.pid);
    busbar.out.line("State changed from up to crashed");
    until("it answers again", || (busbar.get("crash.example", "/").0 == 200).then_some(()));
}
