//! What the proxy sees of a request of the `http` crate.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use hyper::upgrade::OnUpgrade;

use super::{reply::Reply, tunnel::Tunnel};
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
    proxy::Client,
    route::Fault,
    worker::{Worker, buffers::Buffer},
};

/// The client of one request.
pub(super) struct HttpClient<'a, B> {
    worker: &'a Worker,
    body: B,
    upload: Upload,
    reply: &'a mut Reply,
    only_head: bool,
    heading: Heading,
    upgrade: Option<OnUpgrade>,
    tunnel: Option<Tunnel>,
    bytes_sent: u64,
}

impl<'a, B: Body<Data = Bytes> + Unpin> HttpClient<'a, B> {
    pub(super) fn new(
        worker: &'a Worker,
        body: B,
        head: &RequestHead,
        upgrade: Option<OnUpgrade>,
        reply: &'a mut Reply,
    ) -> Self {
        Self { upload: Upload::new(head.framing), upgrade, ..Self::unread(worker, body, head.is_head, reply) }
    }

    /// The client of a request that cannot be read as one.
    pub(super) fn unread(worker: &'a Worker, body: B, only_head: bool, reply: &'a mut Reply) -> Self {
        Self {
            worker,
            body,
            upload: Upload::new(Framing::Empty),
            reply,
            only_head,
            heading: Heading::default(),
            upgrade: None,
            tunnel: None,
            bytes_sent: 0,
        }
    }

    /// The body has ended.
    fn last_piece(&mut self, trailers: Option<&HeaderMap>) -> Result<Buffer, Fault> {
        let most = self.worker.options.request_limits.chunks.trailers;
        self.upload.end(trailers, most, &self.worker.buffers)
    }

    /// Sends on some of a response's body; how much of it.
    fn poll_pass(&mut self, cx: &mut Context<'_>, body: &[u8]) -> Poll<io::Result<usize>> {
        let room = ready!(self.reply.poll_room(cx))?;
        let Some(chunks) = &mut self.heading.chunks else {
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
        if let Some(ready) = self.heading.take(self.only_head) {
            self.bytes_sent += ready.bytes;
            self.reply.head(ready.head, ready.empty);
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Client for HttpClient<'_, B> {
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Buffer, Fault>> {
        if let Some(tunnel) = &mut self.tunnel {
            return tunnel.poll_recv(cx, &self.worker.buffers).map_err(|_| Fault::ClientInterrupted);
        }
        if self.reply.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Fault::ClientInterrupted));
        }
        while self.upload.wants_piece() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(frame) => frame.map_err(|_| Fault::ClientInterrupted)?,
                None => return Poll::Ready(self.last_piece(None)),
            };
            match frame.into_data() {
                Ok(data) => self.upload.put(data)?,
                Err(frame) => {
                    let trailers = frame.into_trailers().ok();
                    return Poll::Ready(self.last_piece(trailers.as_ref()));
                }
            }
        }
        Poll::Ready(Ok(self.upload.take(&self.worker.buffers)))
    }

    fn is_body_done(&self) -> bool {
        self.tunnel.as_ref().map_or(self.upload.is_done(), Tunnel::has_ended)
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
        self.heading.begin(status);
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        self.heading.field(name, value);
    }

    fn end_head(&mut self, _: Option<Persistence>) {}

    fn poll_send(&mut self, cx: &mut Context<'_>, body: &[u8]) -> Poll<io::Result<usize>> {
        self.send_head();
        if let Some(tunnel) = &mut self.tunnel {
            let sent = ready!(tunnel.poll_send(cx, body))?;
            self.bytes_sent += sent as u64;
            return Poll::Ready(Ok(sent));
        }
        // Who has the last of it may leave before it is asked.
        if self.heading.chunks.as_ref().is_some_and(Unchunk::is_done) {
            return Poll::Ready(Ok(body.len()));
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
        self.heading.forget()
    }

    fn upgrade(&mut self) -> Result<(), Fault> {
        self.tunnel = self.upgrade.take().map(Tunnel::new);
        Ok(())
    }

    fn poll_close_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tunnel.as_mut().map_or(Poll::Ready(Ok(())), |tunnel| tunnel.poll_close_send(cx))
    }

    fn bytes_sent(&self) -> u64 {
        self.bytes_sent
    }
}
