//! What buildpacks keep from one build of an app to the next: one directory for each app, bounded.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use super::BuildError;

/// The cache of one app, held by one build.
#[derive(Debug)]
pub(super) struct Cache {
    pub(super) directory: PathBuf,
    _lock: File,
}

impl Cache {
    /// Takes it. `private`: what a build leaves there belongs to whoever builds, so nobody else may get at it: it could be a
    /// program with the set-user-ID bit.
    pub(super) fn take(directory: &Path, private: bool) -> Result<Self, BuildError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(BuildError::file("make the directory", directory))?;
        let found = fs::metadata(directory).map_err(BuildError::file("look at", directory))?;
        let ours = found.uid() == rustix::process::geteuid().as_raw();
        if private && (!ours || found.mode() & 0o077 != 0) {
            return Err(BuildError::OpenCache(directory.to_owned()));
        }
        let directory = fs::canonicalize(directory).map_err(BuildError::file("look at", directory))?;
        let lock = File::open(&directory).map_err(BuildError::file("open", &directory))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { directory, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(BuildError::Busy(directory)),
            Err(TryLockError::Error(source)) => Err(BuildError::file("lock", &directory)(source)),
        }
    }

    /// Empties it if more than `most` bytes are in it. Whether it did.
    pub(super) fn bound(&self, most: u64) -> Result<bool, BuildError> {
        let failed = |error| BuildError::file("empty", &self.directory)(error);
        if size_below(&self.directory, most).map_err(failed)? <= most {
            return Ok(false);
        }
        let emptied = fs::read_dir(&self.directory)
            .and_then(|mut entries| entries.try_for_each(|entry| remove(&entry?.path())));
        emptied.map_err(BuildError::file("empty", &self.directory)).map(|()| true)
    }
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// The bytes of all files; it stops counting beyond `most`. No symlink is followed.
fn size_below(directory: &Path, most: u64) -> io::Result<u64> {
    let (mut bytes, mut open) = (0_u64, vec![directory.to_owned()]);
    while let Some(next) = open.pop().filter(|_| bytes <= most) {
        for entry in fs::read_dir(next)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                open.push(entry.path());
            }
            // An empty file costs something too.
            bytes += metadata.len().max(512);
        }
    }
    Ok(bytes)
}
