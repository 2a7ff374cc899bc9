//! Copies of a slug's files that an app may write to, for where dynos share the machine's files and no overlay can be had.
//!
//! They are in `<store>/work/`, each locked by who uses it: the program, and the dynos that run there. What a killed user has left is swept by [`SlugStore::sweep_copies`].

use std::{
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use super::{SlugStore, StoredSlug, remove_tree};
use crate::slug::SlugError;

/// A directory with a slug's files, which goes when this is dropped. Who else uses it locks it, shared
/// ([`crate::AppDefinition::hold`]).
#[derive(Debug)]
pub struct WorkingCopy {
    directory: PathBuf,
    lock: File,
}

impl StoredSlug {
    /// Copies the app's files to a directory of their own. Where the file system can, files share their blocks until one
    /// is written to. It blocks.
    ///
    /// # Errors
    /// [`SlugError::File`]; then nothing of the copy is left.
    pub fn working_copy(&self, name: &str) -> Result<WorkingCopy, SlugError> {
        let copies = self.store.join("work");
        fs::create_dir_all(&copies).map_err(SlugError::file("make the directory", &copies))?;
        let directory = copies.join(format!("{name}.{:016x}", fastrand::u64(..)));
        let made = fs::create_dir(&directory).and_then(|()| File::open(&directory));
        let lock = made.map_err(SlugError::file("make the directory", &directory))?;
        let copy = WorkingCopy { directory, lock };
        let to = &copy.directory;
        let locked = flock(&copy.lock, FlockOperation::NonBlockingLockShared).map_err(io::Error::from);
        let copied = locked.and_then(|()| copy_below(&self.tree(), to));
        copied.map_err(SlugError::file("copy the slug to", to))?;
        Ok(copy)
    }
}

impl SlugStore {
    /// Removes the copies that nobody uses any more.
    ///
    /// # Errors
    /// [`SlugError::File`].
    pub fn sweep_copies(&self) -> Result<(), SlugError> {
        let copies = self.root.join("work");
        let listed = match fs::read_dir(&copies) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            listed => listed.and_then(|entries| entries.collect::<Result<Vec<_>, _>>()),
        };
        for entry in listed.map_err(SlugError::file("list", &copies))? {
            // One that is gone meanwhile needs no sweeping.
            let Ok(lock) = File::open(entry.path()) else { continue };
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                remove_tree(&entry.path())?;
            }
        }
        Ok(())
    }
}

impl WorkingCopy {
    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for WorkingCopy {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.directory) {
            tracing::warn!(%error, "the working copy of a slug is left");
        }
    }
}

/// As deep as a slug may be, so it ends.
fn copy_below(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            fs::create_dir(&target)?;
            copy_below(&source, &target)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
        } else {
            fs::copy(&source, &target)?; // its mode too; by copy_file_range
        }
    }
    Ok(())
}
