//! The request on its way to the dyno: its head, then its body as it comes.

use std::{
    io::IoSlice,
    task::{Context, Poll, ready},
};

use super::Client;
use crate::{
    io::Transport,
    route::Fault,
    worker::{Worker, buffers::Buffer},
};

/// How far the request got.
#[derive(Default)]
pub(super) struct Uplink {
    head_sent: usize,
    body: Option<Buffer>,
    state: State,
    /// A read filled its buffer: the body is big, so the next buffer is, too.
    big: bool,
    /// Bytes the client has parted with, which cannot be had again.
    pub(super) took_body: bool,
    /// Bytes the dyno was sent.
    pub(super) sent: u64,
}

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

    /// Waits for the client: what it has parted with was all sent.
    pub(super) fn waits_for_client(&self, head: &[u8]) -> bool {
        self.state == State::Sending && self.head_sent == head.len() && self.body.is_none()
    }

    /// Sends on, for as long as neither side makes it wait; ready when nothing more is to be sent, or the dyno takes
    /// no more.
    pub(super) fn poll<C: Client, D: Transport>(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        head: &[u8],
        client: &mut C,
        dyno: &mut D,
    ) -> Poll<Result<(), Fault>> {
        if self.is_over() {
            return Poll::Ready(Ok(()));
        }
        loop {
            let body = self.poll_body(cx, worker, client)?;
            if self.head_sent == head.len() && self.body.is_none() {
                if client.is_body_done() {
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
                self.body = None;
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Takes more of the body from the client, unless some is still to be sent.
    fn poll_body<C: Client>(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        client: &mut C,
    ) -> Poll<Result<(), Fault>> {
        if self.body.is_some() || client.is_body_done() {
            return Poll::Ready(Ok(()));
        }
        ready!(client.poll_body_ready(cx))?;
        let mut buffer = if self.big { worker.buffers.big() } else { worker.buffers.small() };
        let taken = ready!(client.poll_body(cx, buffer.spare()))?;
        buffer.fill(taken);
        self.took_body = true;
        self.big = buffer.is_full();
        self.body = Some(buffer).filter(|buffer| !buffer.is_empty());
        Poll::Ready(Ok(()))
    }

    /// False when the dyno takes no more.
    fn poll_send<D: Transport>(&mut self, cx: &mut Context<'_>, head: &[u8], dyno: &mut D) -> Poll<bool> {
        let head = head.get(self.head_sent..).unwrap_or_default();
        let body = self.body.as_ref().map_or(&[][..], |buffer| buffer.filled());
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
        if let Some(buffer) = &mut self.body {
            buffer.consume(n - of_head);
        }
        self.body.take_if(|buffer| buffer.is_empty());
        Poll::Ready(true)
    }
}
