//! An upgraded connection that was somebody else's: hyper hands it over once it has sent the 101.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use hyper::{
    rt::{Read as _, ReadBuf, Write as _},
    upgrade::{OnUpgrade, Upgraded},
};

use crate::worker::buffers::{Buffer, Buffers};

/// The client's end of a tunnel.
#[derive(Debug)]
pub(super) struct Tunnel {
    io: Io,
    /// The client sends nothing more.
    ended: bool,
}

#[derive(Debug)]
enum Io {
    Promised(OnUpgrade),
    Here(Upgraded),
    Refused,
}

impl Tunnel {
    pub(super) fn new(promised: OnUpgrade) -> Self {
        Self { io: Io::Promised(promised), ended: false }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut Upgraded>>> {
        if let Io::Promised(promised) = &mut self.io {
            self.io = match ready!(Pin::new(promised).poll(cx)) {
                Ok(upgraded) => Io::Here(upgraded),
                Err(_) => Io::Refused,
            };
        }
        match &mut self.io {
            Io::Here(upgraded) => Poll::Ready(Ok(Pin::new(upgraded))),
            Io::Promised(_) | Io::Refused => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// What the client sent; empty at its end.
    pub(super) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &Rc<Buffers>,
    ) -> Poll<io::Result<Buffer>> {
        let io = ready!(self.poll_io(cx))?;
        let mut piece = buffers.small();
        let mut room = ReadBuf::new(piece.spare());
        ready!(io.poll_read(cx, room.unfilled()))?;
        let received = room.filled().len();
        self.ended = received == 0;
        piece.fill(received);
        Poll::Ready(Ok(piece))
    }

    /// Sends some of `bytes`; with none: ready when nothing is held back.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let io = ready!(self.poll_io(cx))?;
        if bytes.is_empty() {
            return io.poll_flush(cx).map_ok(|()| 0);
        }
        match ready!(io.poll_write(cx, bytes))? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            sent => Poll::Ready(Ok(sent)),
        }
    }

    /// Tells the client that nothing more comes.
    pub(super) fn poll_close_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let io = ready!(self.poll_io(cx))?;
        io.poll_shutdown(cx)
    }
}
