//! The lock of one slug in a store: shared by who uses it, alone for who unpacks or removes it. The kernel gives it back
//! when its holder ends, however it ends.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    time::SystemTime,
};

use rustix::fs::{FlockOperation, flock};

use crate::slug::SlugError;

/// A lock that is held.
#[derive(Debug)]
pub(super) struct Held(File);

impl Held {
    /// Writes down that the slug is used now.
    pub(super) fn touch(&self) {
        let _next_time = self.0.set_modified(SystemTime::now());
    }

    /// When it was used last.
    pub(super) fn last_use(&self) -> io::Result<SystemTime> {
        self.0.metadata()?.modified()
    }
}

/// Waits until nobody holds it alone.
pub(super) fn lock_shared(path: &Path) -> Result<Held, SlugError> {
    wait(path, FlockOperation::LockShared)
}

/// Waits until nobody else holds it.
pub(super) fn lock_alone(path: &Path) -> Result<Held, SlugError> {
    wait(path, FlockOperation::LockExclusive)
}

/// The lock alone if nobody holds it, and if it is there.
pub(super) fn try_lock_alone(path: &Path) -> io::Result<Option<Held>> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(is_still_there(&file, path)?.then_some(Held(file))),
    }
}

fn wait(path: &Path, how: FlockOperation) -> Result<Held, SlugError> {
    let locked = || -> io::Result<Held> {
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)?;
            rustix::io::retry_on_intr(|| flock(&file, how))?;
            // Who removes a slug removes its lock: this may be one that nobody else will ever find.
            if is_still_there(&file, path)? {
                return Ok(Held(file));
            }
        }
    };
    locked().map_err(SlugError::file("lock", path))
}

fn is_still_there(file: &File, path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        found => Ok(found?.ino() == file.metadata()?.ino()),
    }
}
