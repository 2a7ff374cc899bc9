//! The request on its way to the dyno: its head, then its body as it comes.

use std::{
    io::IoSlice,
    task::{Context, Poll, ready},
};

use super::Client;
use crate::{io::Transport, route::Fault, worker::buffers::Buffer};

/// How far the request got.
#[derive(Default)]
pub(super) struct Uplink {
    head_sent: usize,
    /// The piece of the body that was taken last…
    piece: Option<Buffer>,
    /// …and how much of it was sent.
    piece_sent: usize,
    /// How many pieces the client has parted with; they cannot be had again.
    pieces: u64,
    /// A piece is kept when it was sent, for as long as it is the only one.
    keeps: bool,
    state: State,
    /// Bytes the dyno was sent.
    pub(super) sent: u64,
}

/// All that a client has parted with of its request's body, to be sent again to another connection.
#[derive(Default)]
pub(super) struct Replay(Option<Buffer>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Sending,
    Sent,
    /// The dyno takes no more; it may have answered already.
    Refused,
}

impl Uplink {
    pub(super) fn is_over(&self) -> bool {
        self.state != State::Sending
    }

    pub(super) fn is_whole(&self) -> bool {
        self.state == State::Sent
    }

    /// A request that begins with what was taken from the client for an earlier try. With `keeps`, what is taken is
    /// kept for a later one, up to one buffer.
    pub(super) fn new(replay: Replay, keeps: bool) -> Self {
        let pieces = u64::from(replay.0.is_some());
        Self { piece: replay.0, pieces, keeps, ..Self::default() }
    }

    /// Everything that was taken from the client, if it is still here.
    pub(super) fn replay(&mut self) -> Option<Replay> {
        match self.pieces {
            0 => Some(Replay(None)),
            1 => self.piece.take().map(|piece| Replay(Some(piece))),
            _ => None,
        }
    }

    /// The response has begun: nothing is sent again.
    pub(super) fn keep_nothing(&mut self) {
        self.keeps = false;
        if self.unsent().is_empty() {
            self.piece = None;
        }
    }

    /// Waits for the client: what it has parted with was all sent.
    pub(super) fn waits_for_client(&self, head: &[u8]) -> bool {
        self.state == State::Sending && self.head_sent == head.len() && self.unsent().is_empty()
    }

    fn unsent(&self) -> &[u8] {
        self.piece.as_ref().and_then(|piece| piece.filled().get(self.piece_sent..)).unwrap_or_default()
    }

    /// Sends on, for as long as neither side makes it wait; ready when nothing more is to be sent, or the dyno takes
    /// no more.
    pub(super) fn poll<C: Client, D: Transport>(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8],
        client: &mut C,
        dyno: &mut D,
    ) -> Poll<Result<(), Fault>> {
        if self.is_over() {
            return Poll::Ready(Ok(()));
        }
        loop {
            let body = self.poll_body(cx, client)?;
            if self.head_sent == head.len() && self.unsent().is_empty() {
                if client.is_body_done() {
                    client.body_is_sent();
                    self.state = State::Sent;
                    return Poll::Ready(Ok(()));
                }
                if body.is_pending() {
                    return Poll::Pending;
                }
                continue;
            }
            if !ready!(self.poll_send(cx, head, dyno)) {
                self.state = State::Refused;
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Takes more of the body from the client, unless some is still to be sent.
    fn poll_body<C: Client>(&mut self, cx: &mut Context<'_>, client: &mut C) -> Poll<Result<(), Fault>> {
        if !self.unsent().is_empty() || client.is_body_done() {
            return Poll::Ready(Ok(()));
        }
        let piece = ready!(client.poll_body(cx))?;
        if !piece.is_empty() {
            self.pieces += 1;
            self.piece = Some(piece);
            self.piece_sent = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// False when the dyno takes no more.
    fn poll_send<D: Transport>(&mut self, cx: &mut Context<'_>, head: &[u8], dyno: &mut D) -> Poll<bool> {
        let head = head.get(self.head_sent..).unwrap_or_default();
        let body = self.unsent();
        let slices = [IoSlice::new(head), IoSlice::new(body)];
        let slices = match (head, body) {
            ([], _) => slices.get(1..),
            (_, []) => slices.get(..1),
            _ => Some(&slices[..]),
        };
        let Ok(n) = ready!(dyno.poll_send(cx, slices.unwrap_or_default())) else { return Poll::Ready(false) };
        if n == 0 {
            return Poll::Ready(false);
        }
        self.sent += n as u64;
        let of_head = n.min(head.len());
        self.head_sent += of_head;
        self.piece_sent += n - of_head;
        if self.unsent().is_empty() && !(self.keeps && self.pieces == 1) {
            self.piece = None;
        }
        Poll::Ready(true)
    }
}
