//! A user namespace through which one user's files are seen as another's.
//!
//! The app's files belong to whoever deployed them; the dyno has a user of its own and may change its copy of them. So
//! they are mounted through a namespace that maps the one to the other; nothing on the disk is changed.

use std::{
    fs, io,
    io::Write as _,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags, openat},
    process::{Pid, Signal, kill_process},
};

use super::sys;

/// A namespace in which the files of user `owner.0` and group `owner.1` belong to user and group `dyno`. `proc` is a
/// `/proc` of this process's pid namespace. SIGCHLD must be blocked: a child ends that has to be waited for.
///
/// # Errors
/// Those of the system.
pub(crate) fn namespace(proc: BorrowedFd<'_>, owner: (u32, u32), dyno: u32) -> io::Result<OwnedFd> {
    match sys::fork_into_user_namespace()? {
        // It only has to be there until somebody else holds its namespace.
        sys::Side::Child => loop {
            let _until_killed = rustix::thread::nanosleep(&rustix::time::Timespec { tv_sec: 1, tv_nsec: 0 });
        },
        sys::Side::Parent(child) => {
            let namespace = map(proc, child, owner, dyno);
            // The first process buries it, as it does every other one: nobody waits for that here.
            let _ended = kill_process(child, Signal::KILL);
            namespace
        }
    }
}

fn map(proc: BorrowedFd<'_>, child: Pid, owner: (u32, u32), dyno: u32) -> io::Result<OwnedFd> {
    let directory =
        openat(proc, child.as_raw_pid().to_string(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let open = |name: &str, flags| openat(directory.as_fd(), name, flags | OFlags::CLOEXEC, Mode::empty());
    for (name, id) in [("uid_map", owner.0), ("gid_map", owner.1)] {
        fs::File::from(open(name, OFlags::WRONLY)?).write_all(format!("{id} {dyno} 1\n").as_bytes())?;
    }
    Ok(open("ns/user", OFlags::RDONLY)?)
}
