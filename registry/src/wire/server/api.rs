//! One function per route of the table in [`crate::wire`].

use std::sync::Arc;

use axum::{
    Json, Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{delete, get, post, put},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{Limits, answer::No, call::Call, lines};
use crate::{
    AppRecord, Bound, Capabilities, Generation, Lease, Refusal, Registration, Registry, Snapshot, wire::Done,
};

/// What every route works with.
pub(super) struct Api {
    pub(super) registry: Arc<dyn Registry>,
    pub(super) capabilities: Capabilities,
    pub(super) limits: Limits,
    /// Streams end when this becomes true.
    pub(super) closing: watch::Receiver<bool>,
    holds: Arc<Semaphore>,
}

impl Api {
    pub(super) fn new(
        registry: Arc<dyn Registry>,
        capabilities: Capabilities,
        limits: Limits,
        closing: watch::Receiver<bool>,
    ) -> Self {
        Self { registry, capabilities, limits, closing, holds: Arc::new(Semaphore::new(limits.holds)) }
    }

    fn place_for_hold(&self) -> Result<OwnedSemaphorePermit, No> {
        let full = Refusal::Full { what: Bound::Holds, limit: self.limits.holds };
        self.holds.clone().try_acquire_owned().map_err(|_| full.into())
    }

    async fn register(&self, asked: Registration, after: Option<Generation>) -> Result<Lease, Refusal> {
        match after {
            None => self.registry.register(asked).await,
            Some(after) => self.registry.register_again(asked, after).await,
        }
    }
}

pub(super) fn router(api: Api) -> Router {
    Router::new()
        .route("/v1/apps/{app}", put(put_app).delete(remove_app))
        .route("/v1/apps/{app}/web", put(report_web))
        .route("/v1/apps/{app}/dynos", post(register))
        .route("/v1/apps/{app}/dynos/hold", post(register_and_hold))
        .route("/v1/leases/{lease}/renew", post(renew))
        .route("/v1/leases/{lease}/hold", post(hold))
        .route("/v1/leases/{lease}/drain", post(drain))
        .route("/v1/leases/{lease}", delete(deregister))
        .route("/v1/snapshot", get(snapshot))
        .route("/v1/watch", get(watch_changes))
        .fallback(|| async {
            No::malformed(StatusCode::NOT_FOUND, "there is no such path; see docs/registry.md")
        })
        .method_not_allowed_fallback(|| async {
            No::malformed(StatusCode::METHOD_NOT_ALLOWED, "not with this method; see docs/registry.md")
        })
        .with_state(Arc::new(api))
}

async fn put_app(call: Call) -> Result<Json<Done>, No> {
    call.operator()?;
    let (name, if_match, api) = (call.app()?, call.if_match()?, call.api.clone());
    let app: AppRecord = call.json().await?;
    if app.name != name {
        let why = format!("the path names app {name}, the body app {}; name the same", app.name);
        return Err(Refusal::Malformed(why).into());
    }
    let revision = api.registry.put_app(app, if_match).await?;
    Ok(Json(Done { revision }))
}

async fn remove_app(call: Call) -> Result<Json<Done>, No> {
    call.operator()?;
    let revision = call.api.registry.remove_app(&call.app()?).await?;
    Ok(Json(Done { revision }))
}

async fn report_web(call: Call) -> Result<Json<Done>, No> {
    let (app, api) = (call.app()?, call.api.clone());
    let revision = api.registry.report_web(&app, call.json().await?).await?;
    Ok(Json(Done { revision }))
}

async fn register(call: Call) -> Result<(StatusCode, Json<Lease>), No> {
    let (after, api) = (call.asked()?.after, call.api.clone());
    let lease = api.register(call.registration().await?, after).await?;
    Ok((StatusCode::CREATED, Json(lease)))
}

async fn register_and_hold(call: Call) -> Result<Response, No> {
    let (after, api) = (call.asked()?.after, call.api.clone());
    let registration = call.registration().await?;
    let place = api.place_for_hold()?;
    let lease = api.register(registration, after).await?;
    Ok((StatusCode::CREATED, lines::hold(api, lease, place)).into_response())
}

async fn renew(call: Call) -> Result<Json<Lease>, No> {
    Ok(Json(call.api.registry.renew(&call.lease()?).await?))
}

async fn hold(call: Call) -> Result<Response, No> {
    let lease = call.lease()?;
    let place = call.api.place_for_hold()?;
    let lease = call.api.registry.renew(&lease).await?;
    Ok(lines::hold(call.api, lease, place))
}

async fn drain(call: Call) -> Result<Json<Done>, No> {
    let revision = call.api.registry.drain(&call.lease()?).await?;
    Ok(Json(Done { revision }))
}

async fn deregister(call: Call) -> Result<Json<Done>, No> {
    let revision = call.api.registry.deregister(&call.lease()?).await?;
    Ok(Json(Done { revision }))
}

async fn snapshot(call: Call) -> Result<Json<Snapshot>, No> {
    call.operator()?;
    Ok(Json(call.api.registry.snapshot().await?))
}

async fn watch_changes(call: Call) -> Result<Response, No> {
    call.operator()?;
    let watch = call.api.registry.watch(call.asked()?.from).await?;
    Ok(lines::watch(&call.api, watch))
}
