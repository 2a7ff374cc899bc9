//! What a slow client has not taken yet. Kept here, so that the dyno is done with the request and free for the next one
//! (Heroku's routers do so for up to 1 MiB of a response).
//!
//! - [`Held`]: the pieces of one response, up to the app's bound and to what the worker has room for.

use std::{
    collections::VecDeque,
    io,
    task::{Context, Poll, ready},
    time::Duration,
};

use super::Client;
use crate::{
    route::Moment,
    worker::buffers::{Buffer, Room},
};

/// For so long a client must have taken nothing before it counts as slow. A fast one is better served piece by piece:
/// what is in the core's cache is cheapest to send.
const PATIENCE: Duration = Duration::from_millis(100);

/// The pieces of one response that its client has not taken yet, in order.
#[derive(Default)]
pub(super) struct Held {
    pieces: VecDeque<(Buffer, Room)>,
    bytes: usize,
    /// How many bytes of the response may be held.
    pub(super) limit: usize,
    /// Since when the client takes nothing.
    stalled: Option<Moment>,
    slow: bool,
}

impl Held {
    /// Whether nothing is held.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Sends what is held; ready when nothing is left of it.
    pub(super) fn poll_send<C: Client>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut C,
    ) -> Poll<io::Result<()>> {
        while let Some((piece, _)) = self.pieces.front_mut() {
            let sent = ready!(client.poll_send(cx, piece.filled()))?;
            piece.consume(sent);
            self.bytes -= sent;
            self.stalled = None;
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The client took something.
    pub(super) fn moved(&mut self) {
        self.stalled = None;
    }

    /// The client takes nothing just now; whether it is a slow one, for which `more` bytes may be held.
    pub(super) fn is_wanted(&mut self, more: usize, now: Moment) -> bool {
        if self.limit == 0 {
            return false;
        }
        let since = *self.stalled.get_or_insert(now);
        self.slow |= now.since(since) >= PATIENCE;
        self.slow && self.bytes + more <= self.limit
    }

    /// When to ask [`Held::is_wanted`] again, if the client goes on taking nothing.
    pub(super) fn look_again(&self) -> Moment {
        match self.stalled {
            Some(since) if !self.slow => since + PATIENCE,
            _ => Moment::NEVER,
        }
    }

    /// Holds some bytes behind the last piece, if its block has room for them.
    pub(super) fn append(&mut self, bytes: &[u8]) -> bool {
        let Some((last, _)) = self.pieces.back_mut().filter(|(last, _)| last.room() >= bytes.len()) else {
            return false;
        };
        last.append(bytes);
        self.bytes += bytes.len();
        true
    }

    /// Holds a piece.
    pub(super) fn push(&mut self, piece: Buffer, room: Room) {
        self.bytes += piece.filled().len();
        self.pieces.push_back((piece, room));
    }
}
