//! What the router carries now and has carried so far, and what bounds it.

use std::collections::BTreeMap;

use router_core::server::{Meter, descriptors};
use serde::{Deserialize, Serialize};

/// What the router carries.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Traffic {
    /// Requests answered, or ended by a fault.
    pub(crate) requests: u64,
    /// How many ended by which fault, by its name in docs/errors.md.
    pub(crate) faults: BTreeMap<String, u64>,
    /// Client connections.
    pub(crate) clients: Clients,
    /// Connections to dynos.
    pub(crate) dynos: Dynos,
    /// File descriptors of the process; `None` where the system does not say.
    pub(crate) files_open: Option<u64>,
    /// How many there may be; `None`: any number.
    pub(crate) files_limit: Option<u64>,
    /// What each app has in the router now, by its name; only those with requests.
    pub(crate) apps: BTreeMap<String, Queue>,
}

/// Client connections.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Clients {
    /// Accepted so far.
    pub(crate) accepted: u64,
    /// Open now.
    pub(crate) open: u64,
    /// Ended, by why. With those that are open they are all that were accepted.
    pub(crate) closed: BTreeMap<String, u64>,
    /// Times when none could be accepted, for want of descriptors.
    pub(crate) accepts_failed: u64,
    /// TLS handshakes that were done.
    #[serde(default)]
    pub(crate) handshakes: u64,
    /// Those of them that resumed a session.
    #[serde(default)]
    pub(crate) resumed: u64,
}

/// Connections to dynos.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Dynos {
    /// Dialled so far.
    pub(crate) dials: u64,
    /// Kept for their next request now.
    pub(crate) kept: u64,
    /// Times when one could not be dialled, for want of descriptors.
    pub(crate) dials_without_descriptor: u64,
}

/// One app's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Queue {
    /// In the router, those that wait included.
    pub(crate) in_flight: u32,
    /// Waiting for a dyno.
    pub(crate) waiting: u32,
}

/// Reads all of it.
pub(crate) fn read(meter: &Meter, apps: BTreeMap<String, Queue>) -> Traffic {
    let totals = meter.totals();
    let closed = totals.closed.iter().map(|(why, count)| (why.as_str().to_owned(), *count)).collect();
    Traffic {
        requests: totals.requests,
        faults: totals.faults,
        clients: Clients {
            accepted: totals.connections,
            open: totals.connections_open,
            closed,
            accepts_failed: totals.accepts_failed,
            handshakes: totals.tls_handshakes,
            resumed: totals.tls_resumed,
        },
        dynos: Dynos {
            dials: totals.dials,
            kept: totals.kept,
            dials_without_descriptor: totals.dials_without_descriptor,
        },
        files_open: descriptors::open(),
        files_limit: descriptors::limit(),
        apps,
    }
}
