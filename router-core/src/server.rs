//! Threads, listeners, and the end of it all.
//!
//! - [`Server`]: start workers on threads of their own, ask what they did, drain them.
//! - [`Meter`]: asks the same for as long as anybody likes, the drain included.
//! - [`ServerOptions`] (in [`options`]): how many workers, which limits, where the log lines go.
//! - [`listen`]: sockets to accept from, one per worker.
//! - [`accept`]: one worker's life: accept, tick, drain.
//! - `quic`: connections over UDP, for HTTP/3 (feature `h3`).
//! - [`drain`]: begin, all gone.
//! - [`clients`], [`descriptors`]: what bounds the number of connections.
//!
//! Nothing here is global: two servers in one process do not know of each other. No signal handler is installed and
//! the process is never ended; that is the program's business.

pub(crate) mod accept;
pub(crate) mod clients;
pub mod descriptors;
pub mod drain;
pub mod listen;
pub mod options;
#[cfg(feature = "h3")]
pub(crate) mod quic;

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use busbar_registry::Address;
pub use drain::DrainReport;
pub use listen::Listener;
pub use options::{
    ChunkLimits, ContentLengthWithChunked, Http2Limits, RequestLimits, RequestPolicy, ResponseLimits,
    ServerOptions, Underscores,
};

use crate::{
    observe::{Totals, counters::Counters},
    route::table::RouteTable,
};

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be used.
    #[error("cannot use the listener {address}: {source}")]
    Listener {
        /// Where it listens.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// A worker's thread or its reactor cannot be made.
    #[error("cannot start worker {number}: {source}")]
    Worker {
        /// Which one, from 0.
        number: usize,
        /// What the system said.
        source: io::Error,
    },
}

/// Running workers. Dropped without [`Server::drain`], they stop at once and cut what is open.
#[derive(Debug)]
pub struct Server {
    workers: Vec<thread::JoinHandle<()>>,
    meter: Meter,
    addresses: Vec<Address>,
    /// Removed when the server ends.
    files: Vec<listen::socket_file::SocketFile>,
    drain: drain::Drain,
    #[cfg(feature = "tower")]
    hatches: crate::service::job::Hatches,
}

impl Server {
    /// Starts `options.workers` threads that accept from `listeners` and route by `table`.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub fn start(
        table: &RouteTable,
        mut options: ServerOptions,
        listeners: Vec<Listener>,
    ) -> Result<Self, StartError> {
        if let Some(limit) = descriptors::limit() {
            descriptors::fit(&mut options, limit);
        }
        let (options, start) = (Arc::new(options), Instant::now());
        let clients = options.connections_per_client.map(|most| Arc::new(clients::Clients::new(most)));
        let addresses = listeners.iter().map(|listener| listener.address().clone()).collect();
        let listen::Doors { alternative, per_worker, files } =
            listen::per_worker(listeners, options.workers.get())?;
        let (drain, signal) = drain::pair();
        let meter = Meter::default();
        #[cfg(feature = "tower")]
        let (hatches, mut jobs) = crate::service::job::hatches(&options);
        let mut server = Self {
            workers: Vec::new(),
            meter,
            addresses,
            files,
            drain,
            #[cfg(feature = "tower")]
            hatches,
        };
        for (number, sockets) in per_worker.into_iter().enumerate() {
            let counters = Arc::new(Counters::new());
            let seat = accept::Seat {
                options: Arc::clone(&options),
                table: table.reader(),
                counters: Arc::clone(&counters),
                drain: signal.clone(),
                start,
                sockets,
                alternative: alternative.clone(),
                clients: clients.clone(),
                #[cfg(feature = "tower")]
                jobs: jobs.next(),
            };
            let worker =
                accept::spawn(number, seat).map_err(|source| StartError::Worker { number, source })?;
            server.workers.push(worker);
            server.meter.0.push(counters);
        }
        Ok(server)
    }

    /// Where it accepts connections, with the ports the system chose.
    pub fn local_addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The same router for requests that a server of your own has read. As many of them are under way at a time as
    /// `options` allows connections: [`ServerOptions::connections_per_worker`] for each worker, on the whole.
    #[cfg(feature = "tower")]
    pub fn service(&self) -> crate::service::RouterService {
        crate::service::RouterService::new(&self.hatches)
    }

    /// What all workers did so far.
    pub fn totals(&self) -> Totals {
        self.meter.totals()
    }

    /// Who asks for that without holding the server.
    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }

    /// Stops accepting, closes idle connections, lets requests finish for at most `patience`, then cuts them (H24).
    ///
    /// # Cancel safety
    /// Dropped, the drain goes on, but the workers are cut at once.
    pub async fn drain(mut self, patience: Duration) -> DrainReport {
        self.drain.begin(patience);
        let workers = std::mem::take(&mut self.workers);
        let joined = tokio::task::spawn_blocking(move || {
            workers.into_iter().map(thread::JoinHandle::join).filter(Result::is_err).count()
        });
        let panicked = joined.await.unwrap_or_default();
        self.files.clear();
        DrainReport { cut: self.totals().cut, workers_lost: panicked, totals: self.totals() }
    }
}

/// What a server's workers did so far, for whoever asks; it says so after the server's end, too.
#[derive(Debug, Clone, Default)]
pub struct Meter(Vec<Arc<Counters>>);

impl Meter {
    /// What all workers did so far.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.0.iter().for_each(|worker| totals.add(worker));
        totals
    }
}
