//! Version 2: one hierarchy with all controllers.
//!
//! A group whose members are processes cannot hand controllers to groups below it. So, where this process's own group
//! is to hold the dynos, this process first moves into a group `supervisor` beside them; and a dyno's group holds two:
//! `init`, and `app`, which alone is limited in memory.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::{
    CgroupError, Control, Disk, Limits, MemoryStat, Pressures, Role,
    files::{create, ids, kill_each, limit, number, read, remove, write},
    limits::{CPU_PERIOD, cpu_quota},
    own_directory, own_path, stat,
};

const CONTROLLERS: [&str; 4] = ["memory", "cpu", "pids", "io"];

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
        if let Err(busy) = hand_down(&self.own, &CONTROLLERS) {
            let aside = self.own.join("supervisor");
            create(&aside)?;
            write(&aside.join("cgroup.procs"), "0")?;
            if hand_down(&self.own, &CONTROLLERS).is_err() {
                // Others are in our group too: it is not ours to reorganise.
                let _best_effort = write(&self.own.join("cgroup.procs"), "0").and_then(|()| remove(&aside));
                return Err(busy);
            }
        }
        create(&self.instance)?;
        self.instance.parent().map_or(Ok(()), |parent| hand_down(parent, &CONTROLLERS))?;
        hand_down(&self.instance, &CONTROLLERS)
    }

    pub(super) fn plan(&self, leaf: &str) -> Group {
        Group(self.instance.join(leaf))
    }

    pub(super) fn made(&self) -> Vec<PathBuf> {
        vec![self.instance.clone()]
    }
}

/// Lets the groups below have those of the controllers that this one has.
fn hand_down(group: &Path, controllers: &[&str]) -> Result<(), CgroupError> {
    let available = read(&group.join("cgroup.controllers"))?;
    let wanted = controllers.iter().filter(|c| available.split_whitespace().any(|a| a == **c));
    let wanted: Vec<String> = wanted.map(|controller| format!("+{controller}")).collect();
    write(&group.join("cgroup.subtree_control"), &wanted.join(" "))
}

/// Version 1's shares (2 to 262144, ordinarily 1024) as version 2's weight (1 to 10000).
fn weight(shares: u32) -> u64 {
    1 + (u64::from(shares.clamp(2, 262_144)) - 2) * 9999 / 262_142
}

impl Group {
    fn app(&self) -> PathBuf {
        self.0.join("app")
    }

    /// The kernel would take a limit below what is in use, and kill: so that is asked first.
    fn limit_memory(&self, bytes: u64) -> Result<(), CgroupError> {
        if self.memory().is_some_and(|memory| memory.used() > bytes) {
            return Err(CgroupError::MemoryInUse { path: self.app(), limit: bytes });
        }
        limit("memory", &self.app().join("memory.max"), &bytes.to_string())?;
        // Without swap there is no such file, and nothing to limit.
        let _no_swap = write(&self.app().join("memory.swap.max"), "0");
        // A dyno dies whole.
        limit("memory", &self.app().join("memory.oom.group"), "1")
    }
}

impl Control for Group {
    fn create(&self, limits: &Limits) -> Result<(), CgroupError> {
        [self.0.join("init"), self.app()].iter().try_for_each(|group| create(group))?;
        hand_down(&self.0, &["memory"])?;
        self.update(limits)
    }

    fn update(&self, limits: &Limits) -> Result<(), CgroupError> {
        if let Some(bytes) = limits.hard_memory() {
            self.limit_memory(bytes)?;
        }
        if let Some(shares) = limits.cpu_shares {
            limit("cpu", &self.0.join("cpu.weight"), &weight(shares).to_string())?;
        }
        if let Some(millis) = limits.cpu_millis {
            let value = format!("{} {CPU_PERIOD}", cpu_quota(millis));
            limit("cpu", &self.0.join("cpu.max"), &value)?;
        }
        if let Some(most) = limits.pids {
            limit("pids", &self.0.join("pids.max"), &most.to_string())?;
        }
        Ok(())
    }

    fn limit_disk(&self, disk: Disk, rate: u64) -> Result<(), CgroupError> {
        limit("disk", &self.0.join("io.max"), &format!("{disk} rbps={rate} wbps={rate}"))
    }

    fn join_files(&self, role: Role) -> Vec<PathBuf> {
        let below = match role {
            Role::Init => "init",
            Role::App => "app",
        };
        vec![self.0.join(below).join("cgroup.procs")]
    }

    fn members(&self) -> Result<Vec<Pid>, CgroupError> {
        ids(&self.0, "cgroup.procs")
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
        stat::counter(&self.app().join("memory.events"), "oom_kill")
    }

    fn memory(&self) -> Option<MemoryStat> {
        let text = read(&self.app().join("memory.stat")).ok()?;
        let swap = number(&self.app().join("memory.swap.current")).unwrap_or(0);
        Some(memory(&text, swap))
    }

    fn memory_peak(&self) -> Option<u64> {
        number(&self.app().join("memory.peak"))
    }

    fn cpu_time(&self) -> Option<Duration> {
        stat::cpu_time(&self.0)
    }

    fn runnable(&self) -> Option<u32> {
        Some(stat::runnable(&ids(&self.app(), "cgroup.threads").ok()?))
    }

    fn pressures(&self) -> Pressures {
        Pressures::of(&self.0)
    }

    fn remove(&self) -> Result<(), CgroupError> {
        remove(&self.0)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

fn memory(text: &str, swap: u64) -> MemoryStat {
    let value = |key| stat::value(text, key);
    MemoryStat {
        rss: value("anon"),
        cache: value("file"),
        shared: value("shmem"),
        swap,
        pages_in: value("pgpgin"),
        pages_out: value("pgpgout"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_as_systemd_and_runc_convert_them() {
        assert_eq!([2, 1024, 262_144, 0].map(weight), [1, 39, 10_000, 1]);
    }

    #[test]
    fn version_2_has_other_words_for_the_same_memory() {
        let stat = memory("anon 5\nfile 7\nanon_thp 1\nshmem 2\n", 3);
        assert_eq!((stat.rss, stat.cache, stat.shared, stat.swap, stat.pages_in), (5, 7, 2, 3, 0));
    }
}
