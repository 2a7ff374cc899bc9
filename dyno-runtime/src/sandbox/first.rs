//! The first process of a dyno: it buries every orphan, hands signals on, and tells how the app's command ended.
//!
//! It stays what `dyno-init` was, outside the dyno's control groups, so that the kernel never chooses it when the dyno has
//! used up its memory. When the command ends, it ends, and the kernel ends every other process of the dyno.

use std::{fs::File, io::Write as _};

use rustix::{
    process::{Pid, WaitOptions, WaitStatus},
    thread::CapabilitySet,
};

use super::{identity, sys};
use crate::life::Exit;

/// Signals that are handed on to every process of the dyno.
const HANDED_ON: [libc::c_int; 7] =
    [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2, libc::SIGWINCH];

/// What [`watch`] waits for; to be blocked before there is a child.
pub(crate) fn signals() -> Vec<libc::c_int> {
    HANDED_ON.into_iter().chain([libc::SIGCHLD]).collect()
}

/// Keeps no right but that to signal processes of another user.
pub(crate) fn give_up_rights() -> std::io::Result<()> {
    identity::bound()?;
    identity::hold(CapabilitySet::KILL)?;
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// Waits until `command` ends, and writes into `exit` how. The signals must be blocked.
pub(crate) fn watch(command: Pid, mut exit: Option<File>) -> i32 {
    let signals = signals();
    loop {
        let signal = sys::next_signal(&signals);
        if signal != libc::SIGCHLD {
            sys::signal_all(signal);
        }
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid != command {
                continue;
            }
            let Some(ended) = ended(status) else { continue };
            // When nobody can be told, the status of this process still says nearly the same.
            let line = serde_json::to_vec(&ended).unwrap_or_default();
            let _not_told = exit.as_mut().map(|file| file.write_all(&line));
            return match ended {
                Exit::Code(code) => code,
                Exit::Signal(signal) => 128 + signal,
            };
        }
    }
}

fn ended(status: WaitStatus) -> Option<Exit> {
    let code = status.exit_status().map(Exit::Code);
    code.or_else(|| status.terminating_signal().map(Exit::Signal))
}
