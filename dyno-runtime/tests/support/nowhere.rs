//! A registry that accepts everything and keeps nothing.

use async_trait::async_trait;
use busbar_registry::{
    AppName, AppRecord, Generation, Lease, LeaseId, Refusal, Registration, Registry, Revision, Snapshot,
    Watch, WebFormation,
};

/// Accepts everything and keeps nothing.
pub(crate) struct Nowhere;

#[async_trait]
impl Registry for Nowhere {
    async fn put_app(&self, _: AppRecord, _: Option<Revision>) -> Result<Revision, Refusal> {
        Ok(Revision(1))
    }
    async fn remove_app(&self, _: &AppName) -> Result<Revision, Refusal> {
        Ok(Revision(1))
    }
    async fn report_web(&self, _: &AppName, _: WebFormation) -> Result<Revision, Refusal> {
        Ok(Revision(1))
    }
    async fn register(&self, dyno: Registration) -> Result<Lease, Refusal> {
        let id = LeaseId(String::new());
        Ok(Lease { id, generation: Generation(1), ttl_ms: dyno.ttl_ms, revision: Revision(1) })
    }
    async fn renew(&self, _: &LeaseId) -> Result<Lease, Refusal> {
        Err(Refusal::LeaseGone)
    }
    async fn drain(&self, _: &LeaseId) -> Result<Revision, Refusal> {
        Ok(Revision(1))
    }
    async fn deregister(&self, _: &LeaseId) -> Result<Revision, Refusal> {
        Ok(Revision(1))
    }
    async fn snapshot(&self) -> Result<Snapshot, Refusal> {
        Ok(Snapshot::default())
    }
    async fn watch(&self, _: Revision) -> Result<Watch, Refusal> {
        Ok(Box::pin(futures_util::stream::pending()))
    }
}
