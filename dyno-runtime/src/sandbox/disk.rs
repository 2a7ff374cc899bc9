//! A disk of a dyno's own, so that it fills that and no more: a file that grows up to a size, with a file system in it.
//!
//! The file has no name and the loop device clears itself: when the dyno's mounts are gone, so are both, however that came
//! about. Nothing has to be removed, and nothing can be left behind.
//!
//! Making a file system takes tens of milliseconds, so some are made ahead ([`Disks`]).

use std::{
    collections::VecDeque,
    fs::{self, File},
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::{
    root::{NODEV, NOSUID, file_system},
    sys,
};

/// So many are made ahead.
const AHEAD: usize = 2;
/// No file system fits into less, in bytes.
pub(crate) const LEAST: u64 = 8 << 20;

/// An empty disk: a loop device that clears itself when it is neither open nor mounted.
#[derive(Debug)]
pub(crate) struct Disk {
    /// The device's path.
    pub(crate) device: PathBuf,
    /// Keeps it until it is mounted.
    _open: OwnedFd,
}

/// Disks of one size, some of them made ahead.
#[derive(Debug, Clone)]
pub(crate) struct Disks {
    size: u64,
    directory: PathBuf,
    made: Arc<Mutex<VecDeque<Disk>>>,
}

impl Disks {
    /// Disks of `size` bytes, whose files are in `directory`. The first ones are made now.
    ///
    /// # Errors
    /// No disk can be made here.
    pub(crate) fn open(size: u64, directory: &Path) -> io::Result<Self> {
        if size < LEAST {
            return Err(io::Error::other(format!("a disk has at least {LEAST} bytes")));
        }
        let disks = Self { size, directory: directory.to_owned(), made: Arc::default() };
        disks.refill()?;
        Ok(disks)
    }

    /// One of them. Blocks while it is made, if none is left.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn take(&self) -> io::Result<Disk> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        made.map_or_else(|| Disk::make(&self.directory, self.size), Ok)
    }

    /// Makes some ahead. Blocks.
    ///
    /// # Errors
    /// One cannot be made.
    pub(crate) fn refill(&self) -> io::Result<()> {
        let count = || self.made.lock().unwrap_or_else(PoisonError::into_inner).len();
        while count() < AHEAD {
            let disk = Disk::make(&self.directory, self.size)?;
            self.made.lock().unwrap_or_else(PoisonError::into_inner).push_back(disk);
        }
        Ok(())
    }
}

impl Disk {
    /// Its file system, mounted nowhere: whoever holds this sees it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn mount(&self) -> io::Result<OwnedFd> {
        let source = self.device.to_string_lossy();
        file_system(c"ext4", &[("source", &source)], NOSUID | NODEV)
    }

    fn make(directory: &Path, size: u64) -> io::Result<Self> {
        let file = openat(
            CWD,
            directory,
            OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC,
            Mode::from_raw_mode(0o600),
        )?;
        let file = File::from(file);
        file.set_len(size)?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        // Nobody needs a journal for what ends with the dyno; nothing is reserved for root, who does not write there.
        let settings =
            ["-q", "-F", "-m", "0", "-O", "^has_journal,^resize_inode", "-E", "lazy_itable_init=1,nodiscard"];
        let mut command = Command::new("mkfs.ext4");
        command.args(settings).arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        if let Some(mut path) = std::env::var_os("PATH") {
            path.push(":/usr/sbin:/sbin");
            command.env_clear().env("PATH", path);
        }
        let made =
            command.output().map_err(|error| io::Error::new(error.kind(), format!("mkfs.ext4: {error}")))?;
        if !made.status.success() {
            let said = String::from_utf8_lossy(&made.stderr);
            return Err(io::Error::other(format!("mkfs.ext4: {}", said.trim())));
        }
        let (device, open) = sys::attach_loop(&file)?;
        Ok(Self { device, _open: open })
    }
}

/// Whether a disk can be made.
pub(super) fn trial() -> Result<String, String> {
    let directory = std::env::temp_dir();
    let made = fs::metadata(&directory).and_then(|_| Disk::make(&directory, LEAST));
    made.map(|disk| format!("by {}, mkfs.ext4", disk.device.display())).map_err(|error| error.to_string())
}
