//! The first process of a dyno: it buries every orphan, hands signals on, tells how the app's command ended, and keeps
//! what must outlive a supervisor that is killed.
//!
//! It stays what `dyno-init` was, outside the dyno's control groups, so that the kernel never chooses it when the dyno has
//! used up its memory. In a pid namespace of its own it ends every other process of the dyno when the command ends.
//!
//! What it owes to supervisors ([`Estate`]): from before the command exists to its own end it has the files [`EXIT`],
//! [`STDOUT`], [`STDERR`] and [`ENDED`] open under just these numbers, where the next supervisor takes them by `pidfd_getfd`;
//! the command must not inherit them. It never reads from the pipes, and has no end of them that can be written to, so
//! that they end when the dyno does. When the command has ended it first writes how into [`EXIT`], then rings [`ENDED`],
//! and then stays, whoever is there or not, until a supervisor that has taken everything kills it. It waits for nothing
//! but signals.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::{OwnedFd, RawFd},
};

use rustix::{
    process::{Pid, WaitOptions, WaitStatus},
    thread::CapabilitySet,
};

use super::{identity, sys};
use crate::life::Exit;

/// The file where it is written how the command ended.
pub(crate) const EXIT: RawFd = 3;
/// Where the dyno's standard output is read.
pub(crate) const STDOUT: RawFd = 4;
/// Where its standard error is read.
pub(crate) const STDERR: RawFd = 5;
/// An eventfd: readable when the command has ended.
pub(crate) const ENDED: RawFd = 6;

/// What outlives a supervisor.
pub(crate) struct Estate {
    exit: File,
    _output: [OwnedFd; 2],
    ended: File,
}

impl Estate {
    /// What this process was started with; none if it is not to outlive its supervisor.
    pub(crate) fn inherited() -> Option<Self> {
        let output = [sys::take_file(STDOUT)?, sys::take_file(STDERR)?];
        Some(Self {
            exit: sys::take_file(EXIT)?.into(),
            _output: output,
            ended: sys::take_file(ENDED)?.into(),
        })
    }

    /// Tells how the command ended, first to whoever comes later, then to whoever waits.
    fn tell(&mut self, exit: Exit) {
        let line = serde_json::to_vec(&exit).unwrap_or_default();
        // When nobody can be told, the end of this process is still an end.
        let _not_told = self.exit.write_all(&line);
        let _not_told = self.ended.write_all(&1u64.to_ne_bytes());
    }
}

/// Whom a first process has around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Around {
    /// Only its dyno: it is alone with it in a pid namespace.
    ItsDyno,
    /// All processes of the machine: it signals none of them.
    TheMachine,
}

/// Signals that are handed on to every process of the dyno.
const HANDED_ON: [libc::c_int; 7] =
    [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2, libc::SIGWINCH];

/// Takes no part in what the command says, so that its output ends with it. All signals must be blocked before there is a
/// child.
pub(crate) fn leave_streams() -> io::Result<()> {
    let null: OwnedFd = File::options().read(true).write(true).open("/dev/null")?.into();
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(rustix::stdio::dup2_stderr(&null)?)
}

/// Keeps no right but that to signal processes of another user, also as the program that it becomes.
pub(crate) fn give_up_rights() -> io::Result<()> {
    identity::pass_on(CapabilitySet::KILL)?;
    identity::bound()?;
    identity::hold_and_pass_on(CapabilitySet::KILL)?;
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// What `resident/main.rs` does too, which takes the place of this process where it can: a change here is one there.
///
/// Waits until `command` ends and tells how; then it goes on waiting, unless nobody left it an estate. All signals must be
/// blocked.
pub(crate) fn watch(command: Pid, mut estate: Option<Estate>, around: Around) -> i32 {
    let signals: Vec<_> = HANDED_ON.into_iter().chain([libc::SIGCHLD]).collect();
    let mut command = Some(command);
    loop {
        let signal = sys::next_signal(&signals);
        if signal != libc::SIGCHLD && around == Around::ItsDyno {
            sys::signal_all(signal);
        }
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let Some(ended) = ended(status).filter(|_| command == Some(pid)) else { continue };
            // An orphan may get its number later.
            command = None;
            let Some(estate) = &mut estate else { return as_shown(ended) };
            if around == Around::ItsDyno {
                sys::signal_all(libc::SIGKILL);
            }
            estate.tell(ended);
        }
    }
}

fn as_shown(exit: Exit) -> i32 {
    match exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => 128 + signal,
    }
}

fn ended(status: WaitStatus) -> Option<Exit> {
    let code = status.exit_status().map(Exit::Code);
    code.or_else(|| status.terminating_signal().map(Exit::Signal))
}
