//! The dynos this process runs: what they do, how many there are, starting them again.

use std::num::NonZeroU32;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use busbar_registry::{DynoState, Snapshot};
use dyno_runtime::{Replacement, ScaleChange};

use super::{
    Shared,
    api::{ProcessGroup, RestartHow, RestartRequest, ScaleRequest, not_here, refuse},
};
use crate::say::ps::DynoStatus;

/// `GET /v1/ps`
pub(crate) async fn ps(State(admin): Shared) -> Response {
    match (&admin.dynos, &admin.known) {
        (Some(dynos), _) => match dynos.ps().await {
            Ok(groups) => Json(groups).into_response(),
            Err(refused) => invalid(&refused),
        },
        (None, Some(known)) => Json(groups(&known.snapshot().await)).into_response(),
        (None, None) => not_here(admin.role, "dynos"),
    }
}

/// `POST /v1/scale`
pub(crate) async fn scale(State(admin): Shared, Json(request): Json<ScaleRequest>) -> Response {
    let Some(dynos) = &admin.dynos else { return not_here(admin.role, "dynos of its own to scale") };
    let changes: Result<Vec<ScaleChange>, _> = request.changes.iter().map(|change| change.parse()).collect();
    let changes = match changes {
        Ok(changes) => changes,
        Err(error) => return invalid(&error),
    };
    match dynos.scale(changes).await {
        Ok(scaled) => Json(scaled).into_response(),
        Err(refused) => invalid(&refused),
    }
}

/// `POST /v1/restart`
pub(crate) async fn restart(State(admin): Shared, Json(request): Json<RestartRequest>) -> Response {
    let Some(dynos) = &admin.dynos else { return not_here(admin.role, "dynos of its own to restart") };
    let target = match request.target.as_deref().map_or(Ok(Default::default()), str::parse) {
        Ok(target) => target,
        Err(error) => return invalid(&error),
    };
    let how = request.how.map(|RestartHow { rolling, preboot }| Replacement {
        at_once: rolling.map(NonZeroU32::get),
        preboot,
    });
    match dynos.restart(target, how).await {
        Ok(restarted) => Json(restarted).into_response(),
        Err(refused) => invalid(&refused),
    }
}

fn invalid(error: &dyn std::fmt::Display) -> Response {
    refuse(StatusCode::UNPROCESSABLE_ENTITY, "invalid_params", error.to_string())
}

/// What a router without dynos of its own knows about others' dynos.
fn groups(snapshot: &Snapshot) -> Vec<ProcessGroup> {
    let mut groups: Vec<ProcessGroup> = Vec::new();
    for app in &snapshot.apps {
        let dynos = snapshot.dynos.iter().filter(|dyno| dyno.app == app.name);
        let status = |dyno: &busbar_registry::DynoRecord| DynoStatus {
            name: dyno.dyno.to_string(),
            state: if dyno.state == DynoState::Up { "up" } else { "draining" }.to_owned(),
            since: None,
            address: Some(dyno.address.clone()),
            pid: None,
            memory: None,
            quota: None,
            crashes: None,
        };
        groups.push(ProcessGroup {
            app: app.name.to_string(),
            process_type: "web".to_owned(),
            command: None,
            quantity: app.web.quantity,
            size: None,
            dynos: dynos.map(status).collect(),
        });
    }
    groups
}
