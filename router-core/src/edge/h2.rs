//! HTTP/2 clients, by the `h2` crate.
//!
//! - [`serve`]: one connection from its preface to its end; one task drives it and all its streams.
//! - [`preface`]: who speaks HTTP/2 without TLS.
//! - [`stream`]: one stream through the proxy. [`client`]: what the proxy sees of it. [`websocket`]: RFC 8441.
//! - [`wire`]: the socket below h2, where writes are gathered. [`outlet`]: what all streams together may have in its way.
//! - [`guard`]: counts what costs a client little and the router much. [`end`]: how a connection ends, and why.
//!
//! h2 keeps the frames, the windows, HPACK and the states of streams. A request becomes the text that HTTP/1.1 would have, and
//! what HTTP/1.1 cannot say unmistakably is refused like everywhere.

mod client;
mod end;
mod guard;
mod outlet;
pub(crate) mod preface;
pub(crate) mod stream;
mod websocket;
mod wire;

use std::{
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use h2::{
    Reason, RecvStream,
    server::{Builder, Connection as H2, SendResponse},
};

use self::{
    end::{Deed, End, Phase, Sight},
    outlet::{Outlet, Piece},
    stream::Link,
    wire::{Wire, WireIo},
};
use super::h1::{Connection, Peer, linger};
use crate::{
    io::Transport,
    observe::counters::Closed,
    server::options::ServerOptions,
    worker::{InProgress, Worker, sweep::Timer},
};

/// Serves a connection until it is closed, and says why it is.
pub(crate) async fn serve<T: Transport>(worker: Rc<Worker>, connection: Connection<T>, peer: Peer) -> Closed {
    let Connection { io, pending } = connection;
    let wire = Wire::new(io, pending, &worker.buffers, worker.now());
    let outlet = Outlet::new(worker.options.http2.send_buffer);
    let timer = Timer::new(&worker.sweep);
    let end = {
        let link = Rc::new(Link { worker: Rc::clone(&worker), peer, wire: Rc::clone(&wire), outlet });
        Box::pin(async {
            match shake_hands(&link, &timer).await {
                Ok(h2) => drive(&link, h2, &timer).await,
                Err(end) => end,
            }
        })
        .await
    };
    let broken = wire.io(T::broken_by);
    if let (Some(io), Some(patience)) = (wire.into_io(), end.lingers) {
        linger::close(&worker, &mut Connection { io, pending: None }, &timer, patience).await;
    }
    broken.unwrap_or(end.why)
}

/// Waits for the client's preface, within the time of a handshake.
async fn shake_hands<T: Transport>(link: &Link<T>, timer: &Timer) -> Result<H2<WireIo<T>, Piece>, End> {
    let worker = &link.worker;
    let deadline = worker.now() + worker.options.handshake_timeout;
    let mut handshake = Box::pin(builder(&worker.options).handshake(WireIo(Rc::clone(&link.wire))));
    poll_fn(|cx| {
        let shaken = handshake.as_mut().poll(cx);
        let sent = link.wire.poll_flush(cx);
        match shaken {
            Poll::Ready(Ok(h2)) => Poll::Ready(Ok(h2)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(End::of_error(&error, Closed::ClientLeft, &[]))),
            Poll::Pending if matches!(sent, Poll::Ready(Err(_))) => {
                Poll::Ready(Err(End::now(Closed::ClientLeft)))
            }
            Poll::Pending if worker.is_cut() => Poll::Ready(Err(End::now(Closed::DrainCut))),
            Poll::Pending if worker.now() >= deadline => Poll::Ready(Err(End::now(Closed::Http2SlowHead))),
            Poll::Pending => {
                timer.set(cx, deadline);
                Poll::Pending
            }
        }
    })
    .await
}

fn builder(options: &ServerOptions) -> Builder {
    let bounds = options.http2;
    let head = options.request_limits.head;
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(bounds.streams)
        .initial_window_size(bounds.stream_window)
        .initial_connection_window_size(bounds.connection_window)
        .max_frame_size(bounds.frame)
        // A head that is too long is told so by the parser; h2 counts 32 bytes more per header.
        .max_header_list_size(u32::try_from(head + head / 4).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(bounds.streams as usize)
        .max_local_error_reset_streams(Some(bounds.stream_errors))
        .max_send_buffer_size(bounds.send_buffer)
        .enable_connect_protocol();
    builder
}

type Came = (http::Request<RecvStream>, SendResponse<Piece>);

/// One connection after its handshake.
struct Drive<'a, T, F> {
    link: &'a Rc<Link<T>>,
    h2: H2<WireIo<T>, Piece>,
    streams: FuturesUnordered<F>,
    /// Makes the future of a stream: a name for its type.
    begin: fn(Rc<Link<T>>, Came) -> F,
    phase: Phase,
    in_progress: Option<InProgress<'a>>,
}

/// Drives a connection and its streams until it ends.
async fn drive<T: Transport>(link: &Rc<Link<T>>, h2: H2<WireIo<T>, Piece>, timer: &Timer) -> End {
    let mut drive = Drive {
        link,
        h2,
        streams: FuturesUnordered::new(),
        begin: stream::serve,
        phase: Phase::new(link.worker.now()),
        in_progress: None,
    };
    let end = poll_fn(|cx| drive.poll(cx, timer)).await;
    let Drive { h2, mut streams, in_progress, .. } = drive;
    drop(h2);
    link.outlet.close();
    // Each stream learns that its client has gone, and says so in the log.
    while streams.next().await.is_some() {}
    drop(in_progress);
    end
}

impl<T: Transport, F: Future<Output = ()>> Drive<'_, T, F> {
    fn poll(&mut self, cx: &mut Context<'_>, timer: &Timer) -> Poll<End> {
        let Link { worker, wire, outlet, .. } = &**self.link;
        loop {
            // Everybody has a turn before anything is sent: frames of many streams go in one piece.
            loop {
                if let Poll::Ready(error) = self.poll_h2(cx) {
                    let (streams, said) = (self.streams.len(), wire.last_words());
                    return Poll::Ready(self.phase.ended(worker, error.as_ref(), streams, &said));
                }
                self.poll_streams(cx);
                if !outlet.take_stirred() {
                    break;
                }
            }
            if matches!(wire.poll_flush(cx), Poll::Ready(Err(_))) {
                return Poll::Ready(self.phase.dropped(worker, self.streams.len()));
            }
            if outlet.settle(wire.is_stuck()) {
                continue;
            }
            let sight = self.look();
            match self.phase.step(worker, sight) {
                Deed::Leave => self.h2.graceful_shutdown(),
                Deed::Condemn(reason) => self.h2.abrupt_shutdown(reason),
                Deed::Drop => return Poll::Ready(self.phase.dropped(worker, self.streams.len())),
                Deed::Wait(until) => {
                    timer.set(cx, until);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Lets h2 read and write, and begins the streams that came; ready when it is done, perhaps with an error.
    fn poll_h2(&mut self, cx: &mut Context<'_>) -> Poll<Option<h2::Error>> {
        loop {
            match self.h2.poll_accept(cx) {
                Poll::Ready(Some(Ok(came))) => self.take_in(came),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(error)),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Begins a stream, unless it is refused: streams that the client has reset may still be at work.
    fn take_in(&mut self, mut came: Came) {
        let worker = &self.link.worker;
        let most = 2 * worker.options.http2.streams as usize;
        if self.streams.len() >= most || self.phase.refuses(worker.now()) {
            came.1.send_reset(Reason::REFUSED_STREAM);
            self.link.outlet.stir();
        } else {
            self.streams.push((self.begin)(Rc::clone(self.link), came));
        }
    }

    /// Polls the streams that were woken. How much each of them does is bounded by windows, so none of them is made to wait
    /// for tokio's budget.
    fn poll_streams(&mut self, cx: &mut Context<'_>) {
        let streams = &mut self.streams;
        let mut turn = pin!(tokio::task::unconstrained(poll_fn(|cx| {
            while let Poll::Ready(Some(())) = streams.poll_next_unpin(cx) {}
            Poll::<()>::Pending
        })));
        let _always_pending = turn.as_mut().poll(cx);
    }

    /// What is seen of the connection, after settling its account.
    fn look(&mut self) -> Sight {
        let Link { worker, wire, outlet, .. } = &**self.link;
        let streams = self.streams.len();
        let owes = outlet.is_owing() || wire.is_stuck();
        if streams == 0 && !owes {
            self.in_progress = None;
        } else if self.in_progress.is_none() {
            self.in_progress = Some(self.link.worker.in_progress());
        }
        let (bytes, frames) = outlet.take_given();
        let answered = outlet.take_answered();
        let within_head = wire.guard(|guard| {
            guard.tick(worker.now());
            guard.sent(bytes, frames);
            guard.answered(answered);
            guard.is_within_head()
        });
        Sight { streams, owes, sent: wire.sent(), gave: frames > 0, within_head, abuse: wire.abuse() }
    }
}

#[cfg(test)]
mod tests {

    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::{
        io::Socket,
        route::{logline::Tls, table::RouteTable},
        server::ServerOptions,
    };

    const fn size_of_result<T: Transport, F>(_: fn(Rc<Link<T>>, Came) -> F) -> usize {
        size_of::<F>()
    }

    #[tokio::test]
    async fn an_idle_connection_over_http2_is_small_and_so_is_a_stream() {
        let (table, _publisher) = RouteTable::new();
        let worker = Rc::new(Worker::alone(ServerOptions::default(), table.reader()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = listener.local_addr().unwrap();
        let io = Socket::Tcp(TcpStream::connect(client).await.unwrap());
        let peer = Peer { client: Some(client.ip()), tls: Tls::Plain };
        let serves = size_of_val(&serve(worker, Connection { io, pending: None }, peer));
        let drives = size_of::<Drive<'_, Socket, ()>>();
        let stream = size_of_result(stream::serve::<Socket>);
        assert!(serves <= 512 && drives <= 2048, "{serves} and {drives} bytes idle, {stream} for a stream");
        assert!(stream <= 3584, "{stream} bytes for a stream");
    }
}
