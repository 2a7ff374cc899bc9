//! What the proxy sees of an HTTP/1 connection during one request.

#![expect(clippy::indexing_slicing, reason = "ranges within what was just filled or sent")]

use std::{
    io::{self, IoSlice},
    mem,
    task::{Context, Poll, ready},
};

use super::Connection;
use crate::{
    h1::{
        body::Body,
        chunked::KeepFraming,
        framing::Framing,
        request::{Persistence, Version},
    },
    io::Transport,
    proxy::{Client, Request},
    route::{Fault, fault::RequestError, forward},
    worker::{
        Worker,
        buffers::{Buffer, SMALL},
    },
};

/// A body up to this length is sent in one piece with its head.
const SMALL_BODY: usize = 1024;

/// The client of one request.
pub(super) struct H1Client<'a, T> {
    worker: &'a Worker,
    connection: &'a mut Connection<T>,
    /// Bytes to be sent before anything else: heads.
    out: &'a mut Vec<u8>,
    out_sent: usize,
    body: Body,
    version: Version,
    /// Waits for `100 Continue` before it sends its body.
    waits_for_continue: bool,
    /// What is pending cannot be read without more behind it: a line of the chunked coding that is not whole yet.
    needs_more: bool,
    /// The client will send nothing more, on an upgraded connection.
    ended: bool,
    bytes_sent: u64,
}

impl<'a, T: Transport> H1Client<'a, T> {
    pub(super) fn new(
        worker: &'a Worker,
        connection: &'a mut Connection<T>,
        request: &Request<'_>,
        out: &'a mut Vec<u8>,
    ) -> Self {
        let mut client = Self::without_request(worker, connection, out);
        let limits = worker.options.request_limits.chunks;
        client.body = Body::new(request.head.framing, KeepFraming::Yes).within(limits);
        client.version = request.head.version;
        client
    }

    /// A client whose request could not be read.
    pub(super) fn without_request(
        worker: &'a Worker,
        connection: &'a mut Connection<T>,
        out: &'a mut Vec<u8>,
    ) -> Self {
        out.clear();
        let body = Body::new(Framing::Empty, KeepFraming::Yes);
        Self {
            worker,
            connection,
            out,
            out_sent: 0,
            body,
            version: Version::Http11,
            waits_for_continue: false,
            needs_more: false,
            ended: false,
            bytes_sent: 0,
        }
    }

    /// What is pending, or, if that is not enough to go on with, more: received behind it, so that nothing is used up
    /// by `Pending`.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Buffer, Fault>> {
        if !self.needs_more
            && let Some(pending) = self.connection.pending.take()
        {
            return Poll::Ready(Ok(pending));
        }
        if mem::take(&mut self.waits_for_continue) {
            self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        if !self.out.is_empty() {
            ready!(self.poll_flush(cx)).map_err(|_| Fault::ClientInterrupted)?;
        }
        loop {
            ready!(self.connection.io.poll_recv_ready(cx)).map_err(|_| Fault::ClientInterrupted)?;
            let mut piece = self.connection.pending.take().unwrap_or_else(|| self.worker.buffers.passage());
            if piece.is_full() {
                piece.make_room();
            }
            // Not beyond the body, where that can be known.
            let room = piece.spare().len().min(self.body.appetite());
            match self.connection.io.poll_recv(cx, &mut piece.spare()[..room]) {
                Poll::Ready(Ok(0)) if matches!(self.body, Body::UntilClose) => self.ended = true,
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Fault::ClientInterrupted)),
                Poll::Ready(Ok(received)) => piece.fill(received),
                Poll::Pending => {
                    self.connection.pending = Some(piece).filter(|piece| !piece.is_empty());
                    continue;
                }
            }
            return Poll::Ready(Ok(piece));
        }
    }

    /// Keeps of `piece` what is of the body; what follows that is pending.
    fn take_in(&mut self, piece: &mut Buffer) -> Result<(), Fault> {
        let step = self.body.step(piece.filled_mut()).map_err(|_| self.bad_body())?;
        self.needs_more = step.starved;
        let unread = &piece.filled()[step.read..];
        if !unread.is_empty() {
            let mut pending = self.worker.buffers.small();
            pending.append(unread);
            self.connection.pending = Some(pending);
        }
        piece.truncate(step.kept);
        Ok(())
    }

    fn bad_body(&self) -> RequestError {
        match &self.body {
            Body::Chunked(chunked) if chunked.is_in_trailers() => RequestError::BadTrailer,
            _ => RequestError::BadChunk,
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.out_sent < self.out.len() {
            let n = ready!(self.connection.io.poll_send(cx, &[IoSlice::new(&self.out[self.out_sent..])]))?;
            self.sent(n)?;
        }
        self.connection.io.poll_flush(cx)
    }

    /// Accounts for `n` sent bytes; how many of them were of the body.
    fn sent(&mut self, n: usize) -> io::Result<usize> {
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.bytes_sent += n as u64;
        let of_out = n.min(self.out.len() - self.out_sent);
        self.out_sent += of_out;
        if self.out_sent == self.out.len() {
            self.out.clear();
            self.out_sent = 0;
        }
        Ok(n - of_out)
    }
}

impl<T: Transport> Client for H1Client<'_, T> {
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Buffer, Fault>> {
        loop {
            let mut piece = ready!(self.poll_fill(cx))?;
            self.take_in(&mut piece)?;
            if !piece.is_empty() || self.is_body_done() {
                return Poll::Ready(Ok(piece));
            }
        }
    }

    fn is_body_done(&self) -> bool {
        self.ended || self.body.is_done()
    }

    /// Reads ahead meanwhile, but no further than one buffer.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.connection.pending.as_ref().is_some_and(|pending| pending.filled().len() >= SMALL) {
                return Poll::Pending;
            }
            if ready!(self.connection.io.poll_recv_ready(cx)).is_err() {
                return Poll::Ready(());
            }
            let pending = self.connection.pending.get_or_insert_with(|| self.worker.buffers.small());
            // Without room nothing would be received, which looks like the client's end.
            if pending.is_full() {
                pending.make_room();
            }
            match self.connection.io.poll_recv(cx, pending.spare()) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(n)) => pending.fill(n),
                Poll::Pending => {
                    self.connection.pending.take_if(|pending| pending.is_empty());
                    return Poll::Pending;
                }
            }
        }
    }

    fn answer_continue(&mut self) {
        self.waits_for_continue = true;
    }

    fn keeps_chunks(&self) -> bool {
        self.version == Version::Http11
    }

    fn takes_interim_responses(&self) -> bool {
        self.version == Version::Http11
    }

    fn begin_head(&mut self, status: u16, reason: &[u8]) {
        self.waits_for_continue = false;
        self.out.extend_from_slice(b"HTTP/1.1 ");
        self.out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
        self.out.push(b' ');
        self.out.extend_from_slice(reason);
        self.out.extend_from_slice(b"\r\n");
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        forward::line(self.out, name, value);
    }

    fn end_head(&mut self, persistence: Option<Persistence>) {
        match (persistence, self.version) {
            (Some(Persistence::Close), _) => forward::line(self.out, b"Connection", b"close"),
            (Some(Persistence::KeepAlive), Version::Http10) => {
                forward::line(self.out, b"Connection", b"keep-alive");
            }
            (Some(Persistence::KeepAlive), _) | (None, _) => {}
        }
        self.out.extend_from_slice(b"\r\n");
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, body: &[u8]) -> Poll<io::Result<usize>> {
        if body.is_empty() {
            return self.poll_flush(cx).map_ok(|()| 0);
        }
        if !self.out.is_empty() && body.len() <= SMALL_BODY && self.out.len() < SMALL {
            // Copying so little is cheaper than sending two pieces. What is in `out` counts as sent; the flush
            // that ends every response sends it. It grows no further than that while the client takes nothing.
            self.out.extend_from_slice(body);
            return Poll::Ready(Ok(body.len()));
        }
        loop {
            let slices = [IoSlice::new(&self.out[self.out_sent..]), IoSlice::new(body)];
            let slices = if self.out.is_empty() { &slices[1..] } else { &slices[..] };
            let n = ready!(self.connection.io.poll_send(cx, slices))?;
            let of_body = self.sent(n)?;
            if of_body > 0 {
                return Poll::Ready(Ok(of_body));
            }
        }
    }

    fn forget_head(&mut self) -> bool {
        let untouched = self.bytes_sent == 0;
        if untouched {
            self.out.clear();
        }
        untouched
    }

    fn upgrade(&mut self) -> Result<(), Fault> {
        self.body = Body::UntilClose;
        self.ended = false;
        self.needs_more = false;
        Ok(())
    }

    fn poll_close_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.io.poll_close_send(cx)
    }

    fn bytes_sent(&self) -> u64 {
        self.bytes_sent
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;
    use crate::{io::Socket, route::table::RouteTable, server::ServerOptions};

    #[tokio::test]
    async fn what_waits_to_be_sent_does_not_grow_while_the_client_takes_nothing() {
        let worker = Worker::alone(ServerOptions::default(), RouteTable::new().0.reader());
        let (ours, _theirs) = UnixStream::pair().unwrap();
        ours.writable().await.unwrap();
        while ours.try_write(&[0; 4096]).is_ok() {}
        let mut connection = Connection { io: Socket::Unix(ours), pending: None };
        let mut out = Vec::new();
        let mut client = H1Client::without_request(&worker, &mut connection, &mut out);
        client.begin_head(200, b"OK");
        client.end_head(None);
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let pieces = (0..1000).take_while(|_| client.poll_send(cx, &[b'x'; SMALL_BODY]).is_ready()).count();
        assert!((1..100).contains(&pieces), "{pieces} KiB were taken");
    }
}
