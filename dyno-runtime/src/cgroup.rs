//! Control groups: how a dyno is limited, counted, and killed as a whole.
//!
//! - [`Site::detect`] finds what the machine has: [`v1`] (also the hybrid form, with a bare unified hierarchy beside
//!   it) or [`v2`].
//! - [`Site::plan`] names a group, [`Cgroup`], without touching anything; so it can be written down first.
//! - [`Control`]: what can be done with a group, the same for both.
//! - [`Limits`]: what is limited. [`MemoryStat`], [`Pressures`]: what is counted. [`Disk`]: what `disk_rate` is about.
//!
//! A group is `busbar/<instance>/<leaf>` below the group this process is in, or below a given one. No group that this
//! library did not plan is ever changed.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

mod disk;
mod error;
mod files;
mod limits;
mod stat;
pub mod v1;
pub mod v2;

pub use self::{
    disk::Disk,
    error::{CgroupError, Deed},
    limits::{HARD_FACTOR, Limits},
    stat::{MemoryStat, Pressure, Pressures},
};

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

/// What a process is to a dyno: which controllers it comes under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The one that looks after the others: under all controllers but memory, so that the kernel never chooses it when
    /// the dyno needs too much.
    Init,
    /// The app's first process: under all of them.
    App,
}

/// What can be done with one group. All calls are short and do not wait.
pub trait Control {
    /// Makes the group and sets the limits, but for `disk_rate`: see [`Control::limit_disk`].
    ///
    /// # Errors
    /// The first file that refused; nothing is undone, so that [`Control::remove`] is still due.
    fn create(&self, limits: &Limits) -> Result<(), CgroupError>;
    /// Sets these limits while the dyno runs; where they say nothing, it stays as it is. May lower them and raise them.
    ///
    /// # Errors
    /// [`CgroupError::MemoryInUse`]: then the memory limit stays. Or a file that refused.
    fn update(&self, limits: &Limits) -> Result<(), CgroupError>;
    /// Limits reading and writing of `disk`, in bytes per second each.
    ///
    /// # Errors
    /// [`CgroupError::NoController`], or the kernel refused.
    fn limit_disk(&self, disk: Disk, rate: u64) -> Result<(), CgroupError>;
    /// The files to which a process with one thread writes `0`, in order, to be a member in that role. A process that was init and
    /// becomes the app does both, in that order.
    fn join_files(&self, role: Role) -> Vec<PathBuf>;
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
    /// What its memory consists of.
    fn memory(&self) -> Option<MemoryStat>;
    /// The most memory it ever had, in bytes, with page cache.
    fn memory_peak(&self) -> Option<u64>;
    /// CPU time it has used.
    fn cpu_time(&self) -> Option<Duration>;
    /// How many of its tasks run or wait for a CPU, at this moment.
    fn runnable(&self) -> Option<u32>;
    /// What it has waited for.
    fn pressures(&self) -> Pressures;
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
        let own = files::read(Path::new("/proc/self/cgroup"))?;
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

    /// Removes it, again and again for at most a second: it stays busy for a moment after its last process.
    ///
    /// # Errors
    /// What [`Control::remove`] says at last.
    pub async fn remove(&self) -> Result<(), CgroupError> {
        for _ in 0..50 {
            match self.control().remove() {
                Err(error) if error.is_busy() => tokio::time::sleep(Duration::from_millis(20)).await,
                done => return done,
            }
        }
        self.control().remove()
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

#[cfg(test)]
mod tests;
