//! How the command comes into its control groups: without waiting.
//!
//! Whoever moves a process waits until every CPU has passed a quiet state (10 ms and more, after idle), because the move
//! must not meet an `exec` or a new thread. Two ways do not wait: a process is born in a group of version 2 ([`divide`]),
//! and a thread that moves itself by `tasks`, as version 1 has it.
//!
//! [`divide`]: Groups::divide

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::sandbox::sys::{self, Side};

/// The command's groups, opened: their paths lead nowhere once it has left the machine.
pub(super) struct Groups {
    /// The one it can be born in, with the file that is written to otherwise.
    birth: Option<(OwnedFd, File)>,
    others: Vec<File>,
}

impl Groups {
    /// Opens them. `files` is what [`join_files`] says.
    ///
    /// [`join_files`]: crate::cgroup::Control::join_files
    pub(super) fn open(files: &[PathBuf]) -> io::Result<Self> {
        let mut groups = Self { birth: None, others: vec![] };
        for path in files {
            let file = OpenOptions::new().write(true).open(path)?;
            match directory(path) {
                Some(directory) if groups.birth.is_none() => groups.birth = Some((directory?, file)),
                _ => groups.others.push(file),
            }
        }
        Ok(groups)
    }

    /// Divides this process, which has one thread: the child is born in one of the groups, where the kernel can do that
    /// (Linux 5.7). It still has to enter the others ([`Groups::enter`]).
    pub(super) fn divide(&mut self) -> io::Result<Side> {
        if let Some((directory, _)) = &self.birth
            && let Ok(side) = sys::fork_into(directory.as_fd())
        {
            self.birth = None;
            return Ok(side);
        }
        sys::fork()
    }

    /// Enters those that this process is not in yet.
    pub(super) fn enter(self) -> io::Result<()> {
        let birth = self.birth.map(|(_, file)| file);
        birth.into_iter().chain(self.others).try_for_each(|mut file| file.write_all(b"0"))
    }
}

/// That of a group of version 2; only there has the file this name.
fn directory(file: &Path) -> Option<io::Result<OwnedFd>> {
    let directory = file.parent().filter(|_| file.ends_with("cgroup.procs"))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Some(openat(CWD, directory, flags, Mode::empty()).map_err(io::Error::from))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn who_was_born_in_none_of_its_groups_enters_them_all() {
        let place = tempfile::tempdir().unwrap();
        let files =
            ["unified/cgroup.procs", "pids/tasks", "memory/tasks"].map(|name| place.path().join(name));
        for file in &files {
            fs::create_dir(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        let groups = Groups::open(&files).unwrap();
        assert!(groups.birth.is_some() && groups.others.len() == 2);
        groups.enter().unwrap();
        assert_eq!(files.map(|file| fs::read_to_string(file).unwrap()), ["0"; 3]);
    }

    #[test]
    fn a_group_that_is_not_there_is_an_error() {
        assert!(Groups::open(&[PathBuf::from("/nowhere/cgroup.procs")]).is_err());
    }
}
