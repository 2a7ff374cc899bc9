//! One worker's life: accept, tick, drain.

use std::{
    future::{Future, poll_fn},
    io,
    net::TcpListener,
    pin::pin,
    rc::Rc,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::LocalSet,
};

use super::{drain::DrainSignal, options::ServerOptions};
use crate::{
    edge::h1::{self, Peer},
    observe::counters::Counters,
    route::table::TableReader,
    worker::{Worker, sweep::TICK},
};

/// How long requests that are cut may take to say so in the log.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How long accepting pauses when the system has no more file descriptors or memory.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// How many connections are still accepted once the drain has begun: as many as the kernel's queue can hold.
const QUEUE: usize = super::listen::BACKLOG as usize;

/// What a worker is given to start with.
pub(crate) struct Seat {
    pub(crate) options: Arc<ServerOptions>,
    pub(crate) table: TableReader,
    pub(crate) counters: Arc<Counters>,
    pub(crate) drain: DrainSignal,
    pub(crate) start: Instant,
    pub(crate) sockets: Vec<TcpListener>,
}

/// Starts a worker on a thread of its own.
pub(crate) fn spawn(number: usize, seat: Seat) -> io::Result<thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sockets = {
        let _guard = runtime.enter();
        let sockets = seat.sockets.iter().map(TcpListener::try_clone);
        sockets.map(|socket| tokio::net::TcpListener::from_std(socket?)).collect::<io::Result<Vec<_>>>()?
    };
    thread::Builder::new().name(format!("busbar-worker-{number}")).spawn(move || {
        LocalSet::new().block_on(&runtime, live(seat, sockets));
    })
}

/// Serves until the drain is over.
async fn live(seat: Seat, sockets: Vec<tokio::net::TcpListener>) {
    let mut drain = seat.drain.clone();
    let limit = seat.options.connections_per_worker.min(Semaphore::MAX_PERMITS);
    let places = Arc::new(Semaphore::new(limit));
    let worker = Rc::new(Worker::new(seat));
    for socket in sockets {
        tokio::task::spawn_local(accept(Rc::clone(&worker), socket, Arc::clone(&places)));
    }
    let ticking = tokio::task::spawn_local(tick(Rc::clone(&worker)));

    let patience = drain.begun().await;
    worker.sweep.wake_all();
    if all_gone(&places, limit, patience).await.is_err() {
        worker.counters.cut.add((limit - places.available_permits()) as u64);
        worker.cut.set(true);
        worker.sweep.wake_all();
        // Whoever is left after that has nothing more to say.
        drop(all_gone(&places, limit, LAST_WORDS).await);
    }
    ticking.abort();
    worker.pool.clear();
    worker.log.hand_over();
}

/// Whether all connections were given back in time.
async fn all_gone(
    places: &Semaphore,
    limit: usize,
    patience: Duration,
) -> Result<(), tokio::time::error::Elapsed> {
    let all = u32::try_from(limit).unwrap_or(u32::MAX);
    tokio::time::timeout(patience, places.acquire_many(all)).await.map(drop)
}

/// What is done now and then instead of per request.
async fn tick(worker: Rc<Worker>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        worker.clock.look();
        let now = worker.now();
        worker.sweep.run(now);
        worker.pool.tidy(now);
        let dropped = worker.log.hand_over();
        worker.counters.log_lines_dropped.add(dropped);
    }
}

async fn accept(worker: Rc<Worker>, socket: tokio::net::TcpListener, places: Arc<Semaphore>) {
    let mut drain = worker.drain.clone();
    let mut left_in_queue = QUEUE;
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let accepted = tokio::select! {
            biased;
            _ = drain.begun(), if !worker.drain.is_draining() => continue,
            accepted = socket.accept() => accepted,
            // Who is in the kernel's queue when the drain begins is still served.
            () = async {}, if worker.drain.is_draining() => return,
        };
        match accepted {
            Ok((stream, client)) => {
                // Only a hint; a connection without it is merely slower.
                drop(stream.set_nodelay(true));
                let peer = Peer { client, tls: false };
                tokio::task::spawn_local(connection(Rc::clone(&worker), stream, peer, place));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections; trying again");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
        if worker.drain.is_draining() {
            left_in_queue -= 1;
            if left_in_queue == 0 {
                return;
            }
        }
    }
}

/// Errors that concern the connection that was to be accepted, not the socket.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// Serves one connection. A panic ends this connection only.
async fn connection(worker: Rc<Worker>, stream: TcpStream, peer: Peer, place: OwnedSemaphorePermit) {
    worker.counters.connections.add(1);
    worker.counters.connections_open.add(1);
    let open = Open { worker: Rc::clone(&worker), _place: place };
    worker.clock.look();
    let mut serving = pin!(h1::serve(worker, stream, peer));
    poll_fn(|cx| {
        open.worker.clock.look();
        serving.as_mut().poll(cx)
    })
    .await;
}

/// An open connection; dropped, it is not.
struct Open {
    worker: Rc<Worker>,
    _place: OwnedSemaphorePermit,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.worker.counters.connections_open.sub(1);
        if thread::panicking() {
            self.worker.counters.panics.add(1);
            tracing::error!("a bug: serving a connection panicked; it was cut, all others go on");
        }
    }
}
