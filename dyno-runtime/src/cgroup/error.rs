//! Why something could not be done with a control group.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

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
    /// The dyno uses more than the new limit, and cannot give it back. Its limit stays as it was.
    #[error("{} uses more than {limit} bytes of memory, so its limit stays; restart the dyno to lower it", path.display())]
    MemoryInUse {
        /// The group.
        path: PathBuf,
        /// What was asked for.
        limit: u64,
    },
    /// No disk holds the directory, as far as the machine can tell: it is in memory, in a network, or put together.
    #[error("cannot limit the disk of {}: it is on no disk of its own; do not limit it, or put the app on a disk", .0.display())]
    NoDisk(PathBuf),
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

impl CgroupError {
    /// Whether something is in use that has to go first.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.kind() == io::ErrorKind::ResourceBusy)
    }

    /// Whether the group disappeared meanwhile (ENOENT, or ENODEV on a file that was open).
    pub(super) fn is_gone(&self) -> bool {
        let gone =
            [rustix::io::Errno::NOENT, rustix::io::Errno::NODEV].map(|errno| Some(errno.raw_os_error()));
        matches!(self, Self::File { source, .. } if gone.contains(&source.raw_os_error()))
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
        io::ErrorKind::StorageFull => "the machine has as many cgroups as it allows; remove some",
        _ => "see cgroups(7)",
    }
}

pub(super) fn failed(deed: Deed, path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    move |source| CgroupError::File { deed, path: path.to_owned(), source }
}
