//! Version 1, and the hybrid form: one hierarchy per controller; where there is a bare unified hierarchy beside them,
//! a group there gives `cgroup.kill`.

use std::path::{Path, PathBuf};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::{
    CgroupError, Control, Limits, counter, create, is_gone, kill_each, members, own_directory, own_path,
    read, remove, write,
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
        any.then(|| Self(Group { memory, cpu, pids, unified: unified() }))
    }

    pub(super) fn prepare(&self) -> Result<(), CgroupError> {
        self.0.directories().try_for_each(create)
    }

    pub(super) fn plan(&self, leaf: &str) -> Group {
        let in_it = |site: &Option<PathBuf>| site.as_ref().map(|site| site.join(leaf));
        let Group { memory, cpu, pids, unified } = &self.0;
        Group { memory: in_it(memory), cpu: in_it(cpu), pids: in_it(pids), unified: in_it(unified) }
    }

    pub(super) fn made(&self) -> Vec<PathBuf> {
        self.0.directories().map(Path::to_owned).collect()
    }
}

impl Group {
    fn directories(&self) -> impl Iterator<Item = &Path> {
        [&self.unified, &self.pids, &self.memory, &self.cpu].into_iter().flatten().map(PathBuf::as_path)
    }

    fn limit_memory(&self, bytes: u64) -> Result<(), CgroupError> {
        let memory = self.memory.as_ref().ok_or(CgroupError::NoController("memory"))?;
        let value = bytes.to_string();
        write(&memory.join("memory.limit_in_bytes"), &value)?;
        // Only after the limit: with swap it may not be smaller. Without swap accounting there is no such file.
        match write(&memory.join("memory.memsw.limit_in_bytes"), &value) {
            Err(error) if !is_gone(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

impl Control for Group {
    fn create(&self, limits: &Limits) -> Result<(), CgroupError> {
        self.directories().try_for_each(create)?;
        if let Some(bytes) = limits.memory {
            self.limit_memory(bytes)?;
        }
        if let Some(shares) = limits.cpu_shares {
            let cpu = self.cpu.as_ref().ok_or(CgroupError::NoController("cpu"))?;
            write(&cpu.join("cpu.shares"), &shares.to_string())?;
        }
        if let Some(most) = limits.pids {
            let pids = self.pids.as_ref().ok_or(CgroupError::NoController("pids"))?;
            write(&pids.join("pids.max"), &most.to_string())?;
        }
        Ok(())
    }

    fn join_files(&self) -> Vec<PathBuf> {
        self.directories().map(|directory| directory.join("cgroup.procs")).collect()
    }

    /// Of all hierarchies: a process that left one of them is still found by the others.
    fn members(&self) -> Result<Vec<Pid>, CgroupError> {
        let mut pids = Vec::new();
        for directory in self.directories() {
            pids.extend(members(directory)?);
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
        self.memory.as_ref().map_or(0, |memory| counter(&memory.join("memory.oom_control"), "oom_kill "))
    }

    fn memory(&self) -> Option<u64> {
        read(&self.memory.as_ref()?.join("memory.usage_in_bytes")).ok()?.trim().parse().ok()
    }

    fn remove(&self) -> Result<(), CgroupError> {
        self.directories().try_for_each(remove)
    }

    fn path(&self) -> &Path {
        self.directories().next().unwrap_or(Path::new(""))
    }
}
