//! What becomes of dynos after `kill -9` of the program: the next one goes on with them, or removes them.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
};

use rustix::process::Signal;

use crate::{
    busbar::{Busbar, Place, app, processes_of},
    registry::Registry,
    traffic::Load,
    wait::until,
};

/// A web dyno whose child has left its session, and says so.
const FAMILY: &str =
    "web: setsid sleep 1000 & echo has children; exec python3 -m http.server $PORT --bind 127.0.0.1\n";

fn up(place: Place) -> Busbar {
    let directory = place.app_with(FAMILY);
    place.up(&directory, &["--formation", "web=2"])
}

/// The levels of isolation that can be had here.
fn levels() -> &'static [&'static str] {
    if rustix::process::geteuid().is_root() { &["plain", "full"] } else { &["plain"] }
}

#[test]
fn after_kill_9_the_next_up_goes_on_with_the_dynos_of_the_first_and_ctrl_c_stops_them() {
    for level in levels() {
        let directory = app("examples/hello");
        let flags = ["--isolation", level, "--network", "inbound"];
        let flags = if *level == "full" { &flags[..] } else { &flags[..2] };
        let mut first = Place::new().up(&directory, flags);
        let name = first.place.app.clone();
        let before = first.runs(&["web.1", "web.2", "worker.1"]);
        let load = Load::start(first.address, 4);
        load.goes_on_for(50);
        first.signal(Signal::KILL);
        first.ended();
        load.finish();

        let second = Place { app: name.clone(), ..Place::new() }.up(&directory, flags);
        let now = second.runs(&["web.1", "web.2", "worker.1"]);
        assert_eq!(before, now, "{level}: the same processes at the same addresses");
        let load = Load::start(second.address, 4);
        load.goes_on_for(200);
        load.lost_nothing();
        second.out.line("worker.1 has done ");
        let said = second.out.lines();
        assert!(!said.iter().any(|line| line.contains("Starting process")), "{level}: {said:#?}");
        let mut second = second;
        second.signal(Signal::INT);
        assert_eq!(second.ended().code(), Some(0), "{level}");
        second.left_nothing();
        drop(first);
    }
}

#[test]
fn after_kill_9_a_changed_app_replaces_the_dynos_of_the_first_up_and_leaves_no_orphan() {
    let mut first = up(Place::new());
    let name = first.place.app.clone();
    first.runs(&["web.1", "web.2"]);
    let orphans =
        until("each dyno has a child", || Some(processes_of(&name)).filter(|processes| processes.len() == 4));
    first.signal(Signal::KILL);
    first.ended();
    assert_eq!(processes_of(&name), orphans, "dynos outlive the program");

    let mut second = up(Place { app: name.clone(), ..Place::new() });
    until("none of the first is left", || {
        let now = processes_of(&name);
        (now.len() == 4 && orphans.iter().all(|pid| !now.contains(pid))).then_some(())
    });
    second.runs(&["web.1", "web.2"]);
    assert_eq!(second.get("any.example", "/").0, 200);
    second.signal(Signal::INT);
    assert_eq!(second.ended().code(), Some(0));
    second.left_nothing();
}

#[test]
fn one_off_dynos_go_on_if_nobody_was_attached_to_them() {
    let place = Place::new();
    let directory = place.app_with("worker: exec sleep 1000\n").display().to_string();
    let name = place.app.clone();
    let start = |place: Place| {
        let command = place.command(&["up", &directory, "--app", &name, "--listen", "127.0.0.1:0"]);
        Busbar::start(place, command)
    };
    let mut first = start(place);
    first.runs(&["worker.1"]);
    let detached = first.verb(&["run", "--detach", "--", "sleep", "1000"]).said();
    let mut attached = first.place.command(&["run", "--", "sleep", "1000"]).spawn().unwrap();
    let before = until("both run", || {
        let dynos = first.ps();
        (dynos.len() == 3 && dynos.iter().all(|dyno| dyno.state == "up")).then_some(dynos)
    });
    first.signal(Signal::KILL);
    first.ended();
    attached.wait().unwrap();
    let second = start(Place { app: name.clone(), ..Place::new() });
    let now = until("one is left", || Some(second.ps()).filter(|dynos| dynos.len() == 2));
    assert!(now.iter().all(|dyno| before.contains(dyno)), "{before:?} {now:?}");
    assert!(now.iter().any(|dyno| dyno.name == detached.trim()), "{detached} {now:?}");
    drop((second, first));
}

#[test]
fn a_runtime_that_is_killed_and_started_again_behind_a_router_loses_no_request() {
    let registry = Registry::start();
    let place = Place { app: registry.app.clone(), ..Place::new() };
    let file = place.write("token", &registry.token);
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let socket = format!("unix:{}", registry.busbar.place.path("registry.sock").display());
    let (file, directory) = (file.display().to_string(), app("examples/hello").display().to_string());
    let who = ["--app", &registry.app, "--token-file", &file, "--registry", &socket];
    let command =
        |place: &Place| place.command(&[&["runtime", &directory, "--formation", "web=2"], &who[..]].concat());
    let started = command(&place);
    let mut runtime = Busbar::spawn(place, started);
    until("both dynos are registered", || (registry.busbar.registered() == (2, 0)).then_some(()));
    let before = runtime.runs_elsewhere(&["web.1", "web.2"]);
    let load = Load::start_for(registry.busbar.address, 4, "shop.example");
    let mut killed = vec![];
    for _ in 0..3 {
        load.goes_on_for(100);
        runtime.signal(Signal::KILL);
        runtime.ended();
        let place = Place { app: registry.app.clone(), ..Place::new() };
        let started = command(&place);
        let next = Busbar::spawn(place, started);
        // It has them, and they have their leases.
        assert_eq!(next.runs_elsewhere(&["web.1", "web.2"]), before);
        assert_eq!(registry.busbar.registered(), (2, 0));
        killed.push(std::mem::replace(&mut runtime, next));
    }
    load.goes_on_for(100);
    load.lost_nothing();
    runtime.signal(Signal::TERM);
    assert_eq!(runtime.ended().code(), Some(0));
    runtime.left_nothing();
}

#[test]
fn the_admin_socket_of_a_killed_one_is_taken_over() {
    let mut first = up(Place::new());
    first.runs(&["web.1", "web.2"]);
    first.signal(Signal::KILL);
    first.ended();
    assert!(first.place.admin().exists());
    let directory = first.place.path("app").display().to_string();
    let (name, none) = (first.place.app.clone(), Place::new());
    let mut command =
        none.command(&["up", &directory, "--app", &name, "--listen", "127.0.0.1:0", "--formation", "web=1"]);
    command.env("BUSBAR_ADMIN", format!("unix:{}", first.place.admin().display()));
    let second = Busbar::start(none, command);
    until("the first one's socket answers", || first.admin("/health").filter(|(status, _)| *status == 200));
    drop(second);
    assert!(!first.place.admin().exists());
}
