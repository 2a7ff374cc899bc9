//! `busbar doctor`, as root and as somebody who is not.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use serde_json::Value;

use crate::{
    binary,
    busbar::{Ended, Place},
    wait::skipped,
};

/// What it looks at, in this order.
const NAMES: [&str; 7] = [
    "isolation plain",
    "isolation user",
    "isolation full",
    "network outbound",
    "control groups",
    "disk quota",
    "landlock",
];

/// The report as JSON, and as text; both say the same.
fn report(run: impl Fn(&[&str]) -> Ended) -> Vec<Value> {
    let report = run(&["doctor", "--json"]).json();
    let probes = report.as_array().expect("a list").clone();
    let names: Vec<_> = probes.iter().map(|probe| probe["name"].as_str().unwrap()).collect();
    assert_eq!(names, NAMES);
    let text = run(&["doctor"]).said();
    let mut lines = text.lines();
    for probe in &probes {
        let (name, there) = (probe["name"].as_str().unwrap(), probe["there"].as_bool().unwrap());
        let line = lines.next().expect("a line for each");
        let begins = format!("{name:<16}  {:<3}  ", if there { "yes" } else { "no" });
        assert!(line.starts_with(&begins) && line.len() > begins.len(), "{line}");
        let advice = probe["advice"].as_str().unwrap();
        assert_eq!(advice.is_empty(), there, "what is missing comes with advice: {probe}");
        if !there {
            assert_eq!(lines.next().expect("the advice").trim(), format!("→ {advice}"));
        }
    }
    assert_eq!(lines.next(), None);
    probes
}

fn there(probes: &[Value], name: &str) -> bool {
    probes.iter().any(|probe| probe["name"] == name && probe["there"] == true)
}

#[test]
fn the_doctor_tells_who_is_root_what_can_be_had_and_leaves_nothing() {
    let place = Place::new();
    fs::create_dir(place.path("tmp")).unwrap();
    let probes = report(|arguments| ended(place.command(arguments).env("TMPDIR", place.path("tmp"))));
    assert_eq!(fs::read_dir(place.path("tmp")).unwrap().count(), 0, "trials are left");
    assert!(there(&probes, "isolation plain"), "{probes:#?}");
    if !rustix::process::geteuid().is_root() {
        return skipped("what root can have was not looked at");
    }
    assert!(!there(&probes, "isolation user"), "root would leave its dynos root's files");
    assert_eq!(probes[1]["advice"], "root has isolation full");
    // What it says can be had can be had.
    let directory = place.app_with("worker: echo runs; exec sleep 1000\n");
    if there(&probes, "isolation full") {
        let busbar = place.up(&directory, &["--isolation", "full", "--network", "inbound"]);
        busbar.out.line("runs");
    }
}

fn ended(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn the_doctor_tells_who_is_not_root_what_can_be_had_and_what_to_do_for_more() {
    let place = Place::new();
    type Run<'r> = Box<dyn Fn(&[&str]) -> Ended + 'r>;
    let run: Run<'_> = if rustix::process::geteuid().is_root() {
        if Command::new("setpriv").arg("--version").output().is_err() {
            return skipped("there is no setpriv");
        }
        // Where everybody may execute it.
        let (program, directory) = (place.path("busbar"), place.directory.path().to_owned());
        binary::copy_busbar(&program);
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
        Box::new(move |arguments| {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program).args(arguments);
            command.env_clear().env("HOME", &directory).env("TMPDIR", &directory);
            command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
            ended(&mut command)
        })
    } else {
        Box::new(|arguments| place.verb(arguments))
    };
    let probes = report(run);
    assert!(there(&probes, "isolation plain") && !there(&probes, "isolation full"), "{probes:#?}");
    let of = |name: &str| probes.iter().find(|probe| probe["name"] == name).unwrap();
    let full = of("isolation full");
    assert_eq!(
        (full["found"].as_str(), full["advice"].as_str()),
        (Some("only root can do that; take isolation user"), Some("run as root"))
    );
    assert!(!there(&probes, "network outbound") && !there(&probes, "disk quota"), "{probes:#?}");
    let user = of("isolation user");
    if user["there"] == false {
        assert!(user["advice"].as_str().unwrap().contains("user.max_user_namespaces"), "{user}");
    }
    // What it says it made is gone.
    let names = fs::read_dir(place.directory.path()).unwrap().flatten().map(|entry| entry.file_name());
    let names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    assert!(!names.iter().any(|name| name.starts_with("busbar-trial")), "{names:?}");
}
