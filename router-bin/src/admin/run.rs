//! `POST /v1/run`: a one-off dyno. Whoever wants to be attached to it upgrades the connection to
//! [`PROTOCOL`]; going away before the dyno has ended hangs it up.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{FromRequest as _, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use dyno_runtime::{ConfigVars, OneOff, Size, Started, Stdio, Tail};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_util::task::TaskTracker;

use super::{
    Shared,
    api::{AttachRequest, RunRequest, Running, not_here, refuse},
};
use crate::{
    attach::{host::Host, wire::PROTOCOL},
    dynos::Dynos,
};

/// `POST /v1/run`
pub(crate) async fn run(
    State(admin): Shared,
    Extension(attached): Extension<TaskTracker>,
    mut request: Request,
) -> Response {
    let upgrade = is_upgrade(request.headers()).then(|| request.extensions_mut().remove::<OnUpgrade>());
    let request = match Json::<RunRequest>::from_request(request, &()).await {
        Ok(Json(request)) => request,
        Err(refused) => return refused.into_response(),
    };
    let Some(dynos) = &admin.dynos else {
        return not_here(admin.role, "dynos of its own to run a command beside");
    };
    let upgrade = match (upgrade.flatten(), &request.attach) {
        (Some(_), None) => return refuse_params("only with `attach` is the connection upgraded"),
        (None, Some(_)) => return upgrade_required(),
        (upgrade, _) => upgrade,
    };
    let order = match order(request) {
        Ok(order) => order,
        Err(why) => return refuse_params(why),
    };
    // Before it starts, so that its first line is there.
    let tail = dynos.logs(0).map(|(_, tail)| tail);
    match (dynos.run(order).await, upgrade) {
        (Err(refused), _) => refuse_params(refused.to_string()),
        (Ok(started), Some(upgrade)) => attach(dynos, started, tail, upgrade, &attached),
        (Ok(started), None) => Json(Running { dyno: started.dyno.to_string() }).into_response(),
    }
}

/// Hands it over to whoever is there when the connection speaks the other protocol.
fn attach(
    dynos: &Arc<dyn Dynos>,
    started: Started,
    tail: Option<Tail>,
    upgrade: OnUpgrade,
    attached: &TaskTracker,
) -> Response {
    let Started { dyno, ended, attach: Some(attach) } = started else {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal", "nobody can be attached to this dyno");
    };
    let host = Host { dynos: Arc::clone(dynos), dyno, attach, ended, tail };
    attached.spawn(async move {
        match upgrade.await {
            Ok(connection) => host.serve(TokioIo::new(connection)).await,
            // The dyno learns that nobody comes (R13).
            Err(error) => tracing::debug!(%error, "whoever wanted to be attached is gone"),
        }
    });
    let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, PROTOCOL)];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

fn order(request: RunRequest) -> Result<OneOff, String> {
    let size =
        request.size.map(|size| size.parse::<Size>()).transpose().map_err(|error| error.to_string())?;
    let mut environment = request.env;
    let stdio = match request.attach {
        None => Stdio::Logged,
        Some(AttachRequest::Pipes) => Stdio::Pipes,
        Some(AttachRequest::Terminal { size, term }) => {
            if let Some(term) = term {
                environment.entry("TERM".to_owned()).or_insert_with(|| term.into());
            }
            Stdio::Terminal(size)
        }
    };
    let environment: ConfigVars = environment.into_iter().collect();
    let detached = stdio == Stdio::Logged;
    Ok(OneOff { command: request.command, size, detached, environment, stdio })
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|named| *named == PROTOCOL)
}

fn upgrade_required() -> Response {
    let message =
        format!("whoever wants to be attached says `Connection: upgrade` and `Upgrade: {PROTOCOL}`");
    let mut response = refuse(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message);
    response.headers_mut().insert(header::UPGRADE, header::HeaderValue::from_static(PROTOCOL));
    response
}

fn refuse_params(why: impl Into<String>) -> Response {
    refuse(StatusCode::UNPROCESSABLE_ENTITY, "invalid_params", why)
}
