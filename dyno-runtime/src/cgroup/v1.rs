//! Version 1, and the hybrid form: one hierarchy per controller; where there is a bare unified hierarchy beside them,
//! a group there gives `cgroup.kill`, CPU time and pressure.

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

/// Where groups can be made in each hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site(Group);

/// One group: the same leaf in each hierarchy. A hierarchy that is not there is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    memory: Option<PathBuf>,
    cpu: Option<PathBuf>,
    pids: Option<PathBuf>,
    #[serde(default)]
    blkio: Option<PathBuf>,
    unified: Option<PathBuf>,
}

impl Site {
    /// The hierarchies below `mount` in which this process has a place.
    pub(super) fn detect(mount: &Path, own: &str, below: &Path) -> Option<Self> {
        let hierarchy = |controller: &str| {
            let path = own_path(own, |_, controllers| controllers.split(',').any(|c| c == controller))?;
            let root = mount.join(controller);
            root.is_dir().then(|| own_directory(&root, path).join(below))
        };
        let unified = || {
            let path = own_path(own, |id, controllers| id == "0" && controllers.is_empty())?;
            let root = mount.join("unified");
            root.join("cgroup.procs").is_file().then(|| own_directory(&root, path).join(below))
        };
        let (memory, cpu, pids) = (hierarchy("memory"), hierarchy("cpu"), hierarchy("pids"));
        let any = memory.is_some() || cpu.is_some() || pids.is_some();
        any.then(|| Self(Group { memory, cpu, pids, blkio: hierarchy("blkio"), unified: unified() }))
    }

    pub(super) fn prepare(&self) -> Result<(), CgroupError> {
        self.0.directories().try_for_each(create)
    }

    pub(super) fn plan(&self, leaf: &str) -> Group {
        let in_it = |site: &Option<PathBuf>| site.as_ref().map(|site| site.join(leaf));
        let Group { memory, cpu, pids, blkio, unified } = &self.0;
        Group {
            memory: in_it(memory),
            cpu: in_it(cpu),
            pids: in_it(pids),
            blkio: in_it(blkio),
            unified: in_it(unified),
        }
    }

    pub(super) fn made(&self) -> Vec<PathBuf> {
        self.0.directories().map(Path::to_owned).collect()
    }
}

impl Group {
    fn directories(&self) -> impl Iterator<Item = &Path> {
        self.without_memory().chain(self.memory.as_deref())
    }

    fn without_memory(&self) -> impl Iterator<Item = &Path> {
        [&self.unified, &self.pids, &self.cpu, &self.blkio].into_iter().flatten().map(PathBuf::as_path)
    }

    /// With swap it may never be smaller than without, so the order depends on the direction.
    fn limit_memory(&self, bytes: u64) -> Result<(), CgroupError> {
        let memory = self.memory.as_ref().ok_or(CgroupError::NoController("memory"))?;
        let (plain, with_swap) =
            (memory.join("memory.limit_in_bytes"), memory.join("memory.memsw.limit_in_bytes"));
        let grows = number(&plain).is_some_and(|now| bytes > now);
        let files = if grows { [&with_swap, &plain] } else { [&plain, &with_swap] };
        for file in files {
            match write(file, &bytes.to_string()) {
                Err(error) if error.is_busy() => {
                    return Err(CgroupError::MemoryInUse { path: memory.clone(), limit: bytes });
                }
                // Without swap accounting there is no such file.
                Err(error) if error.is_gone() && *file == with_swap => {}
                written => written?,
            }
        }
        Ok(())
    }

    fn limit_cpu(&self, limits: &Limits) -> Result<(), CgroupError> {
        let cpu = || self.cpu.as_ref().ok_or(CgroupError::NoController("cpu"));
        if let Some(shares) = limits.cpu_shares {
            limit("cpu", &cpu()?.join("cpu.shares"), &shares.to_string())?;
        }
        if let Some(millis) = limits.cpu_millis {
            limit("cpu", &cpu()?.join("cpu.cfs_period_us"), &CPU_PERIOD.to_string())?;
            limit("cpu", &cpu()?.join("cpu.cfs_quota_us"), &cpu_quota(millis).to_string())?;
        }
        Ok(())
    }
}

impl Control for Group {
    fn create(&self, limits: &Limits) -> Result<(), CgroupError> {
        self.directories().try_for_each(create)?;
        self.update(limits)
    }

    fn update(&self, limits: &Limits) -> Result<(), CgroupError> {
        if let Some(bytes) = limits.hard_memory() {
            self.limit_memory(bytes)?;
        }
        self.limit_cpu(limits)?;
        if let Some(most) = limits.pids {
            let pids = self.pids.as_ref().ok_or(CgroupError::NoController("pids"))?;
            write(&pids.join("pids.max"), &most.to_string())?;
        }
        Ok(())
    }

    fn limit_disk(&self, disk: Disk, rate: u64) -> Result<(), CgroupError> {
        let blkio = self.blkio.as_ref().ok_or(CgroupError::NoController("disk"))?;
        for file in ["blkio.throttle.read_bps_device", "blkio.throttle.write_bps_device"] {
            limit("disk", &blkio.join(file), &format!("{disk} {rate}"))?;
        }
        Ok(())
    }

    fn join_files(&self, role: Role) -> Vec<PathBuf> {
        // Version 1 lets a thread move itself, for which nobody waits.
        let name = |directory: &Path| {
            if Some(directory) == self.unified.as_deref() { "cgroup.procs" } else { "tasks" }
        };
        let init = self.without_memory().map(|directory| directory.join(name(directory)));
        let memory = self.memory.iter().map(|memory| memory.join("tasks"));
        match role {
            Role::Init => init.collect(),
            Role::App => init.chain(memory).collect(),
        }
    }

    /// Of all hierarchies: a process that left one of them is still found by the others.
    fn members(&self) -> Result<Vec<Pid>, CgroupError> {
        let mut pids = Vec::new();
        for directory in self.directories() {
            pids.extend(ids(directory, "cgroup.procs")?);
        }
        pids.sort_unstable_by_key(|pid| pid.as_raw_pid());
        pids.dedup();
        Ok(pids)
    }

    fn kill(&self) -> Result<(), CgroupError> {
        if let Some(pids) = &self.pids {
            let _no_longer_there = write(&pids.join("pids.max"), "0");
        }
        if let Some(unified) = &self.unified {
            let _kernel_before_5_14 = write(&unified.join("cgroup.kill"), "1");
        }
        kill_each(&self.members()?);
        Ok(())
    }

    fn oom_kills(&self) -> u64 {
        self.memory.as_ref().map_or(0, |memory| stat::counter(&memory.join("memory.oom_control"), "oom_kill"))
    }

    fn memory(&self) -> Option<MemoryStat> {
        let text = read(&self.memory.as_ref()?.join("memory.stat")).ok()?;
        Some(memory(&text))
    }

    fn memory_peak(&self) -> Option<u64> {
        number(&self.memory.as_ref()?.join("memory.max_usage_in_bytes"))
    }

    fn cpu_time(&self) -> Option<Duration> {
        stat::cpu_time(self.unified.as_ref()?)
    }

    fn runnable(&self) -> Option<u32> {
        let by_thread = self.memory.as_deref().or(self.pids.as_deref())?;
        Some(stat::runnable(&ids(by_thread, "tasks").ok()?))
    }

    fn pressures(&self) -> Pressures {
        self.unified.as_deref().map(Pressures::of).unwrap_or_default()
    }

    fn remove(&self) -> Result<(), CgroupError> {
        self.directories().try_for_each(remove)
    }

    fn path(&self) -> &Path {
        self.directories().next().unwrap_or(Path::new(""))
    }
}

/// The lines that count the groups below too.
fn memory(text: &str) -> MemoryStat {
    let value = |key| stat::value(text, key);
    MemoryStat {
        rss: value("total_rss"),
        cache: value("total_cache"),
        shared: value("total_shmem"),
        swap: value("total_swap"),
        pages_in: value("total_pgpgin"),
        pages_out: value("total_pgpgout"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted_with_the_groups_below() {
        let text = "cache 1\nrss 2\ntotal_cache 41943040\ntotal_rss 62976000\ntotal_shmem 10485760\ntotal_swap 0\n\
                    total_pgpgin 25631\ntotal_pgpgout 7681\n";
        let stat = memory(text);
        assert_eq!((stat.rss, stat.cache, stat.shared), (62_976_000, 41_943_040, 10_485_760));
        assert_eq!((stat.swap, stat.pages_in, stat.pages_out), (0, 25_631, 7681));
    }
}
