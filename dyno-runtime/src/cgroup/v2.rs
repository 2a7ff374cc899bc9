//! Version 2: one hierarchy with all controllers.
//!
//! A group whose members are processes cannot hand controllers to groups below it. So, where this process's own group
//! is to hold the dynos, this process first moves into a group `supervisor` beside them.

use std::path::{Path, PathBuf};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::{
    CgroupError, Control, Limits, counter, create, is_gone, kill_each, members, own_directory, own_path,
    read, remove, write,
};

const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];

/// Where groups can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    own: PathBuf,
    instance: PathBuf,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group(PathBuf);

impl Site {
    /// Whether `mount` is the unified hierarchy with controllers.
    pub(super) fn detect(mount: &Path, own: &str, below: &Path) -> Option<Self> {
        let has_controllers = !read(&mount.join("cgroup.controllers")).ok()?.trim().is_empty();
        let path = own_path(own, |id, controllers| id == "0" && controllers.is_empty())?;
        let own = own_directory(mount, path);
        has_controllers.then(|| Self { instance: own.join(below), own })
    }

    /// Makes the instance's group and hands the controllers down to it.
    pub(super) fn prepare(&self) -> Result<(), CgroupError> {
        if let Err(busy) = hand_down(&self.own) {
            let aside = self.own.join("supervisor");
            create(&aside)?;
            write(&aside.join("cgroup.procs"), "0")?;
            if hand_down(&self.own).is_err() {
                // Others are in our group too: it is not ours to reorganise.
                let _best_effort = write(&self.own.join("cgroup.procs"), "0").and_then(|()| remove(&aside));
                return Err(busy);
            }
        }
        create(&self.instance)?;
        self.instance.parent().map_or(Ok(()), hand_down)?;
        hand_down(&self.instance)
    }

    pub(super) fn plan(&self, leaf: &str) -> Group {
        Group(self.instance.join(leaf))
    }

    pub(super) fn made(&self) -> Vec<PathBuf> {
        vec![self.instance.clone()]
    }
}

/// Lets the groups below have the controllers that this one has.
fn hand_down(group: &Path) -> Result<(), CgroupError> {
    let available = read(&group.join("cgroup.controllers"))?;
    let wanted = CONTROLLERS.iter().filter(|c| available.split_whitespace().any(|a| a == **c));
    let wanted: Vec<String> = wanted.map(|controller| format!("+{controller}")).collect();
    write(&group.join("cgroup.subtree_control"), &wanted.join(" "))
}

/// Version 1's shares (2 to 262144, ordinarily 1024) as version 2's weight (1 to 10000).
fn weight(shares: u32) -> u64 {
    1 + (u64::from(shares.clamp(2, 262_144)) - 2) * 9999 / 262_142
}

impl Group {
    fn limit(&self, what: &'static str, file: &str, value: &str) -> Result<(), CgroupError> {
        match write(&self.0.join(file), value) {
            Err(error) if is_gone(&error) => Err(CgroupError::NoController(what)),
            written => written,
        }
    }
}

impl Control for Group {
    fn create(&self, limits: &Limits) -> Result<(), CgroupError> {
        create(&self.0)?;
        if let Some(bytes) = limits.memory {
            self.limit("memory", "memory.max", &bytes.to_string())?;
            // Without swap there is no such file, and nothing to limit. A dyno dies whole.
            let _no_swap = write(&self.0.join("memory.swap.max"), "0");
            self.limit("memory", "memory.oom.group", "1")?;
        }
        if let Some(shares) = limits.cpu_shares {
            self.limit("cpu", "cpu.weight", &weight(shares).to_string())?;
        }
        if let Some(most) = limits.pids {
            self.limit("pids", "pids.max", &most.to_string())?;
        }
        Ok(())
    }

    fn join_files(&self) -> Vec<PathBuf> {
        vec![self.0.join("cgroup.procs")]
    }

    fn members(&self) -> Result<Vec<Pid>, CgroupError> {
        members(&self.0)
    }

    fn kill(&self) -> Result<(), CgroupError> {
        let _no_controller = write(&self.0.join("pids.max"), "0");
        match write(&self.0.join("cgroup.kill"), "1") {
            Ok(()) => Ok(()),
            Err(_kernel_before_5_14) => {
                kill_each(&self.members()?);
                Ok(())
            }
        }
    }

    fn oom_kills(&self) -> u64 {
        counter(&self.0.join("memory.events"), "oom_kill ")
    }

    fn memory(&self) -> Option<u64> {
        read(&self.0.join("memory.current")).ok()?.trim().parse().ok()
    }

    fn remove(&self) -> Result<(), CgroupError> {
        remove(&self.0)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::weight;

    #[test]
    fn shares_become_weights_as_systemd_and_runc_convert_them() {
        assert_eq!([2, 1024, 262_144, 0].map(weight), [1, 39, 10_000, 1]);
    }
}
