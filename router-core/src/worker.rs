//! What one thread owns. Nothing here is shared: no locks, no atomics, no waiting for another core.
//!
//! - [`Worker`]: everything a request needs besides its own connection.
//! - [`clock`]: real time as a [`Moment`], read once per wake-up.
//! - [`sweep`]: deadlines by a coarse sweep; a request makes no timer of its own.
//! - [`buffers`]: lent while bytes are in them, given back when a connection idles.

pub(crate) mod buffers;
pub(crate) mod clock;
pub(crate) mod sweep;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use tokio::sync::Notify;

use crate::{
    observe::{counters::Counters, log_buffer::LogBuffer},
    route::{Moment, request_id::RequestIds, table::TableReader},
    server::{accept::Seat, drain::DrainSignal, options::ServerOptions},
    tls::places::Places,
    upstream::{h2::Hub, pool::Pool},
};

/// Everything a request needs besides its own connection.
pub(crate) struct Worker {
    pub(crate) options: Arc<ServerOptions>,
    pub(crate) clock: clock::Clock,
    pub(crate) sweep: Rc<sweep::Sweep>,
    pub(crate) buffers: Rc<buffers::Buffers>,
    pub(crate) table: RefCell<TableReader>,
    pub(crate) random: RefCell<fastrand::Rng>,
    pub(crate) request_ids: RefCell<RequestIds>,
    pub(crate) pool: Pool,
    /// Connections to dynos that speak HTTP/2.
    pub(crate) hub: Hub,
    pub(crate) log: LogBuffer,
    pub(crate) counters: Arc<Counters>,
    pub(crate) drain: DrainSignal,
    /// Where clients that speak TLS find the same over QUIC, as `Alt-Svc` says it.
    pub(crate) alternative: Option<Arc<[u8]>>,
    /// Places for TLS handshakes under way.
    pub(crate) handshakes: Places,
    /// Client connections open now.
    pub(crate) open: Cell<usize>,
    /// One of them has just been closed.
    pub(crate) closed: Notify,
    /// Those of them that are not idle.
    pub(crate) in_progress: Cell<usize>,
    /// The drain took too long: what is still in progress ends with H24.
    pub(crate) cut: Cell<bool>,
    /// The drain has begun, as far as this worker has heard.
    pub(crate) draining: Cell<bool>,
}

impl Worker {
    /// A worker without sockets or other workers beside it: for what looks at one piece of its work.
    #[cfg(any(test, feature = "internals"))]
    pub(crate) fn alone(options: ServerOptions, table: TableReader) -> Self {
        Self::new(Seat {
            options: Arc::new(options),
            table,
            counters: Arc::new(Counters::new()),
            drain: crate::server::drain::pair().1,
            start: std::time::Instant::now(),
            sockets: Vec::new(),
            alternative: None,
            clients: None,
            #[cfg(feature = "tower")]
            jobs: None,
        })
    }

    /// A worker as it starts.
    pub(crate) fn new(seat: Seat) -> Self {
        let mut seed = [0; 32];
        // Without the system's randomness request ids are merely guessable.
        getrandom::fill(&mut seed).unwrap_or_default();
        let [ids @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = seed;
        let [.., a, b, c, d, e, f, g, h] = seed;
        Self {
            handshakes: Places::new(seat.options.handshakes_per_worker),
            alternative: seat.alternative,
            log: LogBuffer::new(seat.options.access_log.clone()),
            pool: Pool::new(seat.options.pool),
            hub: Hub::default(),
            options: seat.options,
            clock: clock::Clock::since(seat.start),
            sweep: Rc::new(sweep::Sweep::default()),
            buffers: Rc::new(buffers::Buffers::default()),
            table: RefCell::new(seat.table),
            random: RefCell::new(fastrand::Rng::with_seed(u64::from_le_bytes([a, b, c, d, e, f, g, h]))),
            request_ids: RefCell::new(RequestIds::from_seed(ids)),
            counters: seat.counters,
            drain: seat.drain,
            open: Cell::new(0),
            closed: Notify::new(),
            in_progress: Cell::new(0),
            cut: Cell::new(false),
            draining: Cell::new(false),
        }
    }

    /// What time it is, as of the last wake-up.
    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }
    /// Counts a connection as not idle for as long as the guard lives.
    pub(crate) fn in_progress(&self) -> InProgress<'_> {
        self.in_progress.set(self.in_progress.get() + 1);
        InProgress(self)
    }
    /// Whether no further requests are wanted.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }
    /// Whether requests in progress must end now.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.get()
    }
}

/// A connection that is not idle.
pub(crate) struct InProgress<'a>(&'a Worker);

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.0.in_progress.set(self.0.in_progress.get() - 1);
    }
}
