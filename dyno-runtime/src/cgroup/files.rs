//! Files and directories of control groups: each call is one deed with one error.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use rustix::process::Pid;

use super::error::{CgroupError, Deed, failed};

pub(super) fn read(path: &Path) -> Result<String, CgroupError> {
    fs::read_to_string(path).map_err(failed(Deed::Read, path))
}

/// The number that is all of a file; `None` when there is no such file, or it says `max`.
pub(super) fn number(path: &Path) -> Option<u64> {
    read(path).ok()?.trim().parse().ok()
}

/// One `write(2)`: the kernel takes a value whole or refuses it.
pub(super) fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    let written =
        fs::OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(value.as_bytes()));
    written.map_err(failed(Deed::Write, path))
}

/// The same for a file that is there only with the controller for `what`.
pub(super) fn limit(what: &'static str, path: &Path, value: &str) -> Result<(), CgroupError> {
    match write(path, value) {
        Err(error) if error.is_gone() => Err(CgroupError::NoController(what)),
        written => written,
    }
}

/// Makes a directory and those above it. Another instance may remove an empty one above it at the same time.
pub(super) fn create(path: &Path) -> Result<(), CgroupError> {
    let mut made = fs::create_dir_all(path);
    for _ in 0..5 {
        match &made {
            Err(error) if error.kind() == io::ErrorKind::NotFound => made = fs::create_dir_all(path),
            _ => break,
        }
    }
    made.map_err(failed(Deed::Create, path))
}

/// Removes a group and those below it, deepest first. One that is not there is removed already.
pub(super) fn remove(path: &Path) -> Result<(), CgroupError> {
    for below in groups_below(path) {
        remove(&below)?;
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(Deed::Remove, path)(error)),
        _ => Ok(()),
    }
}

/// The numbers in a file such as `cgroup.procs` of a group and of those below it. One that is gone has none.
pub(super) fn ids(path: &Path, file: &str) -> Result<Vec<Pid>, CgroupError> {
    let mut ids: Vec<Pid> = match read(&path.join(file)) {
        Ok(text) => text.lines().filter_map(|line| line.parse().ok().and_then(Pid::from_raw)).collect(),
        Err(error) if error.is_gone() => vec![],
        Err(error) => return Err(error),
    };
    for below in groups_below(path) {
        ids.extend(self::ids(&below, file)?);
    }
    Ok(ids)
}

fn groups_below(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

pub(super) fn kill_each(pids: &[Pid]) {
    for pid in pids {
        // A process that is gone already is what was wanted.
        let _gone = rustix::process::kill_process(*pid, rustix::process::Signal::KILL);
    }
}
