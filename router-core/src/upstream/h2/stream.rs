//! One stream as a [`Transport`]: the proxy sends a request in HTTP/1.1 and receives the response in HTTP/1.1.
//!
//! - [`Stream`]: made without a word to the dyno; the request's head opens it. Dropped before both sides are done, it is
//!   reset (CANCEL), and that is how a dyno learns that its client has gone.

use std::{
    future::Future as _,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::h2::{Reason, RecvStream, SendStream, client::ResponseFuture};
use bytes::Bytes;
use http::uri::Scheme;

use super::{
    PIECE,
    connection::Place,
    request::{self, Body},
    response,
};
use crate::{edge::translate::unchunk::Element, io::Transport};

/// One stream.
pub(crate) struct Stream {
    place: Place,
    scheme: Scheme,
    up: Up,
    down: Down,
    /// Text that was received and not taken…
    text: Vec<u8>,
    /// …as far as it was taken.
    taken: usize,
    /// Data that was received and not taken; it follows the text.
    data: Bytes,
    /// The dyno has said that it did nothing about the request.
    turned_away: bool,
}

enum Up {
    /// The head is to be sent.
    Head,
    Body(SendStream<Bytes>, Body),
}

enum Down {
    /// The request was not sent yet.
    Nothing,
    Head(ResponseFuture),
    Body(RecvStream, Chunked),
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunked {
    Yes,
    No,
}

impl Stream {
    /// A stream to be.
    pub(super) fn new(place: Place, scheme: Scheme) -> Box<Self> {
        Box::new(Self {
            place,
            scheme,
            up: Up::Head,
            down: Down::Nothing,
            text: Vec::new(),
            taken: 0,
            data: Bytes::new(),
            turned_away: false,
        })
    }

    /// Whether the dyno has said that it did nothing about the request, and never will (RFC 9113 §8.7).
    pub(crate) const fn was_turned_away(&self) -> bool {
        self.turned_away
    }

    /// Takes some of what the proxy sends; how much.
    fn poll_take(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = match &mut self.up {
            Up::Head => return Poll::Ready(self.open(bytes)),
            Up::Body(stream, body) => ready!(poll_body(cx, stream, body, bytes)),
        };
        Poll::Ready(taken.map_err(|error| self.broken(error)))
    }

    /// Opens the stream with the head at the front of `text`; how long it is.
    fn open(&mut self, text: &[u8]) -> io::Result<usize> {
        let (head, body, length) = request::read(text, &self.scheme)?;
        let sent = self.place.requests().borrow_mut().send_request(head, body.is_done());
        // What could not be sent was not acted on.
        let (response, stream) = sent.map_err(|error| {
            self.turned_away = true;
            self.broken(error)
        })?;
        self.up = Up::Body(stream, body);
        self.down = Down::Head(response);
        Ok(length)
    }

    /// Receives until there is text or data, or the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.taken == self.text.len() && self.data.is_empty() {
            self.text.clear();
            self.taken = 0;
            let received = match &mut self.down {
                Down::Nothing => return Poll::Pending,
                Down::Ended => break,
                Down::Head(response) => ready!(poll_head(cx, response, &mut self.text)),
                Down::Body(stream, chunked) => {
                    ready!(poll_more(cx, stream, *chunked, &mut self.text, &mut self.data))
                }
            };
            self.place.heard();
            match received {
                Ok(Some(next)) => self.down = next,
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(self.broken(error))),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes as much as fits of what was received; how much.
    fn take(&mut self, buf: &mut [u8]) -> usize {
        let text = self.text.get(self.taken..).unwrap_or_default();
        let n = copy(text, buf);
        self.taken += n;
        let buf = buf.get_mut(n..).unwrap_or_default();
        let m = copy(&self.data, buf);
        if m == 0 {
            return n;
        }
        self.data = self.data.split_off(m);
        if let Down::Body(stream, chunked) = &mut self.down {
            // That fails only for more than was received.
            let _never = stream.flow_control().release_capacity(m);
            if self.data.is_empty() && *chunked == Chunked::Yes {
                self.text.clear();
                self.text.extend_from_slice(b"\r\n");
                self.taken = 0;
            }
        }
        n + m
    }

    /// What an error of the connection is to the proxy: somebody who speaks no sound HTTP (`InvalidData`), or one who has
    /// left. Notes whether the request may be sent to somebody else.
    fn broken(&mut self, error: ::h2::Error) -> io::Error {
        let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        // Of a connection's end a stream learns in this way only if the dyno will not look at it (RFC 9113 §6.8).
        self.turned_away |= error.is_remote() && (refused || error.is_go_away());
        let kind =
            if error.is_library() { io::ErrorKind::InvalidData } else { io::ErrorKind::ConnectionReset };
        io::Error::new(kind, error)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if matches!(self.down, Down::Head(_)) {
            self.place.in_vain();
        }
    }
}

fn copy(from: &[u8], to: &mut [u8]) -> usize {
    let n = from.len().min(to.len());
    let pair = from.get(..n).zip(to.get_mut(..n));
    pair.into_iter().for_each(|(from, to)| to.copy_from_slice(from));
    n
}

/// Sends some of a body; how much of `bytes` was used up.
fn poll_body(
    cx: &mut Context<'_>,
    stream: &mut SendStream<Bytes>,
    body: &mut Body,
    bytes: &[u8],
) -> Poll<Result<usize, ::h2::Error>> {
    match body {
        Body::Length(left) => {
            let most = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
            if most == 0 {
                return Poll::Ready(Err(Reason::STREAM_CLOSED.into())); // more than was announced
            }
            let n = ready!(poll_room(cx, stream, most))?;
            *left -= n as u64;
            let data = bytes.get(..n).unwrap_or_default();
            stream.send_data(Bytes::copy_from_slice(data), *left == 0)?;
            Poll::Ready(Ok(n))
        }
        Body::Chunks(chunks) => {
            let room = if chunks.is_in_data() { ready!(poll_room(cx, stream, bytes.len()))? } else { 0 };
            let (used, element) = chunks.next(bytes, room);
            match element {
                Element::Data(data) => stream.send_data(Bytes::copy_from_slice(data), false)?,
                Element::Trailers(trailers) => stream.send_trailers(trailers)?,
                Element::Framing if chunks.is_done() => stream.send_data(Bytes::new(), true)?,
                Element::Framing => {}
            }
            Poll::Ready(Ok(used))
        }
    }
}

/// How much of `want` the dyno's windows have room for.
fn poll_room(
    cx: &mut Context<'_>,
    stream: &mut SendStream<Bytes>,
    want: usize,
) -> Poll<Result<usize, ::h2::Error>> {
    let want = want.min(PIECE);
    stream.reserve_capacity(want);
    while stream.capacity() == 0 {
        match ready!(stream.poll_capacity(cx)) {
            Some(room) => room?,
            None => return Poll::Ready(Err(Reason::STREAM_CLOSED.into())),
        };
    }
    Poll::Ready(Ok(stream.capacity().min(want)))
}

/// The next head; what comes after it, unless that is another head.
fn poll_head(
    cx: &mut Context<'_>,
    response: &mut ResponseFuture,
    text: &mut Vec<u8>,
) -> Poll<Result<Option<Down>, ::h2::Error>> {
    if let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
        response::interim(&interim?, text);
        return Poll::Ready(Ok(None));
    }
    let (head, stream) = ready!(Pin::new(response).poll(cx))?.into_parts();
    let head = http::Response::from_parts(head, ());
    let chunked = response::head(&head, stream.is_end_stream(), text);
    let chunked = if chunked { Chunked::Yes } else { Chunked::No };
    let ended = stream.is_end_stream();
    Poll::Ready(Ok(Some(if ended { Down::Ended } else { Down::Body(stream, chunked) })))
}

/// More of a body.
fn poll_more(
    cx: &mut Context<'_>,
    stream: &mut RecvStream,
    chunked: Chunked,
    text: &mut Vec<u8>,
    data: &mut Bytes,
) -> Poll<Result<Option<Down>, ::h2::Error>> {
    match ready!(stream.poll_data(cx)) {
        Some(received) => {
            *data = received?;
            if chunked == Chunked::Yes && !data.is_empty() {
                response::chunk(data.len(), text);
            }
            Poll::Ready(Ok(None))
        }
        None => {
            let trailers = ready!(stream.poll_trailers(cx))?;
            if chunked == Chunked::Yes {
                response::trailers(trailers.as_ref(), text);
            }
            Poll::Ready(Ok(Some(Down::Ended)))
        }
    }
}

impl Transport for Stream {
    fn poll_recv_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_fill(cx)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut taken = 0;
        loop {
            match self.poll_fill(cx) {
                Poll::Ready(Ok(())) => {}
                // The same comes again.
                Poll::Ready(Err(_)) | Poll::Pending if taken > 0 => return Poll::Ready(Ok(taken)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
            let n = self.take(buf.get_mut(taken..).unwrap_or_default());
            taken += n;
            if n == 0 {
                return Poll::Ready(Ok(taken));
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut taken = 0;
        for slice in slices {
            let mut rest: &[u8] = slice;
            while !rest.is_empty() {
                match self.poll_take(cx, rest) {
                    Poll::Ready(Ok(n)) if n > 0 => {
                        taken += n;
                        rest = rest.get(n..).unwrap_or_default();
                    }
                    // What was taken counts; the same comes again.
                    _ if taken > 0 => return Poll::Ready(Ok(taken)),
                    refused => return refused,
                }
            }
        }
        Poll::Ready(Ok(taken))
    }

    /// Ends a body whose length was not known before.
    fn poll_close_send(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
