//! What is left after `kill -9`, and that the next one removes it.

use rustix::process::Signal;

use crate::{
    busbar::{Busbar, Place, processes_of},
    wait::until,
};

/// A web dyno whose child has left its session, and says so.
const FAMILY: &str =
    "web: setsid sleep 1000 & echo has children; exec python3 -m http.server $PORT --bind 127.0.0.1\n";

fn up(place: Place) -> Busbar {
    let directory = place.app_with(FAMILY);
    place.up(&directory, &["--formation", "web=2"])
}

#[test]
fn after_kill_9_the_next_up_leaves_no_orphan_of_the_first_and_works() {
    let mut first = up(Place::new());
    let name = first.place.app.clone();
    first.runs(&["web.1", "web.2"]);
    let orphans =
        until("each dyno has a child", || Some(processes_of(&name)).filter(|processes| processes.len() == 4));
    first.signal(Signal::KILL);
    first.ended();
    assert_eq!(processes_of(&name), orphans, "dynos outlive the program");

    let second = up(Place { app: name.clone(), ..Place::new() });
    second.runs(&["web.1", "web.2"]);
    let now = processes_of(&name);
    assert!(orphans.iter().all(|pid| !now.contains(pid)), "of {orphans:?} some are among {now:?}");
    assert_eq!(second.get("any.example", "/").0, 200);
    let mut second = second;
    second.signal(Signal::INT);
    assert_eq!(second.ended().code(), Some(0));
    second.left_nothing();
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
