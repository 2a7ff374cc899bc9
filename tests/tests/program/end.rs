//! How `busbar up` stops.

use std::net::TcpStream;

use rustix::process::Signal;

use crate::{
    busbar::{Place, app, processes_of},
    wait::until,
};

/// Where these words are first said.
#[track_caller]
fn place_of(lines: &[String], words: &str) -> usize {
    let found = lines.iter().position(|line| line.contains(words));
    found.unwrap_or_else(|| panic!("no {words:?} in {lines:#?}"))
}

#[test]
fn ctrl_c_answers_what_is_in_flight_and_stops_everything_in_order() {
    // One worker: when it has answered the second request, it has read the first one.
    let mut busbar = Place::new().up(&app("examples/hello"), &["--workers", "1"]);
    busbar.runs(&["web.1", "web.2", "worker.1"]);
    let mut client = busbar.client();
    let mut slow = busbar.client();
    slow.send("GET /?sleep=1 HTTP/1.1\r\nHost: slow.example\r\n\r\n");
    client.send("GET / HTTP/1.1\r\nHost: quick.example\r\n\r\n");
    assert_eq!(client.response().status(), 200);
    busbar.signal(Signal::INT);
    assert_eq!(slow.response().status(), 200);
    assert_eq!(busbar.ended().code(), Some(0));
    busbar.left_nothing();

    let said = busbar.err.to_the_end();
    assert!(
        place_of(&said, "busbar: stopping; Ctrl-C again") < place_of(&said, "busbar: stopped; drained: ")
    );
    assert!(said[place_of(&said, "busbar: stopped;")].contains("none was cut"), "{said:#?}");
    let lines = busbar.out.to_the_end();
    let answered = place_of(&lines, "path=\"/?sleep=1\"");
    for dyno in ["web.1", "web.2"] {
        assert!(answered < place_of(&lines, &format!("{dyno} has answered everything and exits")));
    }
    assert!(answered < place_of(&lines, "worker.1 puts its work down and exits"));
    assert_eq!(lines.iter().filter(|line| line.ends_with("Process exited with status 0")).count(), 3);
    assert!(TcpStream::connect(busbar.address).is_err(), "somebody still listens");
}

#[test]
fn sigterm_and_a_closed_terminal_stop_it_like_ctrl_c() {
    for signal in [Signal::TERM, Signal::HUP] {
        let mut busbar = Place::new().up(&app("tests/apps/abrupt"), &[]);
        busbar.runs(&["web.1"]);
        busbar.signal(signal);
        assert_eq!(busbar.ended().code(), Some(0), "{signal:?}");
        busbar.left_nothing();
    }
}

#[test]
fn a_second_ctrl_c_stops_it_at_once() {
    let place = Place::new();
    // A dyno that no SIGTERM ends, with a child.
    let stubborn = place.app_with("worker: trap '' TERM; echo ready; sleep 1000; sleep 1000\n");
    let mut busbar = place.up(&stubborn, &[]);
    busbar.runs(&["worker.1"]);
    busbar.out.line("| ready");
    busbar.signal(Signal::INT);
    busbar.out.line("Stopping all processes with SIGTERM");
    busbar.signal(Signal::INT);
    assert_eq!(busbar.ended().code(), Some(130));
    let said = busbar.err.to_the_end();
    assert!(said.iter().any(|line| line.contains("stopped at once")), "{said:#?}");
    let lines = busbar.out.to_the_end();
    assert!(!lines.iter().any(|line| line.contains("R12")), "it waited for the dyno: {lines:#?}");
    until("its dynos are gone", || processes_of(&busbar.place.app).is_empty().then_some(()));
    assert!(!busbar.place.admin().exists(), "the admin socket is left");
}
