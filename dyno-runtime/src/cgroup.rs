//! Control groups: how a dyno is limited, counted, and killed as a whole.
//!
//! - [`Site::detect`] finds what the machine has: [`v1`] (also the hybrid form, with a bare unified hierarchy beside
//!   it) or [`v2`].
//! - [`Site::plan`] names a group, [`Cgroup`], without touching anything; so it can be written down first.
//! - [`Control`]: what can be done with a group, the same for both.
//!
//! A group is `busbar/<instance>/<leaf>` below the group this process is in, or below a given one. No group that this
//! library did not plan is ever changed.

use std::{
    fmt, fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

pub mod v1;
pub mod v2;

/// What a dyno may use. `None`: as much as there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Memory and swap together, in bytes. A dyno that needs more is killed by the kernel.
    pub memory: Option<u64>,
    /// Its share of the CPU when that is scarce, relative to others; 1024 is an ordinary share (2 to 262144).
    pub cpu_shares: Option<u32>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

/// What happens when limits cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Enforcement {
    /// The dynos run without limits, after one clear warning.
    #[default]
    BestEffort,
    /// Nothing runs: starting fails.
    Required,
    /// No groups are made at all.
    Off,
}

/// Why something could not be done with a control group.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A file or directory refused.
    #[error("cannot {deed} {path}: {source}; {}", advice(.source))]
    File {
        /// What was tried.
        deed: Deed,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is nothing to work with.
    #[error("there is no usable cgroup hierarchy below {}; mount cgroup v2 there, or v1 memory, cpu and pids", .0.display())]
    None(PathBuf),
    /// A limit was asked for that no controller can keep.
    #[error("cannot limit {0}: the machine has no cgroup controller for it; enable it or do not limit {0}")]
    NoController(&'static str),
    /// Processes did not go away.
    #[error("{path} still has processes {waited:?} after SIGKILL; it is left behind", path = .path.display())]
    StillPopulated {
        /// The group.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
}

/// What was tried with a file of a control group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Read it.
    Read,
    /// Make the directory.
    Create,
    /// Write to it.
    Write,
    /// Remove the directory.
    Remove,
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Create => "create cgroup",
            Self::Write => "write to",
            Self::Remove => "remove cgroup",
        })
    }
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "run as root, or in a cgroup that is delegated to you (systemd: Delegate=yes)"
        }
        io::ErrorKind::ReadOnlyFilesystem => "mount the cgroup file system read-write",
        io::ErrorKind::NotFound => "enable the controller, or mount its hierarchy",
        io::ErrorKind::ResourceBusy => "it is in use by other processes",
        io::ErrorKind::InvalidInput => "the kernel does not accept this value",
        _ => "see cgroups(7)",
    }
}

/// What can be done with one group. All calls are short and do not wait, except where they say so.
pub trait Control {
    /// Makes the group and sets the limits.
    ///
    /// # Errors
    /// The first file that refused; nothing is undone, so that [`Control::remove`] is still due.
    fn create(&self, limits: &Limits) -> Result<(), CgroupError>;
    /// The files a process writes `0` to, in order, to become a member.
    fn join_files(&self) -> Vec<PathBuf>;
    /// Its member processes, also those of groups below it.
    ///
    /// # Errors
    /// When a file cannot be read; a group that does not exist has no members.
    fn members(&self) -> Result<Vec<Pid>, CgroupError>;
    /// Sends SIGKILL to each member, and sees to it that no new one comes. One round: call again until there are none.
    ///
    /// # Errors
    /// When the members cannot be found out.
    fn kill(&self) -> Result<(), CgroupError>;
    /// How many members the kernel has killed for want of memory.
    fn oom_kills(&self) -> u64;
    /// Memory in use, in bytes, with page cache.
    fn memory(&self) -> Option<u64>;
    /// Removes the group and those below it. One attempt.
    ///
    /// # Errors
    /// When a directory stays; "busy" goes away soon after the last member.
    fn remove(&self) -> Result<(), CgroupError>;
    /// A directory to name in messages.
    fn path(&self) -> &Path;
}

/// Where groups can be made on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Site {
    /// Version 1, or the hybrid form.
    V1(v1::Site),
    /// Version 2.
    V2(v2::Site),
}

/// One planned group. It is written into the state directory, so that a later runtime can find and remove it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cgroup {
    /// Version 1, or the hybrid form.
    V1(v1::Group),
    /// Version 2.
    V2(v2::Group),
}

impl Site {
    /// Finds out where groups for `instance` can be made.
    ///
    /// `mount` is where the hierarchies are mounted (`/sys/fs/cgroup`), `own` the text of `/proc/self/cgroup`.
    ///
    /// # Errors
    /// [`CgroupError::None`].
    pub fn detect(mount: &Path, own: &str, instance: &str) -> Result<Self, CgroupError> {
        let below = Path::new("busbar").join(instance);
        let v2 = || v2::Site::detect(mount, own, &below).map(Self::V2);
        let v1 = || v1::Site::detect(mount, own, &below).map(Self::V1);
        v2().or_else(v1).ok_or_else(|| CgroupError::None(mount.to_owned()))
    }

    /// The same for this process on this machine.
    ///
    /// # Errors
    /// [`CgroupError::None`], or `/proc` cannot be read.
    pub fn here(instance: &str) -> Result<Self, CgroupError> {
        let own = read(Path::new("/proc/self/cgroup"))?;
        Self::detect(Path::new("/sys/fs/cgroup"), &own, instance)
    }

    /// Makes the directory that the groups will be in.
    ///
    /// # Errors
    /// When that is not allowed: then no group can be made here.
    pub fn prepare(&self) -> Result<(), CgroupError> {
        match self {
            Self::V1(site) => site.prepare(),
            Self::V2(site) => site.prepare(),
        }
    }

    /// Names a group. Nothing is touched.
    pub fn plan(&self, leaf: &str) -> Cgroup {
        match self {
            Self::V1(site) => Cgroup::V1(site.plan(leaf)),
            Self::V2(site) => Cgroup::V2(site.plan(leaf)),
        }
    }

    /// Removes what [`Site::prepare`] made, where nothing is in it any more.
    pub fn tidy(&self) {
        let made = match self {
            Self::V1(site) => site.made(),
            Self::V2(site) => site.made(),
        };
        for instance in made {
            let _in_use =
                fs::remove_dir(&instance).and_then(|()| instance.parent().map_or(Ok(()), fs::remove_dir));
        }
    }
}

impl Cgroup {
    /// What can be done with it.
    pub fn control(&self) -> &dyn Control {
        match self {
            Self::V1(group) => group,
            Self::V2(group) => group,
        }
    }
}

/// The path of this process in the hierarchy that `is_it` recognises by its id and controllers.
fn own_path(own: &str, is_it: impl Fn(&str, &str) -> bool) -> Option<&str> {
    own.lines().find_map(|line| {
        let (id, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        is_it(id, controllers).then_some(path)
    })
}

/// The directory of this process below the mount point `hierarchy`. In a container its own group can be mounted as the
/// root, and the path then leads nowhere.
fn own_directory(hierarchy: &Path, path: &str) -> PathBuf {
    let own = hierarchy.join(path.trim_start_matches('/'));
    if own.is_dir() { own } else { hierarchy.to_owned() }
}

fn failed(deed: Deed, path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    move |source| CgroupError::File { deed, path: path.to_owned(), source }
}

fn read(path: &Path) -> Result<String, CgroupError> {
    fs::read_to_string(path).map_err(failed(Deed::Read, path))
}

/// One `write(2)`: the kernel takes a value whole or refuses it.
fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    let written =
        fs::OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(value.as_bytes()));
    written.map_err(failed(Deed::Write, path))
}

/// Makes a directory and those above it. Another instance may remove an empty one above it at the same time.
fn create(path: &Path) -> Result<(), CgroupError> {
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
fn remove(path: &Path) -> Result<(), CgroupError> {
    for below in groups_below(path) {
        remove(&below)?;
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(Deed::Remove, path)(error)),
        _ => Ok(()),
    }
}

/// The members of a group and of those below it.
fn members(path: &Path) -> Result<Vec<Pid>, CgroupError> {
    let mut pids = match read(&path.join("cgroup.procs")) {
        Ok(text) => text.lines().filter_map(|line| line.parse().ok().and_then(Pid::from_raw)).collect(),
        Err(error) if is_gone(&error) => vec![],
        Err(error) => return Err(error),
    };
    for below in groups_below(path) {
        pids.extend(members(&below)?);
    }
    Ok(pids)
}

fn groups_below(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Whether the group disappeared meanwhile (ENOENT, or ENODEV on a file that was open).
fn is_gone(error: &CgroupError) -> bool {
    let gone = [rustix::io::Errno::NOENT, rustix::io::Errno::NODEV].map(|errno| Some(errno.raw_os_error()));
    matches!(error, CgroupError::File { source, .. } if gone.contains(&source.raw_os_error()))
}

/// The number after `key` in a file of `key number` lines.
fn counter(path: &Path, key: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
    value.unwrap_or(0)
}

fn kill_each(pids: &[Pid]) {
    for pid in pids {
        // A process that is gone already is what was wanted.
        let _gone = rustix::process::kill_process(*pid, rustix::process::Signal::KILL);
    }
}

#[cfg(test)]
mod tests;
