//! Where slugs are unpacked: once per machine, whole or not at all, for all dynos that run them.
//!
//! - [`SlugStore::open`], [`SlugStore::add`]: a slug becomes a directory that nobody changes. [`StoredSlug`] holds it.
//! - [`StoredSlug::working_copy`]: a copy that an app may write to, where no overlay can be had.
//! - [`SlugStore::collect`]: what nobody holds and nobody has used for long is removed.
//!
//! ```text
//! <store>/<hash>/slug.json     the manifest
//! <store>/<hash>/app/          the files: the lower directory of an overlay
//! <store>/<hash>.lock          locked shared by who uses it, alone by who unpacks or removes it; its time is the last use
//! <store>/.new-<hash>/         not whole yet; taken away by the next one who holds the lock
//! ```
//!
//! A slug appears by one rename, after all of it is on the disk. What a killed unpacker has left is never looked at.

mod collect;
mod copy;
mod lock;

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Seek as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, fsync, openat, renameat_with, syncfs};

use self::lock::{Held, lock_alone, lock_shared};
pub use self::{
    collect::{Collected, StoreBounds},
    copy::WorkingCopy,
};
use super::{
    MANIFEST_NAME, Manifest, Refusal, SlugError, SlugHash, SlugLimits, TREE,
    read::{Contents, read},
    tree::Tree,
};

/// Slugs, unpacked.
#[derive(Debug)]
pub struct SlugStore {
    root: PathBuf,
}

/// A slug that is unpacked. It stays as long as this is held.
#[derive(Debug)]
pub struct StoredSlug {
    hash: SlugHash,
    manifest: Manifest,
    /// The store it is in.
    store: PathBuf,
    _held: Held,
}

impl SlugStore {
    /// The store in `root`, which is made when it is not there.
    ///
    /// # Errors
    /// [`SlugError::File`]; [`SlugError::UnsafeStore`] when others could change what is in it.
    pub fn open(root: &Path) -> Result<Self, SlugError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(root);
        made.map_err(SlugError::file("make the directory", root))?;
        let metadata = fs::metadata(root).map_err(SlugError::file("look at", root))?;
        let is_ours = metadata.uid() == rustix::process::geteuid().as_raw();
        if !is_ours || metadata.mode() & 0o022 != 0 {
            return Err(SlugError::UnsafeStore(root.to_owned()));
        }
        let root = fs::canonicalize(root).map_err(SlugError::file("look at", root))?;
        Ok(Self { root })
    }

    /// The slug with this hash, if it is here.
    ///
    /// # Errors
    /// [`SlugError::File`], [`SlugError::Manifest`].
    pub fn get(&self, hash: SlugHash) -> Result<Option<StoredSlug>, SlugError> {
        let directory = self.root.join(hash.to_string());
        if !directory.exists() {
            return Ok(None);
        }
        let held = lock_shared(&self.lock_file(hash))?;
        match fs::read(directory.join(MANIFEST_NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SlugError::file("read", directory)(error)),
            Ok(json) => {
                let manifest = Manifest::parse(&json)?;
                held.touch();
                Ok(Some(StoredSlug { hash, manifest, store: self.root.clone(), _held: held }))
            }
        }
    }

    /// Unpacks the slug in `file`, unless it is here already. Of several who do so at the same time one unpacks, and the
    /// others wait for it. `progress` hears how many bytes of how many are read. It blocks.
    ///
    /// # Errors
    /// [`SlugError`], and then nothing of it is in the store; [`SlugError::Checksum`] when it is not the one expected.
    pub fn add(
        &self,
        file: &Path,
        limits: &SlugLimits,
        expected: Option<SlugHash>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<StoredSlug, SlugError> {
        let mut opened = File::open(file).map_err(SlugError::file("open", file))?;
        let size = opened.metadata().map_err(SlugError::file("look at", file))?.len();
        if size > limits.compressed {
            return Err(SlugError::refused(b"the slug", Refusal::Compressed(limits.compressed)));
        }
        let hash = hash(&mut opened, limits).map_err(SlugError::file("read", file))?;
        if let Some(expected) = expected.filter(|expected| *expected != hash) {
            return Err(SlugError::Checksum { expected, actual: hash });
        }
        loop {
            if let Some(stored) = self.get(hash)? {
                return Ok(stored);
            }
            let alone = lock_alone(&self.lock_file(hash))?;
            if !self.root.join(hash.to_string()).exists() {
                opened.rewind().map_err(SlugError::file("read", file))?;
                let unpacked = self.unpack(&opened, hash, limits, &mut |done| progress(done, size));
                if unpacked.is_err() {
                    let _nobody_needs_it = fs::remove_file(self.lock_file(hash));
                }
                unpacked?;
            }
            drop(alone);
        }
    }

    /// Unpacks while the lock is held alone.
    fn unpack(
        &self,
        from: &File,
        hash: SlugHash,
        limits: &SlugLimits,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), SlugError> {
        let new = self.root.join(format!(".new-{hash}"));
        remove_tree(&new)?;
        let unpacked = self.unpack_into(&new, from, hash, limits, progress);
        if unpacked.is_err() {
            let _said_already = remove_tree(&new);
        }
        unpacked
    }

    fn unpack_into(
        &self,
        new: &Path,
        from: &File,
        hash: SlugHash,
        limits: &SlugLimits,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), SlugError> {
        DirBuilder::new().mode(0o755).create(new).map_err(SlugError::file("make the directory", new))?;
        let mut tree = Tree::below(open_directory(new)?);
        let Contents { manifest, .. } = read(from, limits, Some(hash), &mut tree, &mut |_| (), progress)?;
        let json = new.join(MANIFEST_NAME);
        let text = manifest.to_json()?;
        let written = File::create_new(&json).and_then(|mut file| file.write_all(&text));
        written.map_err(SlugError::file("write", &json))?;
        // All of it is on the disk before it has its name: one call instead of one for each file.
        let root = open_directory(&self.root)?;
        let synced = |error: rustix::io::Errno| SlugError::file("sync", &self.root)(error.into());
        syncfs(&root).map_err(synced)?;
        let place = self.root.join(hash.to_string());
        renameat_with(CWD, new, CWD, &place, RenameFlags::NOREPLACE)
            .map_err(|error| SlugError::file("rename to", &place)(error.into()))?;
        fsync(&root).map_err(synced)
    }

    fn lock_file(&self, hash: SlugHash) -> PathBuf {
        lock_file(&self.root, hash)
    }
}

impl StoredSlug {
    /// Its name.
    pub fn hash(&self) -> SlugHash {
        self.hash
    }

    /// What it says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What is locked by who uses it ([`crate::AppDefinition::hold`]).
    pub fn lock_file(&self) -> PathBuf {
        lock_file(&self.store, self.hash)
    }

    /// The app's files. All who run this slug share them: they must not be written to.
    pub fn tree(&self) -> PathBuf {
        self.store.join(self.hash.to_string()).join(TREE)
    }
}

fn lock_file(store: &Path, hash: SlugHash) -> PathBuf {
    store.join(format!("{hash}.lock"))
}

fn hash(file: &mut File, limits: &SlugLimits) -> io::Result<SlugHash> {
    use io::Read as _;
    let mut hasher = blake3::Hasher::new();
    // One byte more than may be: reading it will be refused, whatever its hash.
    hasher.update_reader(file.take(limits.compressed.saturating_add(1)))?;
    Ok(hasher.finalize().into())
}

fn open_directory(path: &Path) -> Result<OwnedFd, SlugError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).map_err(|error| SlugError::file("open", path)(error.into()))
}

/// Removes a directory and all that is in it, following no symlink; it may not be there.
fn remove_tree(path: &Path) -> Result<(), SlugError> {
    crate::remove::remove_tree(path).map_err(SlugError::file("remove", path))
}
