//! What is in a directory that is to become a slug, in the order of a slug.

use std::{
    ffi::OsString,
    fs::{self, Metadata},
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::{FileTypeExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use super::{
    SlugError, SlugLimits, TREE,
    error::Refusal,
    ignored::Ignored,
    order::{Kind, Order, components},
};

/// One thing that goes into a slug.
#[derive(Debug)]
pub(super) struct Found {
    /// Its path in the slug.
    pub(super) path: PathBuf,
    /// Where it is.
    pub(super) source: PathBuf,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Directory,
    File { size: u64, executable: bool },
    Symlink { target: PathBuf },
}

/// Everything, `app/` itself first.
pub(super) fn walk(
    directory: &Path,
    ignored: &Ignored,
    limits: &SlugLimits,
) -> Result<Vec<Found>, SlugError> {
    let mut walk = Walk { ignored, limits, order: Order::new(), found: Vec::new(), bytes: 0 };
    walk.add(Found { path: TREE.into(), source: directory.to_owned(), what: What::Directory })?;
    walk.below(directory, Path::new(""))?;
    Ok(walk.found)
}

/// Everything below a directory that may be in a slug, in order: where it is in the directory, and where it is.
///
/// # Errors
/// [`SlugError`].
pub(crate) fn files(
    directory: &Path,
    ignored: &Ignored,
    limits: &SlugLimits,
) -> Result<Vec<(PathBuf, PathBuf)>, SlugError> {
    let found = walk(directory, ignored, limits)?.into_iter().skip(1);
    let relative = |path: &Path| path.strip_prefix(TREE).map(Path::to_owned).unwrap_or_default();
    Ok(found.map(|found| (relative(&found.path), found.source)).collect())
}

struct Walk<'a> {
    ignored: &'a Ignored,
    limits: &'a SlugLimits,
    order: Order,
    found: Vec<Found>,
    bytes: u64,
}

impl Walk<'_> {
    /// Adds what is in a directory. It ends: a path has so many names at most.
    fn below(&mut self, directory: &Path, inside: &Path) -> Result<(), SlugError> {
        for name in sorted_names(directory)? {
            let (source, relative) = (directory.join(&name), inside.join(&name));
            let metadata = fs::symlink_metadata(&source).map_err(SlugError::file("look at", &source))?;
            if self.ignored.has(&relative, metadata.is_dir()) {
                continue;
            }
            let path = Path::new(TREE).join(&relative);
            let what = what(&source, &metadata)
                .map_err(|refusal| SlugError::refused(path.as_os_str().as_bytes(), refusal))?;
            self.add(Found { path, source: source.clone(), what })?;
            if metadata.is_dir() {
                self.below(&source, &relative)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, found: Found) -> Result<(), SlugError> {
        let (kind, size) = match &found.what {
            What::Directory => (Kind::Directory, 0),
            What::File { size, .. } => (Kind::File, *size),
            What::Symlink { .. } => (Kind::Symlink, 0),
        };
        let path = found.path.as_os_str().as_bytes();
        let placed = components(path, kind).and_then(|names| self.order.next(&names, kind).map(drop));
        placed.map_err(|refusal| SlugError::refused(path, refusal))?;
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.limits.unpacked {
            return Err(SlugError::refused(b"the slug", Refusal::Unpacked(self.limits.unpacked)));
        }
        if self.found.len() as u64 >= self.limits.entries {
            return Err(SlugError::refused(b"the slug", Refusal::Entries(self.limits.entries)));
        }
        self.found.push(found);
        Ok(())
    }
}

fn sorted_names(directory: &Path) -> Result<Vec<OsString>, SlugError> {
    let names = fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>, _>>());
    let mut names = names.map_err(SlugError::file("list", directory))?;
    names.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    Ok(names)
}

fn what(source: &Path, metadata: &Metadata) -> Result<What, Refusal> {
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Ok(What::Directory);
    }
    if kind.is_file() {
        // The owner's right decides; whose file it is, and what else may be done with it, stays behind.
        return Ok(What::File {
            size: metadata.len(),
            executable: metadata.permissions().mode() & 0o100 != 0,
        });
    }
    if kind.is_symlink() {
        let target = fs::read_link(source).map_err(|_| Refusal::LinkTarget)?;
        let bytes = target.clone().into_os_string().into_vec();
        return link_target(&bytes).map(|()| What::Symlink { target });
    }
    Err(match () {
        () if kind.is_fifo() => Refusal::Fifo,
        () if kind.is_socket() => Refusal::Socket,
        () => Refusal::Device,
    })
}

/// Where a symlink may point: anywhere, since nothing on this machine follows it; but it must be a path.
pub(super) fn link_target(target: &[u8]) -> Result<(), Refusal> {
    let good = !target.is_empty()
        && target.len() <= super::limits::MAX_PATH
        && std::str::from_utf8(target).is_ok_and(|text| !text.chars().any(char::is_control));
    if good { Ok(()) } else { Err(Refusal::LinkTarget) }
}
