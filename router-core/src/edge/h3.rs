//! HTTP/3 clients (RFC 9114), with quinn and h3. Experimental.
//!
//! - [`serve`]: one connection: its streams, its idle end, its drain.
//! - [`body`]: a request's body as it comes. [`response`]: the response on its way, piece by piece.
//!
//! A request takes the way of [`super::http`]: it is written as HTTP/1.1 and read by everybody's strict parser.
//! What a stream may hold is bounded by its window, what a connection may hold by the connection's.

mod body;
mod response;

use std::{cell::Cell, future::poll_fn, pin::pin, rc::Rc, sync::Arc, task::Poll, time::Duration};

use ::http::{HeaderMap, header};
use bytes::Bytes;
use h3::{error::Code, server::RequestResolver};
use tokio::task::JoinSet;

use self::body::StreamBody;
use super::{h1::Peer, http};
use crate::{
    observe::counters::Closed,
    route::{Moment, logline::Tls},
    server::accept::awake,
    tls::CertificateStore,
    worker::{Worker, sweep::Timer},
};

/// How long the last response may be on its way to a client that is told to go: a close would overtake it.
const LINGER: Duration = Duration::from_secs(2);

type Connection = h3::server::Connection<h3_quinn::Connection, Bytes>;
type Resolver = RequestResolver<h3_quinn::Connection, Bytes>;

/// What all requests of a connection share.
pub(crate) struct Shared {
    worker: Rc<Worker>,
    quic: quinn::Connection,
    store: Arc<CertificateStore>,
    /// The name the client asked for.
    name: Option<Box<str>>,
    /// Requests under way.
    under_way: Cell<usize>,
}

impl Shared {
    /// A connection made for `name`, with certificates of `store`.
    pub(crate) fn new(
        worker: &Rc<Worker>,
        quic: quinn::Connection,
        store: Arc<CertificateStore>,
        name: Option<Box<str>>,
    ) -> Self {
        Self { worker: Rc::clone(worker), quic, store, name, under_way: Cell::new(0) }
    }

    /// Who is at the other end now: a client may have moved to another address (RFC 9000 §9).
    fn peer(&self) -> Peer {
        Peer { client: Some(self.quic.remote_address().ip().to_canonical()), tls: Tls::V13 }
    }

    /// Whether a request for this host may come over this connection.
    fn serves(&self, host: &str) -> bool {
        self.name.as_deref().is_none_or(|name| name == host || self.store.cover_both(name, host))
    }
}

/// How a connection goes on.
enum Next {
    Request(Box<Resolver>),
    /// Nothing was asked for too long.
    Idle,
    /// No further requests are taken.
    Drain,
    Gone,
    Cut,
}

/// Serves a connection until it is closed, and says why it is.
pub(crate) async fn serve(shared: Shared) -> Closed {
    let worker = Rc::clone(&shared.worker);
    let timer = Timer::new(&worker.sweep);
    let mut settings = h3::server::builder();
    settings.max_field_section_size(worker.options.request_limits.head as u64);
    let built = settings.build(h3_quinn::Connection::new(shared.quic.clone())).await;
    let Ok(mut connection) = built else { return Closed::ClientLeft };
    let shared = Rc::new(shared);
    // Dropped with the connection: whoever waits for a response of it has gone.
    let mut streams = JoinSet::new();
    let mut draining = false;
    let mut idle_since = worker.now();
    loop {
        while streams.try_join_next().is_some() {}
        match next(&shared, &mut connection, &timer, &mut idle_since, draining).await {
            Next::Request(resolver) => {
                let stream = Rc::clone(&shared);
                shared.under_way.set(shared.under_way.get() + 1);
                streams.spawn_local(async move {
                    let _under_way = UnderWay(Rc::clone(&stream));
                    let worker = Rc::clone(&stream.worker);
                    awake(&worker, pin!(request(&stream, *resolver))).await;
                });
            }
            Next::Drain => {
                draining = true;
                if connection.shutdown(0).await.is_err() {
                    return Closed::ClientLeft;
                }
            }
            Next::Idle => {
                drop(connection.shutdown(0).await);
                return if draining { Closed::DrainIdle } else { Closed::Idle };
            }
            Next::Gone if draining => {
                // No further request can come; those under way are still answered.
                while !worker.is_cut() && streams.join_next().await.is_some() {}
                return if worker.is_cut() { Closed::DrainCut } else { Closed::DrainAnswered };
            }
            Next::Gone if shared.under_way.get() > 0 => return Closed::Broken,
            Next::Gone => return Closed::ClientLeft,
            Next::Cut => return Closed::DrainCut,
        }
    }
}

/// A request under way; dropped, it is not.
struct UnderWay(Rc<Shared>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
    }
}

/// Waits for the next request, for as long as a client may idle.
async fn next(
    shared: &Shared,
    connection: &mut Connection,
    timer: &Timer,
    idle_since: &mut Moment,
    draining: bool,
) -> Next {
    let worker = &shared.worker;
    let mut accepted = pin!(connection.accept());
    poll_fn(|cx| {
        worker.clock.look();
        if let Poll::Ready(accepted) = accepted.as_mut().poll(cx) {
            *idle_since = worker.now();
            return Poll::Ready(match accepted {
                Ok(Some(resolver)) => Next::Request(Box::new(resolver)),
                Ok(None) | Err(_) => Next::Gone,
            });
        }
        let now = worker.now();
        if shared.under_way.get() > 0 {
            *idle_since = now;
        }
        if worker.is_cut() {
            return Poll::Ready(Next::Cut);
        }
        if worker.is_draining() && !draining {
            return Poll::Ready(Next::Drain);
        }
        let patience = worker.options.keepalive_timeout;
        let until = *idle_since + if draining { patience.min(LINGER) } else { patience };
        if now >= until {
            return Poll::Ready(Next::Idle);
        }
        timer.set(cx, until);
        Poll::Pending
    })
    .await
}

/// One request: its head, then both bodies at once.
async fn request(shared: &Rc<Shared>, resolver: Resolver) {
    let worker = &shared.worker;
    let timer = Timer::new(&worker.sweep);
    let deadline = worker.now() + worker.options.head_timeout;
    // Dropped, the stream is reset.
    let resolved = within(worker, &timer, deadline, resolver.resolve_request()).await;
    let Some(Ok((head, mut stream))) = resolved else { return };
    if is_malformed(head.headers()) {
        stream.stop_sending(Code::H3_MESSAGE_ERROR);
        return stream.stop_stream(Code::H3_MESSAGE_ERROR);
    }
    let (send, receive) = stream.split();
    let body = StreamBody::new(receive);
    let Some(body) = within(worker, &timer, deadline, body.begin(&head)).await else { return };
    let (mut parts, ()) = head.into_parts();
    parts.version = ::http::Version::HTTP_3;
    let request = ::http::Request::from_parts(parts, body);
    let (reply, coming) = http::reply::pair();
    // A task of its own: when its client has gone, it learns that from the reply and says so in the log.
    tokio::task::spawn_local(serve_request(Rc::clone(shared), request, reply));
    response::send(worker, &timer, coming, send).await;
}

async fn serve_request(shared: Rc<Shared>, request: ::http::Request<StreamBody>, reply: http::reply::Reply) {
    let worker = &*shared.worker;
    let _in_progress = worker.in_progress();
    let serves = |host: &str| shared.serves(host);
    awake(worker, pin!(http::serve(worker, request, shared.peer(), &serves, reply))).await;
}

/// Whether there are headers that belong to a connection of HTTP/1.1 (RFC 9114 §4.2).
fn is_malformed(fields: &HeaderMap) -> bool {
    let never = [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE];
    never.iter().any(|name| fields.contains_key(name))
        || ["keep-alive", "proxy-connection"].iter().any(|name| fields.contains_key(*name))
        || fields.get_all(header::TE).iter().any(|te| te != "trailers")
}

/// What `deed` leads to, if that is soon enough.
async fn within<T>(
    worker: &Worker,
    timer: &Timer,
    deadline: Moment,
    deed: impl Future<Output = T>,
) -> Option<T> {
    let mut deed = pin!(deed);
    poll_fn(|cx| match deed.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if worker.now() >= deadline || worker.is_cut() => Poll::Ready(None),
        Poll::Pending => {
            timer.set(cx, deadline);
            Poll::Pending
        }
    })
    .await
}
