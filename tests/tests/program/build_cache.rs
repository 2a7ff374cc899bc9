//! What buildpacks keep for the next build, when a build does not end well.

use std::{fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    build::{build, built, write},
    busbar::Place,
    wait::{Said, skipped},
};

/// Says what it finds, leaves half of something, does as it is told, and finishes that.
const COMPILE: &str = "#!/bin/sh\necho \"found: $(ls \"$2\")\"; touch \"$2/half\"\n\
    [ -f \"$1/fail\" ] && exit 7\n[ -f \"$1/wait\" ] && echo working && sleep 1000\n\
    mv \"$2/half\" \"$2/whole\"\n";
const ON_A_DISK: [&str; 6] = ["--isolation", "full", "--network", "inbound", "--disk", "24MiB"];
const EMPTIED: &str = "The build before this one was not done: what it left in the cache was removed";

/// How a build can fail to end well.
#[derive(Debug, Clone, Copy)]
enum Ends {
    ByItself,
    By(Signal),
}

fn ends(place: &Place, source: &Path, flags: &[&str], how: Ends) {
    let told = source.join(if let Ends::ByItself = how { "fail" } else { "wait" });
    fs::write(&told, "").unwrap();
    let mut child = build(place, source, flags).spawn().unwrap();
    let said = Said::listen(child.stdout.take().unwrap());
    if let Ends::By(signal) = how {
        said.line("working");
        kill_process(Pid::from_child(&child), signal).unwrap();
    }
    assert!(!child.wait().unwrap().success(), "{how:?}");
    fs::remove_file(told).unwrap();
}

#[test]
fn what_a_build_that_was_not_done_left_in_the_cache_is_used_by_none() {
    let place = Place::new();
    let source = write(&place.path("source"), &[("Procfile", "web: x\n")]);
    let pack = [("bin/detect", "#!/bin/sh\necho Half\n"), ("bin/compile", COMPILE)];
    let pack = write(&place.path("pack"), &pack).display().to_string();
    let root = rustix::process::geteuid().is_root() && Path::new("/dev/loop-control").exists();
    if !root {
        skipped("in part: only root has disks for builds");
    }
    for disk in [&[][..], &ON_A_DISK[..]].into_iter().take(1 + usize::from(root)) {
        let flags = [&["-b", &pack][..], disk].concat();
        for how in [Ends::ByItself, Ends::By(Signal::INT), Ends::By(Signal::KILL)] {
            assert_eq!(built(&place, &source, &flags).code, Some(0), "{disk:?}");
            let _slug = fs::remove_file(place.path("app.slug"));
            ends(&place, &source, &flags, how);
            let next = built(&place, &source, &flags);
            assert_eq!(next.code, Some(0), "{next:?}");
            // With a disk it is written back when all has gone well.
            let (found, emptied) = if disk.is_empty() { ("", true) } else { ("whole", false) };
            assert!(next.out.contains(&format!("found: {found}\n")), "{how:?}: {next:?}");
            assert_eq!(next.out.contains(EMPTIED), emptied, "{how:?}: {next:?}");
            let again = built(&place, &source, &flags);
            assert!(again.out.contains("found: whole\n") && !again.out.contains(EMPTIED), "{again:?}");
        }
    }
}
