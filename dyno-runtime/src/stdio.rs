//! What a dyno's standard streams are, and the runtime's ends of them.
//!
//! - [`Stdio`]: what is asked for. [`Streams`]: what the runtime then has.
//! - [`Terminal`]: its end of a terminal that is the dyno's own; it reads, writes and resizes.
//!
//! Nothing here holds more than the kernel's own buffers: who does not read holds the dyno up.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use rustix::{
    fs::OFlags,
    io::Errno,
    termios::{Winsize, tcsetwinsize},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::unix::pipe,
};

use crate::{init::Stdin, spawn::watched};

/// What a dyno's standard streams are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stdio {
    /// `/dev/null`, and two pipes whose lines go into the app's log.
    #[default]
    Logged,
    /// Three pipes to whoever is attached.
    Pipes,
    /// A terminal of its own, whose other end whoever is attached has.
    Terminal(WindowSize),
}

impl Stdio {
    /// What the dyno reads from, then.
    pub(crate) fn stdin(self) -> Stdin {
        match self {
            Self::Logged => Stdin::Null,
            Self::Pipes => Stdin::Pipe,
            Self::Terminal(size) => Stdin::Terminal(size),
        }
    }
}

/// How large a terminal is, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowSize {
    /// Its lines.
    pub rows: u16,
    /// The characters of a line.
    pub columns: u16,
}

impl WindowSize {
    pub(crate) fn winsize(self) -> Winsize {
        Winsize { ws_row: self.rows, ws_col: self.columns, ws_xpixel: 0, ws_ypixel: 0 }
    }
}

/// The runtime's ends.
#[derive(Debug)]
pub enum Streams {
    /// Of pipes.
    Pipes {
        /// `None`: the dyno reads from `/dev/null`.
        stdin: Option<pipe::Sender>,
        /// What it writes.
        stdout: pipe::Receiver,
        /// What it writes about that.
        stderr: pipe::Receiver,
    },
    /// Of its terminal.
    Terminal(Terminal),
}

/// The other end of a dyno's terminal. When it is dropped, the kernel hangs the dyno up.
#[derive(Debug)]
pub struct Terminal {
    master: AsyncFd<OwnedFd>,
}

impl Terminal {
    /// # Errors
    /// It cannot be waited for.
    pub(crate) fn new(master: OwnedFd) -> io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&master)?;
        rustix::fs::fcntl_setfl(&master, flags | OFlags::NONBLOCK)?;
        Ok(Self { master: watched(master, Interest::READABLE | Interest::WRITABLE)? })
    }

    /// What the dyno has written. 0: nobody has its end open any more. Cancel safe.
    ///
    /// # Errors
    /// Those of `read`.
    pub async fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        let read = |master: &OwnedFd| match rustix::io::read(master, &mut *into) {
            // So the kernel says that all other ends are closed, and that all they wrote has been read.
            Err(Errno::IO) => Ok(0),
            read => Ok(read?),
        };
        let mut read = read;
        self.master.async_io(Interest::READABLE, |master| read(master)).await
    }

    /// Types as many of these bytes as it takes now. Cancel safe.
    ///
    /// # Errors
    /// Those of `write`.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.master.async_io(Interest::WRITABLE, |master| Ok(rustix::io::write(master, bytes)?)).await
    }

    /// It has another size now; the dyno's foreground processes get SIGWINCH.
    ///
    /// # Errors
    /// Those of `ioctl`.
    pub fn resize(&self, size: WindowSize) -> io::Result<()> {
        Ok(tcsetwinsize(self.master.get_ref().as_fd(), size.winsize())?)
    }
}
