//! The server's side of the wire.
//!
//! - [`serve`]: accepts connections of a [`Listener`] until it is told to stop, then lets them end.
//! - [`Limits`]: how many, how large, how long.
//! - `api`: one function per route. `call`: a request, its token checked. `answer`: refusals as JSON. `lines`: streams.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};

use crate::{Bound, Capabilities, Refusal, Registry};

mod answer;
mod api;
mod call;
mod lines;

use answer::No;
use api::Api;

/// Connections beyond the limit that are told so; more than these wait in the kernel's queue.
const TOLD_FULL: usize = 64;

/// The most bytes of a request's head.
const HEAD: usize = 64 * 1024;

/// Where connections come from. The caller binds it, and chooses who may reach it: the wire has no encryption of its
/// own, so TCP belongs on loopback or a private network.
#[derive(Debug)]
pub enum Listener {
    /// A unix socket. Its file stays when the server ends.
    Unix(UnixListener),
    /// TCP.
    Tcp(TcpListener),
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

/// How many, how large, how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time. Default 1024; one costs about 20 KiB.
    pub connections: usize,
    /// Connections at a time that keep a lease. Default 768, so that there is room for everyone else.
    pub holds: usize,
    /// The longest wait for a request's head, also on a connection that is kept for the next one. Default 10 s.
    pub head_timeout: Duration,
    /// The longest wait for a request's body. Default 10 s.
    pub body_timeout: Duration,
    /// The most bytes of a body that comes with an app's token. Default 64 KiB.
    pub app_body: usize,
    /// The most bytes of a body that comes with the operator's token. Default 1 MiB.
    pub operator_body: usize,
    /// How long a TCP peer may leave bytes unacknowledged before it counts as gone. Default 10 s. Without it, a hold
    /// of a host that lost its power would go on for a quarter of an hour.
    pub peer_timeout: Duration,
    /// How long connections may take to end when the server stops. Default 5 s.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            holds: 768,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            app_body: 64 * 1024,
            operator_body: 1024 * 1024,
            peer_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(5),
        }
    }
}

/// Serves the registry until `shutdown`; then accepts nothing more, ends holds and watches, and lets requests finish.
/// Returns how many connections had to be cut because they took longer than [`Limits::drain_timeout`].
///
/// Cancel safe, but a dropped call cuts every connection at once.
pub async fn serve(
    registry: Arc<dyn Registry>,
    capabilities: Capabilities,
    listener: impl Into<Listener> + Send,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send,
) -> usize {
    let listener = listener.into();
    let closing = watch::Sender::new(false);
    let door = Door {
        open: api::router(Api::new(registry, capabilities, limits, closing.subscribe())),
        full: Router::new().fallback(move || async move {
            No::from(Refusal::Full { what: Bound::Connections, limit: limits.connections })
        }),
        connections: Arc::new(Semaphore::new(limits.connections)),
        told_full: Arc::new(Semaphore::new(TOLD_FULL)),
    };
    let mut tasks = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = tasks.join_next() => {}
            (stream, router, permit) = door.next(&listener, limits) => {
                let closing = closing.subscribe();
                match stream {
                    Stream::Unix(stream) => tasks.spawn(converse(stream, router, permit, limits, closing)),
                    Stream::Tcp(stream) => tasks.spawn(converse(stream, router, permit, limits, closing)),
                };
            }
        }
    }
    drop(listener);
    closing.send_replace(true);
    let all_gone = async { while tasks.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(limits.drain_timeout, all_gone).await;
    tasks.len()
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// Who comes in, and who is told that it is full.
struct Door {
    open: Router,
    full: Router,
    connections: Arc<Semaphore>,
    told_full: Arc<Semaphore>,
}

impl Door {
    /// The next connection, what it is served with, and its place.
    async fn next(&self, listener: &Listener, limits: Limits) -> (Stream, Router, OwnedSemaphorePermit) {
        loop {
            let accepted = match listener {
                Listener::Unix(unix) => unix.accept().await.map(|(stream, _)| Stream::Unix(stream)),
                Listener::Tcp(tcp) => tcp.accept().await.and_then(|(stream, _)| prepare(stream, limits)),
            };
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection to the registry; trying again");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            if let Ok(place) = self.connections.clone().try_acquire_owned() {
                return (stream, self.open.clone(), place);
            }
            if let Ok(place) = self.told_full.clone().acquire_owned().await {
                return (stream, self.full.clone(), place);
            }
        }
    }
}

fn prepare(stream: TcpStream, limits: Limits) -> std::io::Result<Stream> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(limits.peer_timeout))?;
    Ok(Stream::Tcp(stream))
}

/// Until the server stops, or is gone altogether.
async fn closed(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

/// One connection, from its first request to its last.
async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
    place: OwnedSemaphorePermit,
    limits: Limits,
    mut closing: watch::Receiver<bool>,
) {
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closed(&mut closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the registry broke");
    }
    drop(place);
}
