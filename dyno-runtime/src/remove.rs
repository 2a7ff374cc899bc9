//! Removing a directory with all that strangers have put into it.
//!
//! A dyno can nest directories as deep as its disk allows. So nothing here recurses, holds a file open for each level, or
//! uses a path that grows: what is deep is lifted to the top, level by level. No symlink is followed, and what was made
//! unreadable is made readable first. Nobody may change the tree meanwhile.

use std::{
    ffi::CStr,
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, chmodat, openat, renameat_with, unlinkat},
    io::Errno,
};

/// Removes a file, or a directory and all that is in it; it may not be there.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(found) if found.is_dir() => {}
        _ => return fs::remove_file(path),
    }
    let top = open(CWD, path)?;
    let mut lift = Lift { to: top.as_fd(), number: fastrand::u64(..) };
    while empty(top.as_fd(), &mut |name| lift.dissolve(name))? {}
    fs::remove_dir(path)
}

/// A directory to which what is deep is moved.
struct Lift<'a> {
    to: BorrowedFd<'a>,
    /// Part of the next name there.
    number: u64,
}

impl Lift<'_> {
    /// Removes a directory at the top; the directories in it are at the top then.
    fn dissolve(&mut self, name: &CStr) -> io::Result<()> {
        let directory = open(self.to, name)?;
        while empty(directory.as_fd(), &mut |inner| self.lift(directory.as_fd(), inner))? {}
        Ok(unlinkat(self.to, name, AtFlags::REMOVEDIR)?)
    }

    fn lift(&mut self, from: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        if unlinkat(from, name, AtFlags::REMOVEDIR).is_ok() {
            return Ok(());
        }
        // Its entry `..` changes, too.
        chmodat(from, name, Mode::RWXU, AtFlags::empty())?;
        loop {
            self.number = self.number.wrapping_add(1);
            let new = format!("{:016x}", self.number);
            match renameat_with(from, name, self.to, &new, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                moved => return Ok(moved?),
            }
        }
    }
}

/// Removes the files of a directory, and hands each directory in it to `each`. Whether there was anything.
fn empty(directory: BorrowedFd<'_>, each: &mut dyn FnMut(&CStr) -> io::Result<()>) -> io::Result<bool> {
    let mut found = false;
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        found = true;
        match unlinkat(directory, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => each(name)?,
            removed => removed?,
        }
    }
    Ok(found)
}

fn open(at: impl AsFd, name: impl rustix::path::Arg + Copy) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(&at, name, flags, Mode::empty());
    // Not to be asked for beforehand: root may all.
    chmodat(&at, name, Mode::RWXU, AtFlags::empty())?;
    Ok(match opened {
        Err(Errno::ACCESS) => openat(&at, name, flags, Mode::empty())?,
        opened => opened?,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use rustix::fs::mkdirat;

    use super::*;

    #[test]
    fn what_a_dyno_made_unreadable_is_removed_all_the_same_and_no_link_is_followed() {
        let place = tempfile::tempdir().unwrap();
        let canary = place.path().join("canary");
        fs::create_dir(&canary).unwrap();
        fs::write(canary.join("file"), "x").unwrap();
        let tree = place.path().join("tree");
        fs::create_dir_all(tree.join("closed/inner/more")).unwrap();
        fs::write(tree.join("closed/inner/file"), "x").unwrap();
        symlink(&canary, tree.join("link")).unwrap();
        symlink(&canary, tree.join("closed/inner/link")).unwrap();
        for closed in ["closed/inner", "closed"] {
            fs::set_permissions(tree.join(closed), fs::Permissions::from_mode(0o000)).unwrap();
        }
        remove_tree(&tree).unwrap();
        assert!(!tree.exists() && canary.join("file").exists());
        remove_tree(&tree).unwrap();
        // What only looks like a tree.
        symlink(&canary, &tree).unwrap();
        remove_tree(&tree).unwrap();
        assert!(fs::symlink_metadata(&tree).is_err() && canary.join("file").exists());
    }

    #[test]
    fn directories_deeper_than_any_path_or_stack_are_removed() {
        let place = tempfile::tempdir().unwrap();
        let tree = place.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let mut at = open(CWD, tree.as_path()).unwrap();
        for level in 0..5_000 {
            mkdirat(&at, "d", Mode::RWXU).unwrap();
            if level % 1000 == 0 {
                mkdirat(&at, "beside", Mode::RWXU).unwrap();
            }
            at = open(&at, "d").unwrap();
        }
        drop(at);
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
    }
}
