//! Bad input: which words, which stream, which exit code; and nothing that ran before is disturbed.

use std::{
    fs,
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::PathBuf,
    process::{Command, Stdio},
};

use rustix::process::{Signal, geteuid};

use crate::{
    binary,
    busbar::{Busbar, Place, app, groups_of},
    wait::skipped,
};

#[test]
fn a_malformed_procfile_gets_all_its_complaints_with_their_lines() {
    let place = Place::new();
    let directory = place.app_with("# fine\nweb ./serve\nweb: ./one\nweb: ./two\nbad type: ./x\nempty:\n");
    let said = place.verb(&["up", &directory.display().to_string()]).failed(3);
    let complaints: Vec<_> = said.lines().collect();
    assert_eq!(complaints.len(), 4, "{said}");
    for (complaint, words) in complaints.iter().zip([
        "Procfile:2: expected `type: command`",
        "Procfile:4: process type web was already given on line 3",
        "Procfile:5: process type \"bad type\"",
        "Procfile:6: process type empty has no command",
    ]) {
        assert!(complaint.contains(words), "{said}");
    }
}

#[test]
fn a_directory_that_is_no_app_is_refused() {
    let place = Place::new();
    let empty = place.directory.path().display().to_string();
    let said = place.verb(&["up", &empty]).failed(3);
    assert!(said.contains("has no Procfile; write one"), "{said}");
    let said = place.verb(&["up", "/nonexistent/app"]).failed(3);
    assert!(said.contains("/nonexistent/app"), "{said}");
    let directory = place.app_with("web: ./serve\n").display().to_string();
    let said = place.verb(&["up", &directory, "--formation", "worker=1"]).failed(3);
    assert!(said.contains("worker"), "{said}");
    place.verb(&["up", &directory, "--formation", "web=lots"]).failed(2);
    place.verb(&["up", &directory, "--app", "Not A Name"]).failed(2);
}

#[test]
fn three_mistakes_in_a_configuration_are_three_complaints_with_their_places() {
    let place = Place::new();
    let text = "lisen = []\nworkers = 0\n\n[[app]]\nname = \"shop\"\ndomains = [\"shop.example\"]\n\
                dynos = [\"localhost\"]\n";
    let file = place.write("edge.toml", text).display().to_string();
    for arguments in [
        vec!["validate", &file],
        vec!["router", "--config", &file, "--check"],
        vec!["router", "--config", &file],
    ] {
        let said = place.verb(&arguments).failed(3);
        let complaints: Vec<_> = said.lines().collect();
        assert_eq!(complaints.len(), 3, "{said}");
        for (complaint, start) in
            complaints.iter().zip(["1:1: unknown key `lisen`", "2:11: `workers`", "7:10: "])
        {
            assert!(complaint.contains(&format!("{file}:{start}")), "{said}");
        }
    }
    let said = place.verb(&["validate", "/nonexistent.toml"]).failed(3);
    assert!(said.contains("/nonexistent.toml"), "{said}");
}

#[test]
fn a_valid_configuration_is_said_to_be_valid_and_nothing_starts() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = format!(
        "listen = [\"{address}\"]\n[[app]]\nname = \"shop\"\ndomains = [\"shop.example\"]\ndynos = [\"127.0.0.1:9001\"]\n"
    );
    let file = place.write("edge.toml", &text).display().to_string();
    for arguments in [vec!["validate", &file], vec!["router", "--config", &file, "--check"]] {
        let ended = place.verb(&arguments);
        let said = (ended.code, ended.out.as_str());
        assert_eq!(said, (Some(0), &*format!("{file} is valid: 1 app, 1 domain, 1 dyno\n")), "{ended:?}");
    }
}

#[test]
fn a_port_in_use_is_named_and_nothing_was_started() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let at = address.to_string();
    let marker = place.path("started");
    let directory = place.app_with(&format!("web: touch {}\n", marker.display())).display().to_string();
    let file = place.write("edge.toml", "").display().to_string();
    let words = format!("busbar: cannot listen on {address}: address already in use; ");
    for arguments in [
        vec!["up", &directory, "--app", &place.app, "--listen", &at],
        vec!["router", "--config", &file, "--listen", &at],
    ] {
        let said = place.verb(&arguments).failed(4);
        assert!(said.starts_with(&words), "{said}");
        assert!(!place.admin().exists(), "the admin socket is left");
    }
    assert!(!marker.exists(), "a dyno was started");
}

#[test]
fn a_second_busbar_leaves_the_first_ones_socket_and_dynos_alone() {
    let busbar = Place::new().up(&app("tests/apps/abrupt"), &[]);
    let before = busbar.runs(&["web.1"]);
    let (directory, name) = (app("tests/apps/abrupt").display().to_string(), busbar.place.app.clone());
    let up = ["up", &directory, "--app", &name, "--listen", "127.0.0.1:0"];
    let said = busbar.verb(&up).failed(4);
    assert!(said.contains("belongs to another busbar that is running"), "{said}");
    let said = busbar.verb(&[&up[..], &["--admin", "off"]].concat());
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("a runtime is running with state directory"), "{said:?}");
    assert_eq!(busbar.runs(&["web.1"]), before);
    assert_eq!(busbar.get("any.example", "/").0, 200);
}

/// A user who may do nothing.
const NOBODY: u32 = 65534;

/// `busbar up` for an app with this Procfile, as nobody. Only root can become that user.
fn as_nobody(place: &Place, procfile: &str, flags: &[&str]) -> Option<Command> {
    if !geteuid().is_root() {
        skipped("only root can become nobody");
        return None;
    }
    let directory = place.app_with(procfile);
    let program = place.path("program");
    binary::copy_busbar(&program);
    for path in [place.directory.path(), &directory, &program] {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("root may do that");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("root may do that");
    }
    let given = place.command(&[]);
    let mut command = Command::new(program);
    for (name, value) in given.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.args(["up", &directory.display().to_string(), "--app", &place.app, "--listen", "127.0.0.1:0"]);
    command.args(flags).uid(NOBODY).gid(NOBODY).current_dir("/");
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(command)
}

/// Needs nothing that only root may read.
const WORKER: &str = "worker: sleep 1000 & echo working; wait\n";

#[test]
fn without_leave_to_make_control_groups_dynos_run_and_that_is_said_loudly() {
    let place = Place::new();
    let Some(command) = as_nobody(&place, WORKER, &[]) else { return };
    let mut busbar = Busbar::start(place, command);
    busbar.runs(&["worker.1"]);
    busbar.out.line("| working");
    let warning = busbar.err.line("dynos run WITHOUT limits");
    assert!(warning.contains("ermission denied") && warning.contains("Delegate=yes"), "{warning}");
    assert_eq!(groups_of(&busbar.place.app), [] as [PathBuf; 0]);
    // And without groups, too, nothing is left: not the child of the dyno's first process either.
    busbar.signal(Signal::INT);
    assert_eq!(busbar.ended().code(), Some(0));
    busbar.left_nothing();
}

#[test]
fn without_leave_to_make_control_groups_limits_that_were_asked_for_stop_everything() {
    let place = Place::new();
    let marker = place.path("started");
    let procfile = format!("worker: touch {}; exec sleep 1000\n", marker.display());
    let Some(mut command) = as_nobody(&place, &procfile, &["--limits", "memory=64MiB"]) else { return };
    let output = command.output().expect("busbar can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("busbar: dynos cannot be started: control groups are required: "), "{said}");
    assert!(said.contains("run as root, or in a cgroup that is delegated to you"), "{said}");
    assert!(!marker.exists() && !place.admin().exists(), "something was started or is left");
}

#[test]
fn a_dyno_over_its_memory_limit_is_killed_and_the_log_says_r15() {
    let place = Place::new();
    let greedy =
        place.app_with("worker: exec python3 -c 'x = bytearray(1 << 30); print(len(x), flush=True)'\n");
    let directory = greedy.display().to_string();
    let name = place.app.clone();
    let command = place.command(&[
        "up",
        &directory,
        "--app",
        &name,
        "--listen",
        "127.0.0.1:0",
        "--limits",
        "memory=64MiB,pids=50",
    ]);
    let mut busbar = Busbar::spawn(place, command);
    let started = busbar.err.find("a word", |line| Some(!line.contains("control groups are required")));
    if !started {
        assert_eq!(busbar.ended().code(), Some(1));
        return skipped("no control groups can be made here");
    }
    busbar.out.line("Error R15 (Memory quota vastly exceeded)");
    busbar.out.line("Process exited with status 137");
    assert!(!busbar.out.lines().iter().any(|line| line.contains("1073741824")), "it had the memory");
}

#[test]
fn a_limit_that_is_none_is_refused() {
    let place = Place::new();
    let directory = place.app_with("worker: sleep 1000\n").display().to_string();
    for limits in ["memory=lots", "disc=1GiB", "pids=0"] {
        let said = place.verb(&["up", &directory, "--limits", limits]).failed(2);
        assert!(said.contains("is no limit; write memory=512MiB"), "{said}");
    }
}
