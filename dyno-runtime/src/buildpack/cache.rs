//! What buildpacks keep from one build of an app to the next: one directory for each app, bounded.
//!
//! ```text
//! <cache>/        what buildpacks see
//! <cache>.open    there while it is written: a build that was not done has left it, and the next one empties the cache
//! ```

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
    lock: File,
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
            Ok(()) => Ok(Self { directory, lock }),
            Err(TryLockError::WouldBlock) => Err(BuildError::Busy(directory)),
            Err(TryLockError::Error(source)) => Err(BuildError::file("lock", &directory)(source)),
        }
    }

    /// Empties it if a build that was not done had begun to write there. Whether it did. Nothing of such a build may run any
    /// more.
    pub(super) fn recover(&self) -> Result<bool, BuildError> {
        let was_open = self.mark().try_exists().map_err(BuildError::file("look at", self.mark()))?;
        if was_open {
            self.empty().map_err(BuildError::file("empty", &self.directory))?;
            self.done().map_err(BuildError::file("remove", self.mark()))?;
        }
        Ok(was_open)
    }

    /// From now on it is written, until [`Self::keep`].
    pub(super) fn begin(&self) -> io::Result<()> {
        File::create(self.mark())?.sync_all()?;
        match self.mark().parent() {
            Some(beside) => File::open(beside)?.sync_all(),
            None => Ok(()),
        }
    }

    fn done(&self) -> io::Result<()> {
        fs::remove_file(self.mark()).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })
    }

    fn mark(&self) -> PathBuf {
        let mut mark = self.directory.clone().into_os_string();
        mark.push(".open");
        mark.into()
    }

    /// Keeps what is in `from`, which may be the cache itself, after [`Self::begin`], if that is not more than `most` bytes; else nothing.
    /// Whether it kept it.
    ///
    /// # Errors
    /// Then it is empty, or the next build empties it.
    pub(super) fn keep(&self, from: &Path, most: u64) -> io::Result<bool> {
        // What cannot be counted is too much as well.
        let fits = size_below(from, most).is_ok_and(|bytes| bytes <= most);
        if from != self.directory {
            self.empty()?;
            if let Err(error) = if fits { copy_below(from, &self.directory) } else { Ok(()) } {
                self.empty()?;
                self.done()?;
                return Err(error);
            }
        } else if !fits {
            self.empty()?;
        }
        // The mark is not to be gone while what is there is not on the disk.
        rustix::fs::syncfs(&self.lock)?;
        self.done()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
        entries.map(|name| name.into_string().unwrap()).collect()
    }

    #[test]
    fn a_cache_that_cannot_be_copied_whole_is_empty() {
        let place = tempfile::tempdir().unwrap();
        // Its names are a little too long for paths in a longer directory.
        let (new, old) = (place.path().join("new"), place.path().join("o".repeat(250)));
        let mut deep = new.clone();
        while deep.as_os_str().len() < 3_900 {
            deep.push("d".repeat(150));
        }
        fs::create_dir_all(&deep).unwrap();
        fs::write(new.join("file"), "new").unwrap();
        let cache = Cache::take(&old, false).unwrap();
        fs::write(old.join("file"), "old").unwrap();
        cache.keep(&new, 1 << 20).unwrap_err();
        assert_eq!(names(&old), [] as [&str; 0]);
        assert!(!cache.recover().unwrap(), "there is nothing to be done about it any more");
    }

    #[test]
    fn a_cache_that_was_being_written_is_emptied_once() {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache::take(&place.path().join("cache"), false).unwrap();
        cache.begin().unwrap();
        fs::write(cache.directory.join("half"), "").unwrap();
        assert_eq!((cache.recover().unwrap(), names(&cache.directory)), (true, vec![]));
        fs::write(cache.directory.join("whole"), "").unwrap();
        cache.begin().unwrap();
        assert!(cache.keep(&cache.directory, 1 << 20).unwrap());
        assert_eq!((cache.recover().unwrap(), names(&cache.directory)), (false, vec!["whole".to_owned()]));
    }
}
