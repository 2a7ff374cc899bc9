//! What the proxy sees of one stream.

use std::{
    io,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, Response, StatusCode};

use super::{
    outlet::{Outlet, Piece},
    websocket::{ACCEPT, Key},
};
use crate::{
    edge::translate::{
        heading::Heading,
        unchunk::{Element, Unchunk},
        upload::Upload,
    },
    h1::{
        framing::Framing,
        request::{Persistence, RequestHead},
    },
    proxy::{After, Client},
    route::Fault,
    worker::{Worker, buffers::Buffer},
};

/// So much of a body is given to h2 at a time, at most.
const PIECE: usize = 64 * 1024;

/// The client of one request.
pub(super) struct StreamClient<'a> {
    worker: &'a Worker,
    outlet: &'a Rc<Outlet>,
    body: RecvStream,
    upload: Upload,
    /// Of the request's body: taken from h2, and not known to have gone to the dyno.
    owed: usize,
    /// Waits for `100 Continue` before it sends its body.
    waits_for_continue: bool,
    down: Down,
    heading: Heading,
    only_head: bool,
    /// It asked for a WebSocket; what the dyno has to answer, and whether it did.
    websocket: Option<(Key, bool)>,
    tunnel: Option<Tunnel>,
    /// So much of the response may be held, of what the connection may.
    holds: usize,
    bytes_sent: u64,
}

impl Drop for StreamClient<'_> {
    fn drop(&mut self) {
        self.outlet.held.set(self.outlet.held.get().saturating_sub(self.holds));
    }
}

/// The response's way.
enum Down {
    /// Its head was not sent.
    Silent(SendResponse<Piece>),
    Open(SendStream<Piece>),
    /// It has ended.
    Done,
}

/// From the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tunnel {
    Open,
    Ended,
}

impl<'a> StreamClient<'a> {
    /// The client of a request that cannot be read as one.
    pub(super) fn unread(
        worker: &'a Worker,
        outlet: &'a Rc<Outlet>,
        body: RecvStream,
        respond: SendResponse<Piece>,
        only_head: bool,
    ) -> Self {
        Self {
            worker,
            outlet,
            body,
            upload: Upload::new(Framing::Empty),
            owed: 0,
            waits_for_continue: false,
            down: Down::Silent(respond),
            heading: Heading::default(),
            only_head,
            websocket: None,
            tunnel: None,
            holds: 0,
            bytes_sent: 0,
        }
    }

    /// It turned out to be this request.
    pub(super) fn read(mut self, head: &RequestHead, websocket: Option<Key>) -> Self {
        self.upload = Upload::new(head.framing);
        self.websocket = websocket.map(|key| (key, false));
        self
    }

    /// The request is over.
    pub(super) fn finish(mut self, after: After) {
        self.outlet.stir();
        let cut_short = matches!(self.tunnel, Some(Tunnel::Open));
        match (after, &mut self.down) {
            (_, Down::Done) => self.outlet.answered(),
            (After::Cut, Down::Open(stream)) => stream.send_reset(Reason::INTERNAL_ERROR),
            (_, Down::Silent(respond)) => respond.send_reset(Reason::INTERNAL_ERROR),
            (_, Down::Open(stream)) if cut_short || self.tunnel.is_some() => {
                stream.send_reset(Reason::CANCEL); // a tunnel that ended in order has closed its way down itself
            }
            (_, Down::Open(stream)) => {
                self.outlet.answered();
                let _nobody_is_there = stream.send_data(self.outlet.piece(Bytes::new()), true);
            }
        }
    }

    /// What the client sends in a tunnel; empty at its end.
    fn poll_tunnel(&mut self, cx: &mut Context<'_>) -> Poll<Result<Buffer, Fault>> {
        if self.upload.wants_piece() {
            match ready!(self.body.poll_data(cx)) {
                Some(Ok(piece)) => {
                    self.owed = piece.len();
                    self.upload.put(piece)?;
                }
                Some(Err(error)) => return Poll::Ready(Err(fault(&error))),
                None => {
                    self.tunnel = Some(Tunnel::Ended);
                    return Poll::Ready(Ok(self.worker.buffers.small()));
                }
            }
        }
        Poll::Ready(Ok(self.upload.take(&self.worker.buffers)))
    }

    /// The dyno has what was taken before: the client may send as much again.
    fn settle_debt(&mut self) {
        if self.owed > 0 && self.upload.wants_piece() {
            let _stream_is_gone = self.body.flow_control().release_capacity(self.owed);
            self.owed = 0;
            self.outlet.stir();
        }
    }

    fn last_piece(&mut self, trailers: Option<&HeaderMap>) -> Result<Buffer, Fault> {
        let most = self.worker.options.request_limits.chunks.trailers;
        self.upload.end(trailers, most, &self.worker.buffers)
    }

    fn go_on(&mut self) {
        if std::mem::take(&mut self.waits_for_continue) {
            let mut head = Response::new(());
            *head.status_mut() = StatusCode::CONTINUE;
            self.send_interim(head);
        }
    }

    fn send_interim(&mut self, head: Response<()>) {
        if let Down::Silent(respond) = &mut self.down {
            let _nobody_is_there = respond.send_informational(head);
            self.outlet.stir();
        }
    }

    /// Sends the head that is held back.
    fn send_head(&mut self) -> io::Result<()> {
        let Some(ready) = self.heading.take(self.only_head) else { return Ok(()) };
        self.bytes_sent += ready.bytes;
        if ready.head.status().is_informational() {
            self.send_interim(ready.head);
            return Ok(());
        }
        let Down::Silent(respond) = &mut self.down else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let empty = ready.empty && self.tunnel.is_none();
        let stream = respond.send_response(ready.head, empty).map_err(io::Error::other)?;
        self.down = if empty { Down::Done } else { Down::Open(stream) };
        self.outlet.stir();
        Ok(())
    }

    /// How much of `wanted` bytes may be sent; ready with none when the stream is closed.
    fn poll_capacity(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        let Down::Open(stream) = &mut self.down else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        ready!(self.outlet.poll_room(cx));
        let wanted = wanted.min(PIECE);
        stream.reserve_capacity(wanted);
        loop {
            let room = stream.capacity();
            if room > 0 {
                return Poll::Ready(Ok(room.min(wanted)));
            }
            self.outlet.stir();
            match ready!(stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
    }

    fn send(&mut self, bytes: Bytes, last: bool) -> io::Result<()> {
        let Down::Open(stream) = &mut self.down else { return Err(io::ErrorKind::BrokenPipe.into()) };
        self.bytes_sent += bytes.len() as u64;
        let sent = stream.send_data(self.outlet.piece(bytes), last);
        if last {
            self.down = Down::Done;
        }
        sent.map_err(io::Error::other)
    }

    /// Sends on some of a body that has no chunks; how much of it.
    fn poll_plain(&mut self, cx: &mut Context<'_>, body: &[u8]) -> Poll<io::Result<usize>> {
        let room = ready!(self.poll_capacity(cx, body.len()))?;
        let piece = body.get(..room).unwrap_or(body);
        let left = self.heading.left.map(|left| left.saturating_sub(piece.len() as u64));
        self.heading.left = left;
        self.send(Bytes::copy_from_slice(piece), left == Some(0))?;
        Poll::Ready(Ok(piece.len()))
    }

    /// Sends on the data of some chunks; how much of `body` that was.
    fn poll_chunks(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &mut Unchunk,
        body: &[u8],
    ) -> Poll<io::Result<usize>> {
        // What is between the data, and behind it, needs no window.
        let room = match self.poll_capacity(cx, body.len()) {
            Poll::Ready(room) => room?,
            Poll::Pending => 0,
        };
        let (mut data, mut used, mut trailers) = (Vec::with_capacity(room.min(body.len())), 0, None);
        while used < body.len() && trailers.is_none() {
            let rest = body.get(used..).unwrap_or_default();
            let (n, element) = chunks.next(rest, room - data.len());
            match element {
                Element::Framing => {}
                Element::Data(piece) => data.extend_from_slice(piece),
                Element::Trailers(found) => trailers = Some(found),
            }
            if n == 0 {
                break;
            }
            used += n;
        }
        let last = chunks.is_done() && trailers.is_none();
        if !data.is_empty() || last {
            self.send(data.into(), last)?;
        }
        if let Some(trailers) = trailers
            && let Down::Open(stream) = &mut self.down
        {
            stream.send_trailers(trailers).map_err(io::Error::other)?;
            self.down = Down::Done;
            self.outlet.stir();
        }
        if used == 0 { Poll::Pending } else { Poll::Ready(Ok(used)) }
    }
}

/// Why a stream of the client's is broken.
pub(super) fn fault(error: &h2::Error) -> Fault {
    match error.reason() {
        None | Some(Reason::NO_ERROR | Reason::CANCEL | Reason::REFUSED_STREAM) => Fault::ClientInterrupted,
        Some(_) => Fault::StreamBroken,
    }
}

impl Client for StreamClient<'_> {
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Buffer, Fault>> {
        self.settle_debt();
        if self.tunnel.is_some() {
            return self.poll_tunnel(cx);
        }
        while self.upload.wants_piece() {
            let Poll::Ready(piece) = self.body.poll_data(cx) else {
                self.go_on();
                return Poll::Pending;
            };
            match piece {
                Some(Ok(piece)) => {
                    self.owed += piece.len();
                    self.upload.put(piece)?;
                }
                Some(Err(error)) => return Poll::Ready(Err(fault(&error))),
                None => {
                    let trailers = ready!(self.body.poll_trailers(cx)).map_err(|error| fault(&error))?;
                    return Poll::Ready(self.last_piece(trailers.as_ref()));
                }
            }
        }
        Poll::Ready(Ok(self.upload.take(&self.worker.buffers)))
    }

    fn is_body_done(&self) -> bool {
        match self.tunnel {
            Some(tunnel) => tunnel == Tunnel::Ended,
            None => self.upload.is_done(),
        }
    }

    fn body_is_sent(&mut self) {
        self.settle_debt();
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.down {
            Down::Silent(respond) => respond.poll_reset(cx).map(drop),
            Down::Open(stream) => stream.poll_reset(cx).map(drop),
            Down::Done => Poll::Pending,
        }
    }

    fn answer_continue(&mut self) {
        self.waits_for_continue = true;
    }

    fn keeps_chunks(&self) -> bool {
        true
    }

    fn takes_interim_responses(&self) -> bool {
        true
    }

    fn begin_head(&mut self, status: u16, _: &[u8]) {
        // A WebSocket that is granted is a success here (RFC 8441 §5); one that is not must not look like one.
        self.heading.begin(match (status, &self.websocket) {
            (101, Some(_)) => 200,
            (200..300, Some(_)) => 502,
            (status, _) => status,
        });
        self.waits_for_continue = false;
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        // These are of HTTP/1.1's connections (RFC 9113 §8.2.2).
        if name.eq_ignore_ascii_case(b"connection") || name.eq_ignore_ascii_case(b"upgrade") {
            return;
        }
        if let Some((key, answered)) = &mut self.websocket
            && name.eq_ignore_ascii_case(ACCEPT)
        {
            *answered = key.is_answered_by(value);
            return;
        }
        self.heading.field(name, value);
    }

    fn end_head(&mut self, _: Option<Persistence>) {
        // Of several heads in a row only the last may wait.
        if self.heading.status().is_some_and(|status| status.is_informational()) {
            let _never_fails = self.send_head();
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, body: &[u8]) -> Poll<io::Result<usize>> {
        if self.heading.is_begun() {
            ready!(self.outlet.poll_room(cx));
            self.send_head()?;
        }
        if body.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut taken = 0;
        while taken < body.len() {
            let rest = body.get(taken..).unwrap_or_default();
            let sent = match self.heading.chunks.take() {
                Some(mut chunks) => {
                    let sent = self.poll_chunks(cx, &mut chunks, rest);
                    self.heading.chunks = Some(chunks);
                    sent
                }
                None => self.poll_plain(cx, rest),
            };
            match sent? {
                Poll::Ready(n) => taken += n,
                Poll::Pending if taken == 0 => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn may_hold(&mut self, wanted: usize) -> usize {
        let others = self.outlet.held.get();
        self.holds = wanted.min(self.worker.options.http2.held.saturating_sub(others));
        self.outlet.held.set(others + self.holds);
        self.holds
    }

    fn forget_head(&mut self) -> bool {
        self.heading.forget()
    }

    fn upgrade(&mut self) -> Result<(), Fault> {
        match self.websocket {
            Some((_, true)) => {
                self.tunnel = Some(Tunnel::Open);
                self.upload = Upload::new(Framing::Length(u64::MAX));
                Ok(())
            }
            // It did not understand what it was asked.
            Some((_, false)) | None => Err(Fault::PoorlyFormattedResponse),
        }
    }

    fn poll_close_send(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.send(Bytes::new(), true))
    }

    fn bytes_sent(&self) -> u64 {
        self.bytes_sent
    }
}
