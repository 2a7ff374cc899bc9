//! The origin: the server behind the proxy. One thread, as cheap as can be, because its cost is part of every measurement.
//!
//! - [`Listener`]: one address and how it behaves: service times ([`Latency`]), one at a time, stalls, [`Misbehaviour`].
//! - [`serve`]: serves listeners until told to stop. [`Origin`]: the same in a thread of its own, for tests.
//! - [`Counts`]: what it served, also at `GET /__counts`.
//!
//! Paths: `/` 13 bytes; `/1k`, `/64k`, `/1m`, any size up to 64m; `/chunked` and `/trailers` 1 KiB in chunks;
//! `/as/NAME` one misbehaviour for this request; a WebSocket upgrade on any path is echoed. Bodies of requests are read and
//! thrown away. HTTP/1.1 in the clear by default, HTTP/2 and TLS by listener.

mod answers;
mod connection;
mod counts;
mod dyno;
pub(crate) mod http2;
mod latency;
mod listener;
mod misbehaviour;
mod websocket;

use std::{io, net::SocketAddr, rc::Rc, sync::Arc, thread};

use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::LocalSet,
};

use self::{answers::Answers, dyno::Dyno};
pub use self::{
    counts::{Counts, Served},
    latency::Latency,
    listener::{Listener, Speaks},
    misbehaviour::Misbehaviour,
};
use crate::{alarm::Alarm, tls, wire::Scratch};

/// Why an origin could not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot {deed} {address}: {source}")]
pub struct OriginError {
    deed: &'static str,
    address: SocketAddr,
    source: io::Error,
}

/// What the connections of an origin share.
struct House {
    answers: Answers,
    counts: Arc<Counts>,
    scratch: Scratch,
    alarm: Alarm,
}

/// Serves `listeners` until `stop` changes; `ready` is told the addresses, in the order of the listeners.
///
/// # Errors
/// An address cannot be bound.
pub async fn serve(
    listeners: Vec<Listener>,
    seed: u64,
    counts: Arc<Counts>,
    ready: impl FnOnce(&[SocketAddr]),
    mut stop: watch::Receiver<bool>,
) -> Result<(), OriginError> {
    let set = LocalSet::new();
    set.run_until(async {
        let unbound = SocketAddr::from(([127, 0, 0, 1], 0));
        let alarm = Alarm::start().map_err(|source| OriginError {
            deed: "have a timer for",
            address: unbound,
            source,
        })?;
        let house =
            Rc::new(House { answers: Answers::new(), counts, scratch: Scratch::new(), alarm: alarm.clone() });
        let mut addresses = Vec::new();
        let mut closed = Vec::new(); // bound but not listening: connections to it are refused
        for (listener, seed) in listeners.into_iter().zip(seed..) {
            let fail = |deed| move |source| OriginError { deed, address: listener.address, source };
            let socket = listener::bind(listener.address).map_err(fail("bind"))?;
            let bound = socket.local_addr().ok().and_then(|address| address.as_socket());
            addresses.push(bound.unwrap_or(listener.address));
            if listener.misbehaviour == Some(Misbehaviour::Refuses) {
                closed.push(socket);
                continue;
            }
            socket.listen(4096).map_err(fail("listen on"))?;
            let accepting = TcpListener::from_std(socket.into()).map_err(fail("listen on"))?;
            let tls = (listener.speaks == Speaks::Tls)
                .then(tls::server)
                .transpose()
                .map_err(|error| fail("make a certificate for")(io::Error::other(error)))?;
            let dyno = Rc::new(Dyno::new(listener, seed, alarm.clone()));
            tokio::task::spawn_local(connection::accept(accepting, tls, dyno, Rc::clone(&house)));
        }
        ready(&addresses);
        let _stopped = stop.wait_for(|stop| *stop).await;
        drop(closed);
        Ok(())
    })
    .await
}

/// An origin in a thread of its own; it ends when this is dropped.
pub struct Origin {
    /// The addresses, in the order of the listeners.
    pub addresses: Vec<SocketAddr>,
    /// What has been served so far.
    pub counts: Arc<Counts>,
    stop: watch::Sender<bool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Origin {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// An address cannot be bound, or there is no thread or runtime to be had.
    pub fn start(listeners: Vec<Listener>, seed: u64) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let counts = Arc::<Counts>::default();
        let (stop, stopped) = watch::channel(false);
        let (ready, is_ready) = oneshot::channel::<Vec<SocketAddr>>();
        let (failure, failed) = std::sync::mpsc::channel();
        let counting = Arc::clone(&counts);
        let thread = thread::Builder::new().name("origin".into()).spawn(move || {
            let announce = |addresses: &[SocketAddr]| {
                let _gone = ready.send(addresses.to_vec());
            };
            if let Err(error) = runtime.block_on(serve(listeners, seed, counting, announce, stopped)) {
                let _gone = failure.send(error);
            }
        })?;
        let addresses = is_ready.blocking_recv().map_err(|_| {
            failed.recv().map_or_else(|_| io::Error::other("the origin ended"), io::Error::other)
        })?;
        Ok(Self { addresses, counts, stop, thread: Some(thread) })
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}
