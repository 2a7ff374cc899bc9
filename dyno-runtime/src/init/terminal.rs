//! The dyno's side of its standard streams: which files they become, and a terminal of its own.

use std::{
    fs,
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::{
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
    process::{ioctl_tiocsctty, setsid},
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
    termios::{InputModes, OptionalActions, tcgetattr, tcsetattr, tcsetwinsize},
};
use serde::{Deserialize, Serialize};

use super::{Report, report};
use crate::{
    sandbox::{first, sys},
    stdio::WindowSize,
};

/// The number of the file that is to be standard input, which begins as the runtime's socket: after those of a dyno's
/// estate.
const STDIN: i32 = first::ENDED + 1;

/// What is standard input; standard output and standard error are already what they are to be, if there is no terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// `/dev/null`.
    Null,
    /// A pipe that this process was started with.
    Pipe,
    /// All three are a terminal of this size, made for this dyno.
    Terminal(WindowSize),
}

impl Stdin {
    /// It becomes standard input, and no trace of the runtime's socket is left there.
    pub(super) fn take(self, runtime: &UnixStream) -> io::Result<()> {
        match self {
            Self::Null => leave_stdin(),
            Self::Pipe => {
                let pipe = sys::take_file(STDIN).ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))?;
                Ok(dup2_stdin(&pipe)?)
            }
            Self::Terminal(size) => terminal(runtime, size),
        }
    }

    /// For a process that does not need it: whoever else has the other end must see when the command closes it.
    pub(super) fn forget(self) {
        if self == Self::Pipe {
            drop(sys::take_file(STDIN));
        }
    }
}

pub(super) fn leave_stdin() -> io::Result<()> {
    let null: OwnedFd = fs::File::open("/dev/null")?.into();
    Ok(dup2_stdin(&null)?)
}

/// Makes a terminal, of the file system of terminals that the dyno sees, as the user it is: so `tty` finds it, and it may
/// open it by its name. The other end goes to the runtime and stays nowhere here.
fn terminal(runtime: &UnixStream, size: WindowSize) -> io::Result<()> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    unlockpt(&master)?;
    // By the other end and by no path: a path could lead elsewhere.
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    tcsetwinsize(&slave, size.winsize())?;
    let mut modes = tcgetattr(&slave)?;
    // So that backspace takes away a character and not a part of one.
    modes.input_modes |= InputModes::IUTF8;
    tcsetattr(&slave, OptionalActions::Now, &modes)?;
    hand_over(runtime, &master)?;
    // Only who leads a session can have it; one that leads its session already cannot begin another.
    let _leads_one = setsid();
    ioctl_tiocsctty(&slave)?;
    dup2_stdin(&slave)?;
    dup2_stdout(&slave)?;
    Ok(dup2_stderr(&slave)?)
}

fn hand_over(runtime: &UnixStream, master: &OwnedFd) -> io::Result<()> {
    let (line, files) = (report(&Report::Terminal)?, [master.as_fd()]);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    let sent = sendmsg(runtime, &[IoSlice::new(&line)], &mut control, SendFlags::empty())?;
    // A line is shorter than any buffer of a socket.
    if sent == line.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}
