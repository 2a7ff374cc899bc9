//! `POST /v1/reload`: the configuration is read again, as after SIGHUP.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    Shared,
    api::{Reloaded, not_here, refuse},
};

/// What came of a reload: how much is in force now, or everything that is wrong.
pub(crate) type Outcome = Result<String, String>;

/// Asks for reloads. They are done one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Reloads(mpsc::Sender<oneshot::Sender<Outcome>>);

impl Reloads {
    /// The asking side, and the side that does it.
    pub(crate) fn new() -> (Self, mpsc::Receiver<oneshot::Sender<Outcome>>) {
        let (asking, doing) = mpsc::channel(8);
        (Self(asking), doing)
    }

    /// Asks for one and waits for what comes of it. `None` when the process is stopping.
    pub(crate) async fn ask(&self) -> Option<Outcome> {
        let (answer, outcome) = oneshot::channel();
        self.0.send(answer).await.ok()?;
        outcome.await.ok()
    }
}

/// `POST /v1/reload`
pub(crate) async fn reload(State(admin): Shared) -> Response {
    let Some(reloads) = &admin.reloads else {
        return not_here(admin.role, "configuration file to read again");
    };
    match reloads.ask().await {
        Some(Ok(summary)) => Json(Reloaded { summary }).into_response(),
        Some(Err(message)) => refuse(StatusCode::UNPROCESSABLE_ENTITY, "invalid_configuration", message),
        None => refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            "this busbar is stopping; nothing was changed",
        ),
    }
}
