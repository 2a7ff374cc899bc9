//! Writes files, directories and symlinks below one directory.
//!
//! Every step is relative to a directory that is open and has one plain name, and the kernel is told not to leave that
//! directory and to follow no symlink. Whatever somebody else does meanwhile, nothing is written elsewhere.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use rustix::fs::{Mode, OFlags, ResolveFlags, fchmod, mkdirat, openat2, symlinkat};

use super::order::Place;

/// What takes the entries of a slug, one after the other, in order.
pub(super) trait Sink {
    /// A directory, which is open from now on.
    fn directory(&mut self, place: &Place<'_>) -> io::Result<()>;
    /// A file; its bytes follow.
    fn file(&mut self, place: &Place<'_>, executable: bool) -> io::Result<()>;
    /// Some bytes of the last file.
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// A symlink.
    fn symlink(&mut self, place: &Place<'_>, target: &[u8]) -> io::Result<()>;
}

/// Writes nothing.
pub(super) struct Nowhere;

impl Sink for Nowhere {
    fn directory(&mut self, _: &Place<'_>) -> io::Result<()> {
        Ok(())
    }
    fn file(&mut self, _: &Place<'_>, _: bool) -> io::Result<()> {
        Ok(())
    }
    fn bytes(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn symlink(&mut self, _: &Place<'_>, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// Writes below a directory.
pub(super) struct Tree {
    open: Vec<OwnedFd>,
    file: Option<File>,
}

/// How a single name is opened.
const WITHIN: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

impl Tree {
    /// Writes below this directory.
    pub(super) fn below(directory: OwnedFd) -> Self {
        Self { open: vec![directory], file: None }
    }

    fn enter(&mut self, place: &Place<'_>) -> io::Result<BorrowedFd<'_>> {
        self.file = None;
        self.open.truncate(self.open.len().saturating_sub(place.closed));
        self.open.last().map(OwnedFd::as_fd).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Sink for Tree {
    fn directory(&mut self, place: &Place<'_>) -> io::Result<()> {
        let mode = Mode::from_raw_mode(0o755);
        let parent = self.enter(place)?;
        mkdirat(parent, place.name, mode)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat2(parent, place.name, flags, Mode::empty(), WITHIN)?;
        fchmod(&made, mode)?; // whatever the umask is
        self.open.push(made);
        Ok(())
    }

    fn file(&mut self, place: &Place<'_>, executable: bool) -> io::Result<()> {
        let mode = Mode::from_raw_mode(if executable { 0o755 } else { 0o644 });
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat2(self.enter(place)?, place.name, flags, mode, WITHIN)?;
        fchmod(&made, mode)?;
        self.file = Some(made.into());
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes))
    }

    fn symlink(&mut self, place: &Place<'_>, target: &[u8]) -> io::Result<()> {
        Ok(symlinkat(target, self.enter(place)?, place.name)?)
    }
}
