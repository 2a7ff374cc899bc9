//! What is removed from a store: what killed unpackers have left, what nobody has used for long, and, when there is more
//! than there may be, what was used the longest ago. What somebody holds stays.

use std::{
    fs, io,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use super::{
    SlugStore,
    lock::{Held, try_lock_alone},
    remove_tree,
};
use crate::slug::{MANIFEST_NAME, Manifest, SlugError, SlugHash};

/// How much a store keeps that nobody uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreBounds {
    /// A slug that was not used for so long goes. Default 14 days.
    pub idle: Duration,
    /// All slugs together have at most so many bytes, unless they are used. Default 20 GiB.
    pub bytes: u64,
}

impl Default for StoreBounds {
    fn default() -> Self {
        Self { idle: Duration::from_secs(14 * 86_400), bytes: 20 << 30 }
    }
}

/// What a collection did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collected {
    /// Slugs that were removed.
    pub removed: usize,
    /// Their bytes.
    pub freed: u64,
    /// Slugs that stay.
    pub kept: usize,
}

/// A slug that nobody holds but this.
struct Unused {
    hash: SlugHash,
    bytes: u64,
    last_use: SystemTime,
    held: Held,
}

impl SlugStore {
    /// Removes what need not be kept. It never waits for anybody.
    ///
    /// # Errors
    /// [`SlugError::File`]: the store cannot be listed, or something in it not removed.
    pub fn collect(&self, bounds: &StoreBounds, now: SystemTime) -> Result<Collected, SlugError> {
        let (mut done, mut unused, mut total) = (Collected::default(), Vec::new(), 0_u64);
        for (hash, lock) in self.locks()? {
            let bytes = self.bytes_of(hash);
            total += bytes;
            match try_lock_alone(&lock).map_err(SlugError::file("lock", &lock))? {
                None => done.kept += 1,
                Some(held) => {
                    let last_use = held.last_use().map_err(SlugError::file("look at", &lock))?;
                    unused.push(Unused { hash, bytes, last_use, held });
                }
            }
        }
        unused.sort_by_key(|slug| slug.last_use);
        for slug in unused {
            let idle = now.duration_since(slug.last_use).unwrap_or_default();
            if idle > bounds.idle || total > bounds.bytes || !self.path_of(slug.hash).exists() {
                total -= slug.bytes;
                done.freed += slug.bytes;
                done.removed += usize::from(self.path_of(slug.hash).exists());
                self.remove(&slug)?;
            } else {
                remove_tree(&self.root.join(format!(".new-{}", slug.hash)))?;
                done.kept += 1;
            }
        }
        Ok(done)
    }

    /// First its name goes, then its files, then its lock: whoever comes meanwhile finds all of it or nothing.
    fn remove(&self, slug: &Unused) -> Result<(), SlugError> {
        let Unused { hash, held: _held, .. } = slug;
        let doomed = self.root.join(format!(".new-{hash}"));
        remove_tree(&doomed)?;
        match fs::rename(self.path_of(*hash), &doomed) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(SlugError::file("remove", self.path_of(*hash))(error));
            }
            _ => remove_tree(&doomed)?,
        }
        let lock = self.lock_file(*hash);
        fs::remove_file(&lock).map_err(SlugError::file("remove", &lock))
    }

    fn locks(&self) -> Result<Vec<(SlugHash, PathBuf)>, SlugError> {
        let listed = fs::read_dir(&self.root).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
        let listed = listed.map_err(SlugError::file("list", &self.root))?;
        let lock = |entry: &fs::DirEntry| {
            Some((entry.file_name().to_str()?.strip_suffix(".lock")?.parse().ok()?, entry.path()))
        };
        Ok(listed.iter().filter_map(lock).collect())
    }

    fn path_of(&self, hash: SlugHash) -> PathBuf {
        self.root.join(hash.to_string())
    }

    fn bytes_of(&self, hash: SlugHash) -> u64 {
        let json = fs::read(self.path_of(hash).join(MANIFEST_NAME)).unwrap_or_default();
        Manifest::parse(&json).map_or(0, |manifest| manifest.bytes)
    }
}
