//! Processes: where they run, what they cost, and that they end with us.
//!
//! - [`pin`]: this process on one core.
//! - [`child`]: children on a core of their own.
//! - [`usage`]: CPU time and memory of a process and all its descendants.

pub mod child;
pub mod usage;

use std::io;

use rustix::thread::{CpuSet, sched_setaffinity};

/// Keeps this thread, and every thread and process it starts from now on, on one core.
///
/// # Errors
/// There is no such core for us.
pub fn pin(core: usize) -> io::Result<()> {
    if core >= CpuSet::MAX_CPU {
        return Err(io::Error::other(format!("there is no core {core}")));
    }
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot run on core {core}: {error}")))
}
