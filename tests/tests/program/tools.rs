//! Programs of others that tests need: installed where that may be done, or said to be missing.

use std::{
    env, fs,
    process::{Command, Stdio},
};

use rustix::fs::{FlockOperation, flock};

use crate::wait::skipped;

/// Whether this program is here. If it is not, and we may, its Debian packages are installed; else the test is skipped, and
/// says so.
pub(crate) fn has(program: &str, packages: &[&str]) -> bool {
    if is_here(program) {
        return true;
    }
    if rustix::process::geteuid().is_root() && is_here("apt-get") {
        // One at a time, whatever else runs at once.
        let lock = fs::File::create(env::temp_dir().join("busbar-it-apt.lock")).expect("a file can be made");
        flock(&lock, FlockOperation::LockExclusive).expect("it can be locked");
        if is_here(program) || installs(packages) || (apt(&["update"]) && installs(packages)) {
            return true;
        }
    }
    skipped(&format!(
        "there is no {program}, and it cannot be installed: apt-get install {}",
        packages.join(" ")
    ));
    false
}

fn is_here(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

fn installs(packages: &[&str]) -> bool {
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(packages);
    apt(&arguments)
}

fn apt(arguments: &[&str]) -> bool {
    let mut apt = Command::new("apt-get");
    apt.args(["-o", "DPkg::Lock::Timeout=300", "-qq"]).args(arguments);
    apt.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).stdout(Stdio::null());
    apt.status().is_ok_and(|status| status.success())
}
