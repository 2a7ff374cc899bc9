//! Programs of others that tests need: installed where that may be done, or said to be missing.

use std::{
    env, fs,
    path::{Path, PathBuf},
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

/// The program of a Python package in an environment of its own, which is made once per target directory. `None`: it cannot
/// be had here, and that is said.
pub(crate) fn of_python(package: &str, version: &str) -> Option<PathBuf> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{package}-{version}"));
    let program = place.join("bin").join(package);
    let lock = fs::File::create(place.with_extension("lock")).expect("a file can be made");
    flock(&lock, FlockOperation::LockExclusive).expect("it can be locked");
    if program.is_file() {
        return Some(program);
    }
    if !has("python3", &["python3"]) {
        return None;
    }
    let runs = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let here = place.display().to_string();
    let venv = || runs(Path::new("python3"), &["-m", "venv", "--clear", &here]);
    let made = venv() || (apt(&["install", "--yes", "python3-venv"]) && venv());
    let wanted = format!("{package}=={version}");
    if made && runs(&place.join("bin/pip"), &["install", "--quiet", &wanted]) && program.is_file() {
        return Some(program);
    }
    skipped(&format!("{package} cannot be installed: pip install {wanted}"));
    None
}
