//! Our own standard streams, each waited for in a thread of its own: a terminal that shows nothing, or a reader that does
//! not read, must not keep this program from hearing signals. Nobody else's view of these files is changed.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    thread,
};

use bytes::{Bytes, BytesMut};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    stdio::{stderr, stdin, stdout},
};
use tokio::sync::{mpsc, oneshot};

use super::wire::LONGEST;

/// Where something is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Stdout,
    Stderr,
}

/// What comes on standard input, piece by piece, until it ends or cannot be read. When nobody wants more, whoever writes
/// there is told so.
pub(super) fn input() -> io::Result<mpsc::Receiver<Bytes>> {
    let (tell, input) = mpsc::channel(1);
    thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        loop {
            let mut piece = BytesMut::zeroed(LONGEST);
            match when_ready(stdin(), PollFlags::IN, |file| rustix::io::read(file, &mut piece[..])) {
                Ok(0) | Err(_) => return,
                Ok(count) => piece.truncate(count),
            }
            if tell.blocking_send(piece.freeze()).is_err() {
                return give_up_input();
            }
        }
    })?;
    Ok(input)
}

/// Not a terminal: that is somebody else's, too.
fn give_up_input() {
    if rustix::termios::isatty(stdin()) {
        return;
    }
    if let Ok(null) = std::fs::File::open("/dev/null").map(OwnedFd::from) {
        let _it_stays_open = rustix::stdio::dup2_stdin(&null);
    }
}

/// What is to be shown, piece by piece, and how that went, in the end or at the first piece that cannot be written.
pub(super) type Output = (mpsc::Sender<(To, Bytes)>, oneshot::Receiver<io::Result<()>>);

/// Shows what it is given.
pub(super) fn output() -> io::Result<Output> {
    let (give, mut given) = mpsc::channel::<(To, Bytes)>(1);
    let (tell, shown) = oneshot::channel();
    thread::Builder::new().name("stdout".to_owned()).spawn(move || {
        let mut went = Ok(());
        while went.is_ok() {
            went = match given.blocking_recv() {
                Some((To::Stdout, bytes)) => write_all(stdout(), &bytes),
                Some((To::Stderr, bytes)) => write_all(stderr(), &bytes),
                None => break,
            };
        }
        let _nobody_waits = tell.send(went);
    })?;
    Ok((give, shown))
}

fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = when_ready(file, PollFlags::OUT, |file| rustix::io::write(file, bytes))?;
        bytes = bytes.get(count..).unwrap_or_default();
    }
    Ok(())
}

/// Does it again after a signal, and, where somebody else made the file non-blocking, when it is ready.
fn when_ready<T>(
    file: BorrowedFd<'_>,
    ready: PollFlags,
    mut deed: impl FnMut(BorrowedFd<'_>) -> Result<T, Errno>,
) -> io::Result<T> {
    loop {
        match deed(file) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _interrupted = poll(&mut [PollFd::from_borrowed_fd(file, ready)], None);
            }
            done => return Ok(done?),
        }
    }
}
