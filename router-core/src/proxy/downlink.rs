//! The response on its way to the client: its head, read whole, then its body as it comes.

use std::{
    io,
    task::{Context, Poll, ready},
};

use super::{Client, held::Held};
use crate::{
    h1::{
        body::Body,
        chunked::KeepFraming,
        field::Field,
        framing::Framing,
        limits::ResponseLimits,
        response::{self, ResponseHead},
    },
    io::Transport,
    route::Fault,
    worker::{Worker, buffers::Buffer},
};

/// How far the response got.
pub(super) struct Downlink {
    buffer: Option<Buffer>,
    body: Body,
    /// Of the buffered bytes, so many are to be passed on…
    pass: usize,
    /// …and so many behind them are used up as well.
    skip: usize,
    /// What is buffered cannot be read without more behind it.
    needs_more: bool,
    ended: bool,
    /// The connection broke: this is no end of a body until close.
    broken: bool,
    /// It broke because what came was no HTTP.
    malformed: bool,
    /// What a slow client has not taken yet.
    pub(super) held: Held,
    /// Bytes received from the dyno.
    pub(super) received: u64,
}

/// What a wait for the response's head ended with.
pub(super) enum HeadOrEnd {
    Head(ResponseHead),
    /// The connection ended before a whole head.
    End,
}

/// What [`Downlink::poll_relay`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WaitsFor {
    Client,
    Dyno,
}

impl Downlink {
    pub(super) fn new() -> Self {
        Self {
            buffer: None,
            body: Body::new(Framing::Empty, KeepFraming::Yes),
            pass: 0,
            skip: 0,
            needs_more: false,
            ended: false,
            broken: false,
            malformed: false,
            held: Held::default(),
            received: 0,
        }
    }

    /// The bytes of the last head and what came behind it.
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], |buffer| buffer.filled())
    }

    /// Reads until a head is whole.
    pub(super) fn poll_head<D: Transport>(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        limits: &ResponseLimits,
        fields: &mut Vec<Field>,
        dyno: &mut D,
    ) -> Poll<Result<HeadOrEnd, Fault>> {
        loop {
            if let Some(buffer) = self.buffer.as_ref().filter(|buffer| !buffer.is_empty())
                && !self.needs_more
            {
                if let Some(head) = response::parse(buffer.filled(), limits, fields)? {
                    return Poll::Ready(Ok(HeadOrEnd::Head(head)));
                }
                self.needs_more = true;
            }
            match ready!(self.poll_recv(cx, worker, dyno)) {
                Some(_) => self.needs_more = false,
                None => return Poll::Ready(Ok(HeadOrEnd::End)),
            }
        }
    }

    /// The head that was found is used up.
    pub(super) fn head_is_read(&mut self, length: usize) {
        if let Some(buffer) = &mut self.buffer {
            buffer.consume(length);
        }
        self.buffer.take_if(|buffer| buffer.is_empty());
        self.needs_more = false;
    }

    /// From now on this body is relayed.
    pub(super) fn begin_body(&mut self, framing: Framing, keep: KeepFraming, limits: &ResponseLimits) {
        self.body = Body::new(framing, keep).within(limits.chunks);
    }

    /// Relays the body, for as long as neither side makes it wait; then says which one does. Ready when the dyno is
    /// done with it: what the client has not taken yet is left to [`Downlink::poll_flush`].
    pub(super) fn poll_relay<C: Client, D: Transport>(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        client: &mut C,
        dyno: &mut D,
        waits_for: &mut WaitsFor,
    ) -> Poll<Result<(), Fault>> {
        loop {
            if let Err(fault) = self.take_in() {
                return Poll::Ready(Err(last_words(cx, client, fault)));
            }
            *waits_for = WaitsFor::Client;
            if self.pass > 0 {
                match self.poll_pass(cx, client).map_err(|_| Fault::ClientInterrupted)? {
                    Poll::Ready(()) => {}
                    Poll::Pending if self.hold(worker) => {}
                    Poll::Pending => return Poll::Pending,
                }
                continue;
            }
            if self.ended || self.body.is_done() {
                return Poll::Ready(Ok(()));
            }
            *waits_for = WaitsFor::Dyno;
            let received = match self.poll_recv(cx, worker, dyno) {
                Poll::Ready(received) => received,
                // Nothing more for now: a head that waits for company goes alone.
                Poll::Pending => {
                    if self.poll_flush(cx, client)?.is_pending() {
                        *waits_for = WaitsFor::Client;
                    }
                    return Poll::Pending;
                }
            };
            match received {
                Some(_) => self.needs_more = false,
                None if matches!(self.body, Body::UntilClose) && !self.broken => self.ended = true,
                None if self.malformed => {
                    return Poll::Ready(Err(last_words(cx, client, Fault::PoorlyFormattedResponse)));
                }
                None => return Poll::Ready(Err(last_words(cx, client, Fault::ServerRequestInterrupted))),
            }
        }
    }

    /// Sends what the client has not taken yet; ready when that is nothing any more.
    pub(super) fn poll_flush<C: Client>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut C,
    ) -> Poll<Result<(), Fault>> {
        let held = ready!(self.held.poll_send(cx, client));
        held.map_err(|_| Fault::ClientInterrupted)?;
        client.poll_send(cx, &[]).map(|sent| sent.map(drop).map_err(|_| Fault::ClientInterrupted))
    }

    /// Passes on some of what is to be passed on, after what is held.
    fn poll_pass<C: Client>(&mut self, cx: &mut Context<'_>, client: &mut C) -> Poll<io::Result<()>> {
        if !self.held.is_empty() {
            ready!(self.held.poll_send(cx, client))?;
        }
        let out = self.bytes().get(..self.pass).unwrap_or_default();
        let sent = ready!(client.poll_send(cx, out))?;
        self.passed(sent);
        self.held.moved();
        Poll::Ready(Ok(()))
    }

    /// Puts what is to be passed on aside, if the client is slow and there is room.
    fn hold(&mut self, worker: &Worker) -> bool {
        if !self.held.is_wanted(self.pass, worker.now()) {
            return false;
        }
        let more =
            self.buffer.as_ref().and_then(|buffer| buffer.filled().get(..self.pass)).unwrap_or_default();
        if self.held.append(more) {
            self.passed(self.pass);
            return true;
        }
        let room = self.buffer.as_ref().and_then(|buffer| worker.buffers.room_for(buffer));
        let Some((room, mut piece)) = room.and_then(|room| Some((room, self.buffer.take()?))) else {
            return false;
        };
        let unread = piece.filled().get(self.pass + self.skip..).unwrap_or_default();
        if !unread.is_empty() {
            self.buffer.insert(worker.buffers.small()).append(unread);
        }
        piece.truncate(self.pass);
        piece.shrink();
        self.held.push(piece, room);
        (self.pass, self.skip) = (0, 0);
        true
    }

    /// Reads what is buffered as part of the body, if none of it waits to be passed on.
    fn take_in(&mut self) -> Result<(), Fault> {
        let Some(buffer) = &mut self.buffer else { return Ok(()) };
        if self.pass > 0 || self.needs_more || buffer.is_empty() || self.body.is_done() {
            return Ok(());
        }
        let step = self.body.step(buffer.filled_mut()).map_err(|_| Fault::PoorlyFormattedResponse)?;
        self.needs_more = step.starved;
        self.pass = step.kept;
        self.skip = step.read - step.kept;
        if self.pass == 0 {
            self.passed(0);
        }
        Ok(())
    }

    /// So many bytes were passed on.
    fn passed(&mut self, n: usize) {
        self.pass -= n;
        if let Some(buffer) = &mut self.buffer {
            buffer.consume(n);
            if self.pass == 0 {
                buffer.consume(self.skip);
                self.skip = 0;
            }
        }
        self.buffer.take_if(|buffer| buffer.is_empty());
    }

    /// Receives behind what is buffered; `None` at the end of the stream. No buffer is held while nothing is there.
    fn poll_recv<D: Transport>(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        dyno: &mut D,
    ) -> Poll<Option<usize>> {
        if self.buffer.is_none() {
            if let Err(error) = ready!(dyno.poll_recv_ready(cx)) {
                self.breaks(&error);
                return Poll::Ready(None);
            }
            self.buffer = Some(worker.buffers.passage());
        }
        let Some(buffer) = &mut self.buffer else { return Poll::Ready(None) };
        if buffer.is_full() {
            buffer.make_room();
        }
        let received = dyno.poll_recv(cx, buffer.spare());
        match &received {
            Poll::Ready(Ok(n)) => {
                buffer.fill(*n);
                self.received += *n as u64;
            }
            Poll::Ready(Err(error)) => self.breaks(error),
            Poll::Pending => {}
        }
        self.buffer.take_if(|buffer| buffer.is_empty());
        received.map(|received| received.ok().filter(|n| *n > 0))
    }

    fn breaks(&mut self, error: &io::Error) {
        self.broken = true;
        self.malformed |= error.kind() == io::ErrorKind::InvalidData;
    }

    /// Whether the connection broke because what came was no HTTP.
    pub(super) fn is_malformed(&self) -> bool {
        self.malformed
    }

    /// Whether the dyno has sent more than its response.
    pub(super) fn has_leftovers(&self) -> bool {
        self.buffer.is_some()
    }
}

/// A fault in mid-response: the client still gets what was good, if it takes it at once.
fn last_words<C: Client>(cx: &mut Context<'_>, client: &mut C, fault: Fault) -> Fault {
    match client.poll_send(cx, &[]) {
        Poll::Ready(Err(_)) => Fault::ClientInterrupted,
        Poll::Ready(Ok(_)) | Poll::Pending => fault,
    }
}
