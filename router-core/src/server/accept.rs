//! One worker's life: accept, tick, drain.

use std::{
    future::{Future, poll_fn},
    io,
    net::{SocketAddr, TcpListener},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::LocalSet,
};

use super::{drain::DrainSignal, listen::BACKLOG, options::ServerOptions};
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
    let places = Arc::new(Semaphore::new(seat.options.connections_per_worker.min(Semaphore::MAX_PERMITS)));
    let worker = Rc::new(Worker::new(seat));
    let accepting: Vec<_> = sockets
        .into_iter()
        .map(|socket| tokio::task::spawn_local(accept(Rc::clone(&worker), socket, Arc::clone(&places))))
        .collect();
    let ticking = tokio::task::spawn_local(tick(Rc::clone(&worker)));

    let patience = drain.begun().await;
    worker.sweep.wake_all();
    let all_gone = async {
        for socket in accepting {
            drop(socket.await); // a panic there was told already
        }
        while worker.open.get() > 0 {
            worker.closed.notified().await;
        }
    };
    if tokio::time::timeout(patience, all_gone).await.is_err() {
        worker.counters.cut.add(worker.in_progress.get() as u64);
        worker.cut.set(true);
        worker.sweep.wake_all();
        tokio::time::sleep(LAST_WORDS).await; // whoever is left after that has nothing more to say
    }
    ticking.abort();
    worker.pool.clear();
    worker.log.hand_over();
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
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Some(accepted) = next(&worker, &socket).await else { break };
        take(&worker, accepted, place).await;
    }
    // Who is in the kernel's queue when the drain begins is still served, if there is room.
    for _ in 0..BACKLOG {
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { return };
        let Some(accepted) = now_or_never(&socket).await else { return };
        take(&worker, accepted, place).await;
    }
}

type Accepted = io::Result<(TcpStream, SocketAddr)>;

/// The next connection; `None` when the drain begins.
async fn next(worker: &Worker, socket: &tokio::net::TcpListener) -> Option<Accepted> {
    let mut drain = worker.drain.clone();
    tokio::select! {
        biased;
        _ = drain.begun() => None,
        accepted = socket.accept() => Some(accepted),
    }
}

async fn now_or_never(socket: &tokio::net::TcpListener) -> Option<Accepted> {
    poll_fn(|cx| match socket.poll_accept(cx) {
        Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

async fn take(worker: &Rc<Worker>, accepted: Accepted, place: OwnedSemaphorePermit) {
    match accepted {
        Ok((stream, client)) => {
            // Only a hint; a connection without it is merely slower.
            drop(stream.set_nodelay(true));
            let peer = Peer { client, tls: false };
            let open = Open::new(worker, place);
            tokio::task::spawn_local(connection(open, stream, peer));
        }
        Err(error) if is_of_one_connection(&error) => {}
        Err(error) => {
            tracing::error!(%error, "cannot accept connections; trying again");
            tokio::time::sleep(EXHAUSTED).await;
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
async fn connection(open: Open, stream: TcpStream, peer: Peer) {
    let clock = &open.worker.clock;
    clock.look();
    let mut serving = pin!(h1::serve(Rc::clone(&open.worker), stream, peer));
    poll_fn(|cx| {
        clock.look();
        serving.as_mut().poll(cx)
    })
    .await;
}

/// An open connection; dropped, it is not.
struct Open {
    worker: Rc<Worker>,
    _place: OwnedSemaphorePermit,
}

impl Open {
    fn new(worker: &Rc<Worker>, place: OwnedSemaphorePermit) -> Self {
        worker.counters.connections.add(1);
        worker.counters.connections_open.add(1);
        worker.open.set(worker.open.get() + 1);
        Self { worker: Rc::clone(worker), _place: place }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let worker = &self.worker;
        worker.counters.connections_open.sub(1);
        worker.open.set(worker.open.get() - 1);
        worker.closed.notify_one();
        if thread::panicking() {
            worker.counters.panics.add(1);
            tracing::error!("a bug: serving a connection panicked; it was cut, all others go on");
        }
    }
}
