//! What the proxy sees of a request of the `http` crate.

use std::{
    io::{self, Write as _},
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Body;
use hyper::upgrade::OnUpgrade;

use super::{
    reply::Reply,
    tunnel::Tunnel,
    unchunk::{Element, Unchunk},
};
use crate::{
    h1::{
        chunked::may_pass,
        framing::Framing,
        request::{Persistence, RequestHead},
    },
    proxy::Client,
    route::{
        Fault,
        fault::{RequestError, RequestFlaw},
        forward,
    },
    worker::{
        Worker,
        buffers::{Buffer, SMALL},
    },
};

/// A chunk's size line and the CRLF behind its data, at most.
const CHUNK: usize = 20;

/// The client of one request.
pub(super) struct HttpClient<'a, B> {
    worker: &'a Worker,
    body: B,
    left: Left,
    /// Of the body: taken, and not handed out yet.
    piece: Bytes,
    reply: &'a mut Reply,
    only_head: bool,
    /// A response's head that was not sent yet.
    head: Option<Response<()>>,
    /// The response has chunks.
    chunks: Option<Unchunk>,
    upgrade: Option<OnUpgrade>,
    tunnel: Option<Tunnel>,
    bytes_sent: u64,
}

/// What is still to come of the request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Bytes(u64),
    Chunks,
}

const DONE: Left = Left::Bytes(0);

impl<'a, B: Body<Data = Bytes> + Unpin> HttpClient<'a, B> {
    pub(super) fn new(
        worker: &'a Worker,
        body: B,
        head: &RequestHead,
        upgrade: Option<OnUpgrade>,
        reply: &'a mut Reply,
    ) -> Self {
        let left = match head.framing {
            Framing::Length(length) => Left::Bytes(length),
            Framing::Chunked => Left::Chunks,
            Framing::Empty | Framing::UntilClose => DONE,
        };
        Self { left, upgrade, ..Self::unread(worker, body, head.is_head, reply) }
    }

    /// The client of a request that cannot be read as one.
    pub(super) fn unread(worker: &'a Worker, body: B, only_head: bool, reply: &'a mut Reply) -> Self {
        Self {
            worker,
            body,
            left: DONE,
            piece: Bytes::new(),
            reply,
            only_head,
            head: None,
            chunks: None,
            upgrade: None,
            tunnel: None,
            bytes_sent: 0,
        }
    }

    /// Some of the piece at hand, in the form the dyno gets it.
    fn take_piece(&mut self) -> Buffer {
        let buffers = &self.worker.buffers;
        let mut buffer = if self.piece.len() <= SMALL - CHUNK { buffers.small() } else { buffers.passage() };
        let room = buffer.spare().len() - CHUNK;
        let data = self.piece.split_to(self.piece.len().min(room));
        match &mut self.left {
            Left::Bytes(left) => {
                *left -= data.len() as u64;
                buffer.append(&data);
            }
            Left::Chunks => {
                let mut line = [0; CHUNK];
                let mut end = &mut line[..];
                write!(end, "{:x}\r\n", data.len()).unwrap_or_default(); // at most 18 bytes
                let unused = end.len();
                buffer.append(line.get(..CHUNK - unused).unwrap_or_default());
                buffer.append(&data);
                buffer.append(b"\r\n");
            }
        }
        buffer
    }

    /// The body has ended.
    fn last_piece(&mut self, trailers: Option<&HeaderMap>) -> Result<Buffer, Fault> {
        let mut buffer = self.worker.buffers.small();
        if mem::replace(&mut self.left, DONE) == Left::Chunks {
            buffer.append(b"0\r\n");
            let mut section = Vec::new();
            for (name, value) in trailers.into_iter().flatten() {
                trailer(name, value, &mut section)?;
            }
            if section.len() > self.worker.options.request_limits.chunks.trailers {
                return Err(RequestError::BadTrailer.into());
            }
            buffer.append(&section);
            buffer.append(b"\r\n");
            return Ok(buffer);
        }
        // Shorter than it was said to be.
        Err(RequestFlaw::BadContentLength.into())
    }

    /// Sends on some of a response's body; how much of it.
    fn poll_pass(&mut self, cx: &mut Context<'_>, body: &[u8]) -> Poll<io::Result<usize>> {
        let room = ready!(self.reply.poll_room(cx))?;
        let Some(chunks) = &mut self.chunks else {
            let n = body.len().min(room);
            self.reply.data(body.get(..n).unwrap_or_default());
            self.bytes_sent += n as u64;
            return Poll::Ready(Ok(n));
        };
        let (used, element) = chunks.next(body, room);
        match element {
            Element::Framing => {}
            Element::Data(data) => {
                self.reply.data(data);
                self.bytes_sent += data.len() as u64;
            }
            Element::Trailers(trailers) => self.reply.trailers(trailers),
        }
        Poll::Ready(Ok(used))
    }

    fn send_head(&mut self) {
        let Some(head) = self.head.take() else { return };
        let fields = head.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
        self.bytes_sent += (fields.sum::<usize>() + "HTTP/1.1 200 OK\r\n\r\n".len()) as u64;
        let status = head.status();
        let empty = self.only_head
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || head.headers().get(header::CONTENT_LENGTH).is_some_and(|length| length == "0");
        self.reply.head(head, empty);
    }
}

/// Appends a trailer, if it may be one.
fn trailer(name: &HeaderName, value: &HeaderValue, out: &mut Vec<u8>) -> Result<(), Fault> {
    let start = out.len();
    forward::line(out, name.as_str().as_bytes(), value.as_bytes());
    let line = out.get(start..out.len() - 2).unwrap_or_default();
    if !may_pass(line).map_err(|_| RequestError::BadTrailer)? {
        out.truncate(start);
    }
    Ok(())
}

impl<B: Body<Data = Bytes> + Unpin> Client for HttpClient<'_, B> {
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Buffer, Fault>> {
        if let Some(tunnel) = &mut self.tunnel {
            return tunnel.poll_recv(cx, &self.worker.buffers).map_err(|_| Fault::ClientInterrupted);
        }
        if self.reply.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Fault::ClientInterrupted));
        }
        while self.piece.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(frame) => frame.map_err(|_| Fault::ClientInterrupted)?,
                None => return Poll::Ready(self.last_piece(None)),
            };
            match frame.into_data() {
                Ok(data) => self.piece = data,
                Err(frame) => {
                    let trailers = frame.into_trailers().ok();
                    return Poll::Ready(self.last_piece(trailers.as_ref()));
                }
            }
        }
        if matches!(self.left, Left::Bytes(left) if left < self.piece.len() as u64) {
            return Poll::Ready(Err(RequestFlaw::BadContentLength.into())); // longer than it was said to be
        }
        Poll::Ready(Ok(self.take_piece()))
    }

    fn is_body_done(&self) -> bool {
        self.tunnel.as_ref().map_or(self.left == DONE, Tunnel::has_ended)
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.reply.poll_gone(cx)
    }

    /// Whoever read the request does that as soon as its body is asked for.
    fn answer_continue(&mut self) {}

    fn keeps_chunks(&self) -> bool {
        true
    }

    fn takes_interim_responses(&self) -> bool {
        false
    }

    fn begin_head(&mut self, status: u16, _: &[u8]) {
        let mut head = Response::new(());
        *head.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        self.head = Some(head);
        self.chunks = None;
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) else {
            return; // the parser lets nothing pass that is none
        };
        if name == header::TRANSFER_ENCODING {
            self.chunks = Some(Unchunk::default());
        } else if let Some(head) = &mut self.head {
            head.headers_mut().append(name, value);
        }
    }

    fn end_head(&mut self, _: Option<Persistence>) {}

    fn poll_send(&mut self, cx: &mut Context<'_>, body: &[u8]) -> Poll<io::Result<usize>> {
        self.send_head();
        if let Some(tunnel) = &mut self.tunnel {
            let sent = ready!(tunnel.poll_send(cx, body))?;
            self.bytes_sent += sent as u64;
            return Poll::Ready(Ok(sent));
        }
        if self.reply.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut taken = 0;
        while taken < body.len() {
            match self.poll_pass(cx, body.get(taken..).unwrap_or_default())? {
                Poll::Ready(n) => taken += n,
                Poll::Pending if taken == 0 => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn forget_head(&mut self) -> bool {
        self.head.take().is_some()
    }

    fn upgrade(&mut self) {
        self.tunnel = self.upgrade.take().map(Tunnel::new);
    }

    fn poll_close_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tunnel.as_mut().map_or(Poll::Ready(Ok(())), |tunnel| tunnel.poll_close_send(cx))
    }

    fn bytes_sent(&self) -> u64 {
        self.bytes_sent
    }
}
