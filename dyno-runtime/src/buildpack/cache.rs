//! What buildpacks keep from one build of an app to the next: one directory for each app, bounded.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, symlink},
    path::{Path, PathBuf},
};

use super::BuildError;
use crate::remove::remove_tree;

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

    /// Keeps what is in `from`, which may be the cache itself, if that is not more than `most` bytes; else nothing.
    /// Whether it kept it.
    pub(super) fn keep(&self, from: &Path, most: u64) -> Result<bool, BuildError> {
        // What cannot be counted is too much as well.
        let fits = size_below(from, most).is_ok_and(|bytes| bytes <= most);
        let elsewhere = from != self.directory;
        if elsewhere || !fits {
            self.empty().map_err(BuildError::file("empty", &self.directory))?;
        }
        if elsewhere && fits {
            copy_below(from, &self.directory)
                .map_err(BuildError::file("copy the cache to", &self.directory))?;
        }
        Ok(fits)
    }

    fn empty(&self) -> io::Result<()> {
        fs::read_dir(&self.directory)?.try_for_each(|entry| remove_tree(&entry?.path()))
    }
}

/// Copies the files, directories and symlinks of a directory into another one. No symlink is followed.
pub(super) fn copy_below(from: &Path, to: &Path) -> io::Result<()> {
    let mut open = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = open.pop() {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let (source, target) = (entry.path(), to.join(entry.file_name()));
            let kind = entry.file_type()?;
            if kind.is_dir() {
                fs::create_dir(&target)?;
                open.push((source, target));
            } else if kind.is_symlink() {
                symlink(fs::read_link(&source)?, &target)?;
            } else if kind.is_file() {
                fs::copy(&source, &target)?;
            }
        }
    }
    Ok(())
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
