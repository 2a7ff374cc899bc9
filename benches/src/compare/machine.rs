//! Where something is measured.

use std::fs;

use rustix::{
    process::{Resource, getrlimit},
    thread::{CpuSet, sched_getaffinity},
};

use crate::results::Machine;

/// This machine, and which of its cores are used for what: the first two this process may use.
pub(super) fn describe() -> Machine {
    let cores = cores();
    let proxy_core = cores.first().copied().unwrap_or(0);
    Machine {
        cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        cores: cores.len(),
        memory_bytes: field("/proc/meminfo", "MemTotal")
            .and_then(|size| size.strip_suffix("kB")?.trim().parse::<u64>().ok())
            .map_or(0, |kib| kib * 1024),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        open_files: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
        proxy_core,
        load_core: cores.get(1).copied().unwrap_or(proxy_core),
    }
}

fn cores() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
