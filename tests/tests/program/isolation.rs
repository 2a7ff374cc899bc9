//! Dynos that are kept apart.

use std::{fs, process::Command};

use crate::{
    busbar::{Place, app},
    wait::skipped,
};

#[test]
fn an_app_under_full_isolation_answers_curl_through_the_router() {
    let place = Place::new();
    if !rustix::process::geteuid().is_root() {
        let refused =
            place.verb(&["up", &app("examples/hello").display().to_string(), "--isolation", "full"]);
        let said = refused.failed(1);
        assert!(said.contains("isolation full cannot be had: only root can do that"), "{said}");
        return skipped("only root has full isolation");
    }
    let busbar = place.up(&app("examples/hello"), &["--isolation", "full", "--network", "inbound"]);
    let dynos = busbar.runs(&["web.1", "web.2", "worker.1"]);
    let addresses: Vec<_> = dynos.iter().filter_map(|dyno| dyno.address).collect();
    assert!(addresses.len() == 2 && addresses[0].ip() != addresses[1].ip(), "{dynos:?}");
    assert!(addresses.iter().all(|address| !address.ip().is_loopback()), "each has an address of its own");
    let (status, body) = busbar.get("apart.example", "/");
    assert!(status == 200 && body.starts_with("Hello from web."), "{status} {body}");
    let address = format!("http://{}/", busbar.address);
    let Ok(curl) = Command::new("curl").args(["-sS", "--noproxy", "*", &address]).output() else {
        return skipped("there is no curl");
    };
    assert!(String::from_utf8_lossy(&curl.stdout).starts_with("Hello from web."), "{curl:?}");
}

#[test]
fn every_example_runs_under_full_isolation() {
    if !rustix::process::geteuid().is_root() {
        return skipped("only root has full isolation");
    }
    let examples = fs::read_dir(app("examples")).unwrap().map(|entry| entry.unwrap().path());
    let examples: Vec<_> = examples.filter(|path| path.join("Procfile").exists()).collect();
    assert!(examples.len() >= 2, "{examples:?}");
    for example in examples {
        let busbar = Place::new().up(&example, &["--isolation", "full"]);
        let (status, body) = busbar.get("apart.example", "/");
        assert!(status == 200 && !body.is_empty(), "{}: {status} {body}", example.display());
    }
}

#[test]
fn a_disk_of_its_own_is_as_large_as_was_asked_and_only_for_dynos_with_full_isolation() {
    let place = Place::new();
    let directory =
        place.app_with("worker: echo has $(df -k --output=size /app | tail -1) KiB; exec sleep 1000\n");
    let refused = place.verb(&["up", &directory.display().to_string(), "--disk", "24MiB"]).failed(1);
    assert!(refused.contains("a disk of a dyno's own needs isolation full"), "{refused}");
    let refused = place.verb(&["up", &directory.display().to_string(), "--disk", "24"]).failed(2);
    assert!(refused.contains("is no size of a disk; write 1GiB"), "{refused}");
    if !rustix::process::geteuid().is_root() || !std::path::Path::new("/dev/loop-control").exists() {
        return skipped("only root, and only with loop devices, gives dynos disks");
    }
    let flags = ["--isolation", "full", "--network", "inbound", "--disk", "24MiB"];
    let busbar = place.up(&directory, &flags);
    let size = busbar.out.find("the size of its disk", |line| {
        let before = line.strip_suffix(" KiB")?;
        before.rsplit(' ').next()?.parse::<u64>().ok()
    });
    assert!((16 << 10..=24 << 10).contains(&size), "{size}");
}
