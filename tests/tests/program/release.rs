//! The release command before a deploy: how it fails, and how it is stopped.

use std::fs;

use rustix::process::Signal;

use crate::busbar::{Busbar, Place};

#[test]
fn a_release_command_that_fails_starts_nothing_and_says_what_it_said() {
    let place = Place::new();
    let directory = place.app_with("release: echo no database; exit 1\nworker: exec sleep 600");
    let ended = place.verb(&["up", directory.to_str().unwrap(), "--port", "0"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("no database") && !ended.out.contains("worker.1"), "{ended:?}");
    assert!(ended.err.contains("the release command of"), "{ended:?}");
}

#[test]
fn ctrl_c_ends_a_release_command_and_a_second_one_ends_it_at_once() {
    for (release, code) in
        [("echo migrating; exec sleep 1000", 0), ("trap '' TERM; echo migrating; sleep 1000", 130)]
    {
        let place = Place::new();
        let directory = place.app_with(&format!("release: {release}\nworker: exec sleep 600\n"));
        let directory = directory.display().to_string();
        let command = place.command(&["up", &directory, "--app", &place.app, "--listen", "127.0.0.1:0"]);
        let mut busbar = Busbar::spawn(place, command);
        busbar.out.line("| migrating");
        busbar.signal(Signal::INT);
        busbar.out.line("Stopping all processes with SIGTERM");
        if code != 0 {
            busbar.signal(Signal::INT);
        }
        assert_eq!(busbar.ended().code(), Some(code), "{release}");
        let lines = busbar.out.to_the_end();
        assert!(!lines.iter().any(|line| line.contains("worker.1")), "{lines:#?}");
        if code == 0 {
            busbar.left_nothing();
        }
    }
}

#[test]
fn a_release_command_that_fails_at_an_upgrade_leaves_the_dynos_of_before_to_the_next_one() {
    let place = Place::new();
    let directory = place.app_with("worker: exec sleep 600\n");
    let name = place.app.clone();
    let mut first = place.up(&directory, &[]);
    let before = first.runs(&["worker.1"]);
    first.signal(Signal::KILL);
    first.ended();
    // Nothing of it has changed but that command.
    let procfile = |release: &str| {
        fs::write(directory.join("Procfile"), format!("release: {release}\nworker: exec sleep 600\n"))
            .unwrap();
    };
    procfile("echo no database; exit 1");
    let place = Place { app: name.clone(), ..Place::new() };
    let ended =
        place.verb(&["up", &directory.display().to_string(), "--app", &name, "--listen", "127.0.0.1:0"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("no database"), "{ended:?}");
    assert!(ended.err.contains("had left go on as they are"), "{ended:?}");
    assert!(ended.err.contains("failed with status 1; nothing was changed"), "{ended:?}");
    procfile("true");
    let second = Place { app: name, ..Place::new() }.up(&directory, &[]);
    assert_eq!(second.runs(&["worker.1"]), before);
    drop(second);
}
