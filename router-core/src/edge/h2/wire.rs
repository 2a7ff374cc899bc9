//! The connection below h2: what h2 writes is gathered and sent in one piece when all its streams had their turn; what comes
//! is counted before h2 reads it.
//!
//! - [`Wire`]: shared by h2, who sees it as [`WireIo`], and by whoever drives the connection.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::guard::{Abuse, Guard};
use crate::{
    io::Transport,
    route::Moment,
    worker::buffers::{Buffer, Buffers},
};

/// So much is gathered before it is sent.
const GATHERED: usize = 64 * 1024;
/// A piece of this length is sent from where it lies.
const LARGE: usize = 8 * 1024;

/// The connection below h2.
pub(super) struct Wire<T>(RefCell<State<T>>);

struct State<T> {
    io: T,
    buffers: Rc<Buffers>,
    /// Came before h2 was asked.
    came: Option<Buffer>,
    /// Written by h2 and not sent.
    out: Option<Buffer>,
    /// The client takes nothing just now.
    stuck: bool,
    /// How many bytes were sent.
    sent: u64,
    guard: Guard,
    abuse: Option<Abuse>,
    /// The end of what h2 wrote last.
    last_words: Vec<u8>,
}

/// A GOAWAY and what it says besides.
const LAST_WORDS: usize = 64;

impl<T: Transport> Wire<T> {
    pub(super) fn new(io: T, came: Option<Buffer>, buffers: &Rc<Buffers>, now: Moment) -> Rc<Self> {
        Rc::new(Self(RefCell::new(State {
            io,
            buffers: Rc::clone(buffers),
            came,
            out: None,
            stuck: false,
            sent: 0,
            guard: Guard::new(now),
            abuse: None,
            last_words: Vec::new(),
        })))
    }

    /// Sends what was gathered, as far as the client takes it.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_drain(cx)
    }

    /// The client does not take what was written.
    pub(super) fn is_stuck(&self) -> bool {
        self.0.borrow().stuck
    }

    /// How many bytes the client's socket has taken so far.
    pub(super) fn sent(&self) -> u64 {
        self.0.borrow().sent
    }

    /// What the connection below knows of itself.
    pub(super) fn io<R>(&self, ask: impl FnOnce(&T) -> R) -> R {
        ask(&self.0.borrow().io)
    }

    /// What there was too much of.
    pub(super) fn abuse(&self) -> Option<Abuse> {
        self.0.borrow().abuse
    }

    /// The account of what the client does.
    pub(super) fn guard<R>(&self, with: impl FnOnce(&mut Guard) -> R) -> R {
        with(&mut self.0.borrow_mut().guard)
    }

    /// The end of what h2 wrote before it closed the connection.
    pub(super) fn last_words(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.borrow_mut().last_words)
    }

    /// The socket, once h2 has let go of it.
    pub(super) fn into_io(self: Rc<Self>) -> Option<T> {
        Rc::into_inner(self).map(|wire| wire.0.into_inner().io)
    }
}

impl<T: Transport> State<T> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(out) = &mut self.out {
            if out.is_empty() {
                self.out = None;
                break;
            }
            let sent = self.io.poll_send(cx, &[IoSlice::new(out.filled())]);
            self.stuck = sent.is_pending();
            match ready!(sent)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => {
                    out.consume(n);
                    self.sent += n as u64;
                }
            }
        }
        let flushed = self.io.poll_flush(cx);
        self.stuck = flushed.is_pending();
        flushed
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let gathered = self.out.as_ref().map_or(0, |out| out.filled().len());
        if self.stuck || gathered >= GATHERED {
            ready!(self.poll_drain(cx))?;
        }
        let all: usize = pieces.iter().map(|piece| piece.len()).sum();
        if all >= LARGE {
            return self.poll_through(cx, pieces);
        }
        let buffers = &self.buffers;
        let out = self.out.get_or_insert_with(|| buffers.small());
        pieces.iter().for_each(|piece| out.append(piece));
        Poll::Ready(Ok(all))
    }

    /// Sends what was gathered and these pieces behind it; how much of the pieces.
    fn poll_through(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let gathered = self.out.as_ref().map_or(&[][..], |out| out.filled());
        let before = gathered.len();
        let mut all = [IoSlice::new(gathered), IoSlice::new(&[]), IoSlice::new(&[]), IoSlice::new(&[])];
        for (slot, piece) in all.iter_mut().skip(1).zip(pieces) {
            *slot = IoSlice::new(piece);
        }
        let all = all.get(usize::from(before == 0)..=pieces.len().min(3)).unwrap_or_default();
        let sent = self.io.poll_send(cx, all);
        self.stuck = sent.is_pending();
        let sent = ready!(sent)?;
        self.sent += sent as u64;
        if let Some(out) = &mut self.out {
            out.consume(sent.min(before));
        }
        self.out.take_if(|out| out.is_empty());
        match sent.checked_sub(before) {
            None | Some(0) => {
                // The rest of what was gathered first; h2 comes again.
                ready!(self.poll_drain(cx))?;
                self.poll_through(cx, pieces)
            }
            Some(of_pieces) => Poll::Ready(Ok(of_pieces)),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.abuse.is_some() {
            return Poll::Pending; // nothing more is read; whoever drives this knows
        }
        let n = match &mut self.came {
            Some(came) => {
                let n = came.filled().len().min(room.len());
                let (from, to) = (came.filled().get(..n), room.get_mut(..n));
                from.zip(to).into_iter().for_each(|(from, to)| to.copy_from_slice(from));
                came.consume(n);
                self.came.take_if(|came| came.is_empty());
                n
            }
            None => ready!(self.io.poll_recv(cx, room))?,
        };
        if let Err(abuse) = self.guard.see(room.get(..n).unwrap_or_default()) {
            self.abuse = Some(abuse);
            return Poll::Pending;
        }
        Poll::Ready(Ok(n))
    }
}

/// The connection as h2 sees it.
pub(super) struct WireIo<T>(pub(super) Rc<Wire<T>>);

impl<T: Transport> AsyncRead for WireIo<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let received = ready!(self.0.0.borrow_mut().poll_read(cx, buf.initialize_unfilled()))?;
        buf.advance(received);
        Poll::Ready(Ok(()))
    }
}

impl<T: Transport> AsyncWrite for WireIo<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.0.borrow_mut().poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let slices = slices.get(..slices.len().min(3)).unwrap_or(slices);
        self.0.0.borrow_mut().poll_write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What is gathered is sent later, by [`Wire::poll_flush`]; unless the client takes nothing, which h2 must know.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.0.borrow_mut();
        if state.stuck { state.poll_drain(cx) } else { Poll::Ready(Ok(())) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.0.borrow_mut();
        if let Some(out) = &state.out {
            let out = out.filled();
            state.last_words = out.get(out.len().saturating_sub(LAST_WORDS)..).unwrap_or(out).to_vec();
        }
        ready!(state.poll_drain(cx))?;
        state.io.poll_close_send(cx)
    }
}
