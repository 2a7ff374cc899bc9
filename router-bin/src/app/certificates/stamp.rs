//! Whether files have changed since they were read.

use std::{os::unix::fs::MetadataExt as _, path::Path};

/// What a file is like; another one in its place is not like it.
pub(super) type Stamp = Option<(u64, u64, u64, i64, i64)>;

fn stamp(file: &Path) -> Stamp {
    let data = std::fs::metadata(file).ok()?;
    Some((data.dev(), data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
}

/// What these files are like now.
pub(super) fn stamps<'p>(files: impl Iterator<Item = &'p Path>) -> Vec<Stamp> {
    files.map(stamp).collect()
}
