//! What a dyno finds at `/app` and `/tmp`, and where it may write.
//!
//! - [`Content::App`]: an app's files under a layer that ends with the dyno; the files themselves are never changed.
//! - [`Content::Places`]: directories that are there after it, for the steps of a build.
//!
//! Whoever owns these files outside, inside they are the dyno's user's, by [`idmap`]; and what that user makes there is
//! the owner's outside. So no file on the machine belongs to a user that only a dyno had.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid, chmodat, chownat, fstat, mkdirat, openat};
use serde::{Deserialize, Serialize};

use super::{
    idmap,
    root::{DISK, NODEV, NOEXEC, NOSUID, RDONLY, Root, RootSpec, copy_of, file_system, set},
    sys::{self, Attributes},
};

/// What is at `/app` and `/tmp`, and where the dyno may write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// This directory at `/app`, where the dyno changes a copy that ends with it; an empty `/tmp`.
    App(PathBuf),
    /// These.
    Places(Vec<Place>),
}

/// A directory that is there before and after the dyno.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Where it is on the machine; a relative path: on the dyno's own disk.
    pub from: PathBuf,
    /// Where it is in the dyno, below its root.
    pub at: String,
    /// Whether the dyno may write there.
    pub writable: bool,
}

impl RootSpec {
    /// The directories of the content that are on the machine.
    pub(super) fn outside(&self) -> Vec<&Path> {
        match &self.content {
            Content::App(directory) => vec![directory],
            Content::Places(places) => {
                places.iter().map(|place| place.from.as_path()).filter(|from| from.is_absolute()).collect()
            }
        }
    }
}

impl Root<'_> {
    /// Mounts all of it, and says who the dyno's user is.
    pub(crate) fn content(&self) -> io::Result<()> {
        let scratch = self.scratch()?;
        if self.spec.disk.is_some() {
            // What is on it can only be mounted elsewhere while it is mounted somewhere.
            self.put(&scratch, DISK)?;
        }
        match &self.spec.content {
            Content::App(_) => self.app(&scratch)?,
            Content::Places(places) => self.places(&scratch, places)?,
        }
        for name in ["passwd", "group"] {
            let file = copy_of(CWD, &self.spec.scratch.join(name))?;
            set(&file, RDONLY | NOSUID | NODEV | NOEXEC)?;
            self.put(&file, &format!("etc/{name}"))?;
        }
        Ok(())
    }

    /// The app's files under a layer of the dyno's own, and `/tmp`.
    fn app(&self, scratch: &OwnedFd) -> io::Result<()> {
        let Some(app) = self.content.first() else { return Err(io::ErrorKind::NotFound.into()) };
        for (name, mode) in [("upper", 0o755), ("work", 0o700), ("tmp", 0o1777)] {
            mkdirat(scratch, name, Mode::from_raw_mode(mode))?;
            chmodat(scratch, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
        }
        if !self.spec.within {
            let (user, group) = (Uid::from_raw(self.spec.user), Gid::from_raw(self.spec.user));
            chownat(scratch, "upper", Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        self.as_the_dynos(app, RDONLY)?;
        // An overlay accepts no directory that is not mounted somewhere; under the overlay it is out of sight.
        self.put(app, "app")?;
        let below = |directory: &str| -> io::Result<OwnedFd> {
            Ok(openat(scratch, directory, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
        };
        let (upper, work) = (below("upper")?, below("work")?);
        let layer = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
        let (lower, upper, work) = (layer(app), layer(&upper), layer(&work));
        let mut settings = vec![("lowerdir", lower.as_str()), ("upperdir", &upper), ("workdir", &work)];
        settings.extend([("volatile", "")]);
        if self.spec.within {
            settings.push(("userxattr", ""));
        }
        let overlay = file_system(c"overlay", &settings, NOSUID | NODEV)?;
        self.put(&overlay, "app")?;
        let tmp = copy_of(scratch.as_fd(), Path::new("tmp"))?;
        set(&tmp, NOSUID | NODEV)?;
        self.put(&tmp, "tmp")
    }

    /// Directories that outlive the dyno. One may be within another one that stands before it.
    fn places(&self, scratch: &OwnedFd, places: &[Place]) -> io::Result<()> {
        let mut outside = self.content.iter();
        for place in places {
            let on_disk;
            let mount = if place.from.is_absolute() {
                outside.next().ok_or(io::ErrorKind::NotFound)?
            } else {
                on_disk = copy_of(scratch.as_fd(), &place.from)?;
                &on_disk
            };
            self.as_the_dynos(mount, if place.writable { 0 } else { RDONLY })?;
            self.put(mount, &place.at)?;
        }
        Ok(())
    }

    /// Where the dyno's own files are: its directory, or a disk of its own.
    fn scratch(&self) -> io::Result<OwnedFd> {
        let Some(device) = &self.spec.disk else {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            return Ok(openat(CWD, &self.spec.scratch, flags, Mode::empty())?);
        };
        let source = device.to_string_lossy();
        file_system(c"ext4", &[("source", &source)], NOSUID | NODEV)
    }

    /// What belongs to the owner of this directory belongs to the dyno's user, as seen from here. In a user namespace that
    /// is so without further ado.
    fn as_the_dynos(&self, mount: &OwnedFd, set: u64) -> io::Result<()> {
        let set = set | NOSUID | NODEV;
        if self.spec.within {
            return sys::set_attributes(mount.as_fd(), Attributes { set, owners: None });
        }
        let owner = fstat(mount)?;
        let proc = file_system(c"proc", &[], NOSUID | NODEV | NOEXEC)?;
        let owners = idmap::namespace(proc.as_fd(), (owner.st_uid, owner.st_gid), self.spec.user)?;
        sys::set_attributes(mount.as_fd(), Attributes { set, owners: Some(owners.as_fd()) })
    }
}
