//! One worker's life: accept, tick, drain.
//!
//! - [`Seat`]: what a worker is given. [`spawn`]: starts it.
//! - `accept`: one door's loop. `connection`: one connection, from its PROXY header to its end.
//! - `Open`: what an open connection holds: its place, its client's place, and why it ended.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    io,
    net::IpAddr,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::LocalSet,
};

use super::{
    clients::{ClientPlace, Clients},
    drain::DrainSignal,
    listen::{BACKLOG, Door, OpenDoor},
    options::ServerOptions,
};
use crate::{
    edge::{
        h1::{self, Connection, Peer},
        h2::{self, preface},
        proxy_protocol,
    },
    io::{Socket, Transport},
    observe::counters::{Closed, Counters},
    route::{logline::Tls, table::TableReader},
    tls::handshake::{self, Met},
    worker::{
        Worker,
        sweep::{TICK, Timer},
    },
};

/// How long requests that are cut may take to say so in the log.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How long accepting pauses when the system has no more file descriptors or memory.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// How often that is said at most.
const SAID: Duration = Duration::from_secs(10);

/// What a worker is given to start with.
pub(crate) struct Seat {
    pub(crate) options: Arc<ServerOptions>,
    pub(crate) table: TableReader,
    pub(crate) counters: Arc<Counters>,
    pub(crate) drain: DrainSignal,
    pub(crate) start: Instant,
    pub(crate) sockets: Vec<Door>,
    /// What `Alt-Svc` says to clients that speak TLS.
    pub(crate) alternative: Option<Arc<[u8]>>,
    /// Shared by all workers; `None`: each client may have any number of connections.
    pub(crate) clients: Option<Arc<Clients>>,
    /// Requests that come from elsewhere in the process.
    #[cfg(feature = "tower")]
    pub(crate) jobs: Option<crate::service::job::Jobs>,
}

#[cfg(feature = "tower")]
impl Seat {
    fn without_jobs(mut self) -> (Self, Option<crate::service::job::Jobs>) {
        let jobs = self.jobs.take();
        (self, jobs)
    }
}

/// Starts a worker on a thread of its own.
pub(crate) fn spawn(number: usize, mut seat: Seat) -> io::Result<thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    #[cfg(feature = "h3")]
    let quic: Vec<_> = seat.sockets.iter_mut().filter_map(|door| door.quic.take()).collect();
    let sockets = {
        let _guard = runtime.enter();
        seat.sockets.drain(..).map(Door::open).collect::<io::Result<Vec<_>>>()?
    };
    thread::Builder::new().name(format!("busbar-worker-{number}")).spawn(move || {
        LocalSet::new().block_on(
            &runtime,
            live(
                seat,
                sockets,
                #[cfg(feature = "h3")]
                quic,
            ),
        );
    })
}

/// Serves until the drain is over.
async fn live(seat: Seat, doors: Vec<OpenDoor>, #[cfg(feature = "h3")] quic: Vec<super::quic::QuicDoor>) {
    #[cfg(feature = "tower")]
    let (seat, jobs) = seat.without_jobs();
    let (mut drain, clients) = (seat.drain.clone(), seat.clients.clone());
    let places = Arc::new(Semaphore::new(seat.options.connections_per_worker.min(Semaphore::MAX_PERMITS)));
    let worker = Rc::new(Worker::new(seat));
    let accepting: Vec<_> = doors
        .into_iter()
        .map(|door| Gate {
            worker: Rc::clone(&worker),
            door,
            clients: clients.clone(),
            said: Cell::default(),
        })
        .map(|gate| tokio::task::spawn_local(accept(Rc::new(gate), Arc::clone(&places))))
        .collect();
    #[cfg(feature = "h3")]
    let accepting = {
        let quic = quic.into_iter().map(|door| {
            let accept = super::quic::accept(Rc::clone(&worker), door, Arc::clone(&places), clients.clone());
            tokio::task::spawn_local(accept)
        });
        accepting.into_iter().chain(quic.collect::<Vec<_>>())
    };
    #[cfg(feature = "tower")]
    let accepting = {
        let jobs = jobs.map(|jobs| tokio::task::spawn_local(jobs.serve(Rc::clone(&worker))));
        accepting.into_iter().chain(jobs)
    };
    let ticking = tokio::task::spawn_local(tick(Rc::clone(&worker)));

    let patience = drain.begun().await;
    worker.draining.set(true);
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
    worker.hub.clear();
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
        worker.hub.tidy(now);
        worker.buffers.tidy();
        worker.counters.kept.set((worker.pool.kept() + worker.hub.idle()) as u64);
        let dropped = worker.log.hand_over();
        worker.counters.log_lines_dropped.add(dropped);
    }
}

/// A door and who stands behind it.
struct Gate {
    worker: Rc<Worker>,
    door: OpenDoor,
    clients: Option<Arc<Clients>>,
    /// When it was last said that nothing can be accepted.
    said: Cell<Option<Instant>>,
}

async fn accept(gate: Rc<Gate>, places: Arc<Semaphore>) {
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Some(accepted) = gate.next().await else { break };
        gate.take(accepted, place).await;
    }
    // Who is in the kernel's queue when the drain begins is still served, if there is room.
    for _ in 0..BACKLOG {
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { return };
        let Some(accepted) = gate.now_or_never().await else { return };
        gate.take(accepted, place).await;
    }
}

type Accepted = io::Result<(Socket, Option<IpAddr>)>;

impl Gate {
    /// The next connection; `None` when the drain begins.
    async fn next(&self) -> Option<Accepted> {
        let mut drain = self.worker.drain.clone();
        tokio::select! {
            biased;
            _ = drain.begun() => None,
            accepted = poll_fn(|cx| self.door.poll_accept(cx)) => Some(accepted),
        }
    }

    async fn now_or_never(&self) -> Option<Accepted> {
        poll_fn(|cx| match self.door.poll_accept(cx) {
            Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    async fn take(self: &Rc<Self>, accepted: Accepted, place: OwnedSemaphorePermit) {
        match accepted {
            Ok((io, from)) => {
                let open = Open::new(&self.worker, place);
                match &self.door.proxy_protocol {
                    Some(rule) if !rule.admits(from) => open.ends(Closed::ProxyPeer),
                    Some(_) => {
                        tokio::task::spawn_local(proxied(open, Rc::clone(self), io, from));
                    }
                    None => self.enter(open, Connection { io, pending: None }, from),
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => self.pause(&error).await,
        }
    }

    /// Serves a connection, unless its client has too many.
    fn enter(self: &Rc<Self>, mut open: Open, connection: Connection<Socket>, client: Option<IpAddr>) {
        if let Some((clients, client)) = self.clients.as_ref().zip(client) {
            open.client = clients.enter(client);
            if open.client.is_none() {
                return open.ends(Closed::ClientLimit);
            }
        }
        let peer = Peer { client, tls: Tls::Plain };
        if self.door.tls.is_some() {
            tokio::task::spawn_local(secured(open, Rc::clone(self), connection, client));
        } else if self.door.h2c {
            tokio::task::spawn_local(either(open, connection, peer));
        } else {
            tokio::task::spawn_local(serve(open, connection, peer));
        }
    }

    /// Nothing can be accepted: what is open goes on, and a little later there may be room. Kept connections to dynos
    /// stay: they serve who is in already.
    async fn pause(&self, error: &io::Error) {
        self.worker.counters.accepts_failed.add(1);
        let now = Instant::now();
        if self.said.get().is_none_or(|said| now.duration_since(said) >= SAID) {
            self.said.set(Some(now));
            tracing::error!(
                %error,
                "cannot accept connections for now; they wait in the kernel, and requests under way go on; \
                 raise the limit of open files (LimitNOFILE=, ulimit -n)"
            );
        }
        tokio::time::sleep(EXHAUSTED).await;
    }
}

/// Errors that concern the connection that was to be accepted, not the socket.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// Reads the PROXY header, then serves the connection for whom it says.
async fn proxied(open: Open, gate: Rc<Gate>, mut io: Socket, from: Option<IpAddr>) {
    let worker = Rc::clone(&open.worker);
    let timer = Timer::new(&worker.sweep);
    let received = awake(&worker, pin!(proxy_protocol::receive(&worker, &mut io, &timer, from))).await;
    match received {
        Ok(received) => gate.enter(open, Connection { io, pending: received.pending }, received.client),
        Err(closed) => open.ends(closed),
    }
}

/// Does the TLS handshake, then serves the connection.
async fn secured(open: Open, gate: Rc<Gate>, connection: Connection<Socket>, client: Option<IpAddr>) {
    let worker = Rc::clone(&open.worker);
    let Some(terminator) = &gate.door.tls else { return };
    let timer = Timer::new(&worker.sweep);
    let met = {
        let Connection { io, pending } = connection;
        // Few bytes while it waits, and none of them when it is over.
        let met = Box::pin(handshake::receive(&worker, terminator, io, pending, &timer));
        awake(&worker, pin!(met)).await
    };
    drop(gate);
    drop(timer);
    match met {
        Ok(Met::Session(io)) => {
            let (peer, http2) = (Peer { client, tls: io.version() }, io.is_http2());
            let connection = Connection { io, pending: None };
            if http2 {
                tokio::task::spawn_local(serve_http2(open, connection, peer));
            } else {
                tokio::task::spawn_local(serve(open, connection, peer));
            }
        }
        Ok(Met::Clear(io, text)) => {
            let (connection, peer) =
                (Connection { io, pending: Some(text) }, Peer { client, tls: Tls::Plain });
            awake(&worker, pin!(Box::pin(h1::refuse_clear(&worker, connection, peer)))).await;
            open.ends(Closed::PlainOnTls);
        }
        Err(closed) => open.ends(closed),
    }
}

/// Serves a connection that may begin with HTTP/2.
async fn either(open: Open, mut connection: Connection<Socket>, peer: Peer) {
    let worker = Rc::clone(&open.worker);
    let begun = awake(&worker, pin!(Box::pin(preface::is_http2(&worker, &mut connection)))).await;
    match begun {
        Ok(true) => drop(tokio::task::spawn_local(serve_http2(open, connection, peer))),
        Ok(false) => drop(tokio::task::spawn_local(serve(open, connection, peer))),
        Err(closed) => open.ends(closed),
    }
}

/// Serves one connection that speaks HTTP/2. A panic ends this connection only.
async fn serve_http2<T: Transport>(open: Open, connection: Connection<T>, peer: Peer) {
    let closed = awake(&open.worker, pin!(h2::serve(Rc::clone(&open.worker), connection, peer))).await;
    open.ends(closed);
}

/// Serves one connection. A panic ends this connection only.
async fn serve<T: Transport>(open: Open, connection: Connection<T>, peer: Peer) {
    let closed = awake(&open.worker, pin!(h1::serve(Rc::clone(&open.worker), connection, peer))).await;
    open.ends(closed);
}

/// Lets `deed` look at the clock whenever it wakes.
pub(crate) async fn awake<T>(worker: &Worker, mut deed: Pin<&mut impl Future<Output = T>>) -> T {
    worker.clock.look();
    poll_fn(|cx| {
        worker.clock.look();
        deed.as_mut().poll(cx)
    })
    .await
}

/// An open connection; dropped, it is not.
pub(super) struct Open {
    pub(super) worker: Rc<Worker>,
    _place: OwnedSemaphorePermit,
    pub(super) client: Option<ClientPlace>,
    closed: Cell<Option<Closed>>,
}

impl Open {
    pub(super) fn new(worker: &Rc<Worker>, place: OwnedSemaphorePermit) -> Self {
        worker.counters.connections.add(1);
        worker.counters.connections_open.add(1);
        worker.open.set(worker.open.get() + 1);
        Self { worker: Rc::clone(worker), _place: place, client: None, closed: Cell::new(None) }
    }

    pub(super) fn ends(self, why: Closed) {
        self.closed.set(Some(why));
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let worker = &self.worker;
        let why = match self.closed.get() {
            Some(why) => why,
            None if thread::panicking() => Closed::Panicked,
            None => Closed::DrainCut, // the worker has gone, and everything with it
        };
        worker.counters.closed(why);
        worker.counters.connections_open.sub(1);
        worker.open.set(worker.open.get() - 1);
        worker.closed.notify_one();
        if why == Closed::Panicked {
            worker.counters.panics.add(1);
            tracing::error!("a bug: serving a connection panicked; it was cut, all others go on");
        }
    }
}
