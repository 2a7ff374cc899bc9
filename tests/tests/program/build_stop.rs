//! A build is stopped, whatever it is at.

use std::{fs, path::PathBuf, process::Child};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    build::{build, write},
    busbar::{Place, groups_of, processes_of},
    wait::{Said, until},
};

/// A build whose `bin/compile` is this.
fn start(place: &Place, compile: &str) -> Child {
    let source = write(&place.path("source"), &[("Procfile", "web: x\n")]);
    let pack = [("bin/detect", "#!/bin/sh\necho Pack\n"), ("bin/compile", compile)];
    let pack = write(&place.path("pack"), &pack).display().to_string();
    build(place, &source, &["--buildpack", &pack]).spawn().unwrap()
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

/// It ends, and nothing of it is left but its cache.
fn ends(place: &Place, child: &mut Child, code: i32) {
    let ended = until("it ends", || child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(code));
    let instance = format!("build-{}", place.app);
    assert_eq!(processes_of(&instance), [] as [i32; 0]);
    assert_eq!(groups_of(&instance), [] as [PathBuf; 0]);
    assert_eq!(fs::read_dir(place.path("tmp")).unwrap().count(), 0);
    let mut left: Vec<_> =
        fs::read_dir(place.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.retain(|name| name.to_str().unwrap().contains("slug"));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_build_whose_output_nobody_reads_is_stopped_and_says_so() {
    let place = Place::new();
    let mut child = start(&place, "#!/bin/sh\nyes\n");
    let output = child.stdout.take().unwrap();
    // As much as a pipe holds.
    until("nothing more can be written", || {
        (rustix::io::ioctl_fionread(&output).unwrap() > 60_000).then_some(())
    });
    let said = Said::listen(child.stderr.take().unwrap());
    interrupt(&child);
    ends(&place, &mut child, 130);
    said.line("busbar: stopping the build");
    said.line("busbar: the build was stopped");
}

#[test]
fn a_build_is_stopped_while_its_slug_is_packed_and_leaves_nothing_of_it() {
    let place = Place::new();
    // So much that it takes a while, and so little that it fits: zeros, and a file system need not keep them.
    let mut child = start(&place, "#!/bin/sh\ntruncate -s 1900M \"$1/large\"\n");
    until("it is packed", || {
        let mut names = fs::read_dir(place.directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.any(|name| name.to_str().unwrap().starts_with(".busbar-slug-")).then_some(())
    });
    interrupt(&child);
    ends(&place, &mut child, 130);
}
