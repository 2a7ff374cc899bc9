//! A dyno as the router knows it: facts that never change, beside a load that does.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use busbar_registry::{Address, AppName, DynoName, Generation};

use super::{
    affinity::Ticket,
    load::{AppLoad, DynoLoad},
};

/// Names one dyno for as long as this process lives, across all tables: what a connection pool is keyed by. A new
/// generation, or another address, is another key, so a reused port never gets an old connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DynoKey(pub u64);

impl DynoKey {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Relaxed))
    }
}

/// One dyno. The same `Arc<Dyno>` stays in the table for as long as name, address and generation are the same, so
/// its load survives every swap.
pub struct Dyno {
    /// Its name in the formation.
    pub name: DynoName,
    /// Where it accepts connections.
    pub address: Address,
    /// The fencing number of its lease.
    pub generation: Generation,
    /// What connection pools call it.
    pub key: DynoKey,
    /// Its name as text, for log lines: `web.1`.
    pub label: Box<str>,
    /// What [`Balance::Rendezvous`](busbar_registry::Balance::Rendezvous) hashes: equal for equal labels, in every
    /// router and across restarts of the dyno.
    pub(super) seed: u64,
    /// What a cookie calls it.
    pub ticket: Ticket,
    /// Its app's load; a place given back here may be waited for there.
    pub(super) app: Arc<AppLoad>,
    /// What changes with every request.
    pub load: DynoLoad,
}

impl Dyno {
    pub(super) fn new(
        app_name: &AppName,
        name: DynoName,
        address: Address,
        generation: Generation,
        app: Arc<AppLoad>,
    ) -> Self {
        let label = name.to_string().into_boxed_str();
        let seed = super::balance::rendezvous::key(label.as_bytes());
        let (key, ticket) = (DynoKey::next(), Ticket::new(app_name, &label));
        Self { name, address, generation, key, label, seed, ticket, app, load: DynoLoad::default() }
    }
}

impl fmt::Debug for Dyno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} (generation {})", self.label, self.address, self.generation.0)
    }
}
