//! The one trait every registry keeps: the embedded one, the one over HTTP, and others such as etcd.

use std::pin::Pin;

use async_trait::async_trait;
use futures_util::Stream;

use crate::{
    AppName, AppRecord, Event, Generation, Lease, LeaseId, Refusal, Registration, Revision, Snapshot,
    WebFormation,
};

/// Events in order of revision, without a gap. Ends with one error when the watcher fell too far behind
/// ([`Refusal::Compacted`]) or the registry went away; the watcher then takes a new snapshot.
pub type Watch = Pin<Box<dyn Stream<Item = Result<Event, Refusal>> + Send>>;

/// Where apps and their dynos are known.
///
/// Every call is cancel safe: a dropped call either happened wholly or not at all, and registering again is harmless.
#[async_trait]
pub trait Registry: Send + Sync + 'static {
    /// Creates the app, or replaces its record; its registered dynos stay.
    /// With `if_revision`, only when the app has not changed since (`Revision(0)`: only when there is no such app).
    /// A report of its web formation changes the app too.
    ///
    /// # Errors
    /// [`Refusal::DomainTaken`], [`Refusal::CatchAllTaken`], [`Refusal::Conflict`], [`Refusal::Full`],
    /// [`Refusal::Malformed`] (a domain named twice).
    async fn put_app(&self, app: AppRecord, if_revision: Option<Revision>) -> Result<Revision, Refusal>;

    /// Removes the app and all its dynos. Removing an app that is not there is harmless.
    ///
    /// # Errors
    /// Only when the registry cannot be reached.
    async fn remove_app(&self, app: &AppName) -> Result<Revision, Refusal>;

    /// Replaces what is known about the app's web dynos that are not registered.
    ///
    /// # Errors
    /// [`Refusal::UnknownApp`].
    async fn report_web(&self, app: &AppName, web: WebFormation) -> Result<Revision, Refusal>;

    /// Registers a dyno: from now on it gets requests. An earlier dyno of the same name that is not draining is
    /// fenced off.
    ///
    /// # Errors
    /// [`Refusal::UnknownApp`], [`Refusal::AddressTaken`], [`Refusal::Full`], [`Refusal::Malformed`] (an address
    /// without a port or host).
    async fn register(&self, registration: Registration) -> Result<Lease, Refusal>;

    /// Registers a dyno whose lease of generation `after` was lost, unless a newer dyno was given its name or its
    /// address meanwhile: so a dyno that comes back late never takes its successor's place.
    ///
    /// # Errors
    /// [`Refusal::Replaced`], and those of [`Registry::register`].
    async fn register_again(&self, registration: Registration, after: Generation) -> Result<Lease, Refusal>;

    /// Lets the lease last its whole time again, from now.
    ///
    /// # Errors
    /// [`Refusal::LeaseGone`].
    async fn renew(&self, lease: &LeaseId) -> Result<Lease, Refusal>;

    /// The dyno gets no new requests; it finishes what it has. The lease goes on until it is ended.
    ///
    /// # Errors
    /// [`Refusal::LeaseGone`].
    async fn drain(&self, lease: &LeaseId) -> Result<Revision, Refusal>;

    /// Ends the lease. Ending one that is already gone is harmless.
    ///
    /// # Errors
    /// Only when the registry cannot be reached.
    async fn deregister(&self, lease: &LeaseId) -> Result<Revision, Refusal>;

    /// Everything now.
    ///
    /// # Errors
    /// Only when the registry cannot be reached.
    async fn snapshot(&self) -> Result<Snapshot, Refusal>;

    /// All changes after `from`; after `Revision(0)` all there ever were, when they are still kept.
    ///
    /// # Errors
    /// [`Refusal::Compacted`] when they are no longer kept.
    async fn watch(&self, from: Revision) -> Result<Watch, Refusal>;
}
