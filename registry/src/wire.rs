//! The registry over HTTP/1.1 and JSON, so that a dyno in any language can register. `docs/registry.md` shows it to
//! its users; this page is what server and client agree on.
//!
//! | request | body | answer | token |
//! |---|---|---|---|
//! | `PUT /v1/apps/{app}`, perhaps `If-Match: REVISION` | [`AppRecord`](crate::AppRecord) | [`Done`] | operator |
//! | `DELETE /v1/apps/{app}` | | [`Done`] | operator |
//! | `PUT /v1/apps/{app}/web` | [`WebFormation`](crate::WebFormation) | [`Done`] | app |
//! | `POST /v1/apps/{app}/dynos`, perhaps `?after=GENERATION` | [`Registration`](crate::Registration) | 201 [`Lease`] | app |
//! | `POST /v1/apps/{app}/dynos/hold`, perhaps `?after=GENERATION` | [`Registration`](crate::Registration) | 201 [`Line`]s | app |
//! | `POST /v1/leases/{id}/renew` | | [`Lease`] | app |
//! | `POST /v1/leases/{id}/hold` | | [`Line`]s | app |
//! | `POST /v1/leases/{id}/drain` | | [`Done`] | app |
//! | `DELETE /v1/leases/{id}` | | [`Done`] | app |
//! | `GET /v1/snapshot` | | [`Snapshot`](crate::Snapshot) | operator |
//! | `GET /v1/watch?from=REVISION` | | [`Line`]s | operator |
//!
//! Everything else that is answered is a [`Refusal`] with a `message` for people, under the status of [`status`].

use std::time::Duration;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use crate::{Bound, Event, Lease, Millis, Refusal, Revision};

#[cfg(feature = "server")]
pub mod server;

#[cfg(feature = "server")]
pub use server::{Limits, Listener, serve};

/// How often a quiet watch says that it is alive.
pub const WATCH_HEARTBEAT: Duration = Duration::from_secs(10);

/// A change was made, or was not needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The revision at which this was said.
    pub revision: Revision,
}

/// One line of a stream (NDJSON): one of these in an object with its name, like `{"heartbeat":{}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The first line of a hold.
    Lease(Lease),
    /// The lease was renewed, or the watch is quiet.
    Heartbeat {},
    /// A line of a watch.
    Event(Event),
    /// The last line: why the stream ends.
    Refused(Refusal),
}

/// How often a hold renews its lease and says so: a third of its time.
pub fn hold_interval(ttl: Millis) -> Duration {
    (ttl.duration() / 3).max(Duration::from_millis(1))
}

/// The HTTP status that goes with a refusal. A request without any valid token gets 401 instead of 403.
pub fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Unauthorised { .. } | Refusal::OperatorOnly => StatusCode::FORBIDDEN,
        Refusal::UnknownApp { .. } => StatusCode::NOT_FOUND,
        Refusal::DomainTaken { .. }
        | Refusal::CatchAllTaken { .. }
        | Refusal::AddressTaken { .. }
        | Refusal::Replaced { .. } => StatusCode::CONFLICT,
        Refusal::LeaseGone | Refusal::Compacted { .. } => StatusCode::GONE,
        Refusal::Conflict { .. } => StatusCode::PRECONDITION_FAILED,
        Refusal::Full { what: Bound::Connections, .. } | Refusal::Unreachable { .. } => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Refusal::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
        Refusal::Malformed(_) => StatusCode::UNPROCESSABLE_ENTITY,
    }
}
