//! What is said on the wire of the admin API, by both sides.

use std::{collections::BTreeMap, num::NonZeroU32};

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use busbar_registry::Snapshot;
use dyno_runtime::WindowSize;
use serde::{Deserialize, Serialize};

pub(crate) use super::traffic::Traffic;
pub(crate) use crate::say::{certs::CertificateRow, ps::ProcessGroup, routes::RouteRow, scaled::Scaled};

/// `GET /v1/state`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The version of the program.
    pub(crate) version: String,
    /// `up`, `router` or `runtime`.
    pub(crate) role: String,
    /// `starting`, `ready` or `draining`.
    pub(crate) readiness: String,
    /// Whole seconds since it began.
    pub(crate) uptime_seconds: u64,
    /// What its router carries; `None` without a router.
    pub(crate) traffic: Option<Traffic>,
    /// What its router shows to clients that speak TLS.
    #[serde(default)]
    pub(crate) certificates: Vec<ShownCertificate>,
    /// The apps and dynos its router knows; `None` without a router.
    pub(crate) snapshot: Option<Snapshot>,
}

/// A certificate in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShownCertificate {
    /// The names and addresses it is for.
    pub(crate) names: Vec<String>,
    /// Until when, as RFC 3339 writes it.
    pub(crate) expires: String,
    /// Whole days until then.
    pub(crate) expires_in_days: u64,
    /// Whole seconds until then; negative once it is over.
    #[serde(default)]
    pub(crate) expires_in_seconds: i64,
}

/// `PUT` and `DELETE /v1/certificates/NAME`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Uploaded {
    /// What it is called here.
    pub(crate) name: String,
    /// The names and addresses it is for; none when it was removed.
    pub(crate) names: Vec<String>,
}

/// `POST /v1/scale`, answered with a list of [`Scaled`]: the whole formation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScaleRequest {
    /// `web=3`, `worker+1`. None: nothing changes.
    pub(crate) changes: Vec<String>,
}

/// `POST /v1/restart`, answered with [`Restarted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestartRequest {
    /// `web.1`, or `web`. `None`: all dynos.
    pub(crate) target: Option<String>,
    /// How; `None`: as the app says.
    #[serde(default)]
    pub(crate) how: Option<RestartHow>,
}

/// How dynos are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestartHow {
    /// At most so many at the same time. `None`: all.
    #[serde(default)]
    pub(crate) rolling: Option<NonZeroU32>,
    /// A new web dyno is up before the old one gets no more requests.
    #[serde(default)]
    pub(crate) preboot: bool,
}

/// `POST /v1/run`: answered with [`Running`], or, with `attach`, by an upgrade to [`PROTOCOL`](crate::attach::wire::PROTOCOL).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunRequest {
    /// The command, for the shell.
    pub(crate) command: String,
    /// `standard-2x`. `None`: as the app's limits say.
    #[serde(default)]
    pub(crate) size: Option<String>,
    /// Variables it has besides the app's config vars.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    /// What its standard streams are. `None`: what it writes goes into the app's log.
    #[serde(default)]
    pub(crate) attach: Option<AttachRequest>,
}

/// What the standard streams of a dyno are that somebody is attached to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum AttachRequest {
    /// Three pipes.
    Pipes,
    /// A terminal of its own.
    Terminal {
        /// How large it is.
        size: WindowSize,
        /// What it is: its `TERM`.
        #[serde(default)]
        term: Option<Term>,
    },
}

/// The name of a kind of terminal, like `xterm-256color`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Term(String);

impl TryFrom<String> for Term {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, &'static str> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-+._".contains(&byte);
        let good = (1..=64).contains(&text.len()) && text.bytes().all(plain);
        good.then_some(Self(text))
            .ok_or("the name of a terminal has 1 to 64 letters, digits, '-', '+', '.' and '_'")
    }
}

impl From<Term> for String {
    fn from(term: Term) -> Self {
        term.0
    }
}

/// A one-off dyno that nobody is attached to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    /// Its name.
    pub(crate) dyno: String,
}

/// What restarts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Restarted {
    /// Whose dynos.
    pub(crate) app: String,
}

/// `POST /v1/certificates/renew`, answered with [`Renewing`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RenewRequest {
    /// `shop.example.com`, `*.shop.example.com`.
    pub(crate) name: String,
}

/// What is requested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Renewing {
    /// For which name.
    pub(crate) name: String,
}

/// `POST /v1/reload`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reloaded {
    /// What is in force now: `1 app, 2 domains, 2 dynos`.
    pub(crate) summary: String,
}

/// An answer that says no, in Heroku's form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ApiError {
    /// `not_found`, `invalid_params`, `unprocessable`.
    pub(crate) id: String,
    /// What happened, to which thing, and what to do.
    pub(crate) message: String,
}

/// Says no.
pub(crate) fn refuse(status: StatusCode, id: &str, message: impl Into<String>) -> Response {
    let body = ApiError { id: id.to_owned(), message: message.into() };
    (status, Json(body)).into_response()
}

/// This process does not have what was asked for.
pub(crate) fn not_here(role: &str, what: &str) -> Response {
    let message = format!("this busbar {role} has no {what}; ask another one with --admin");
    refuse(StatusCode::NOT_FOUND, "not_found", message)
}

/// No such path.
pub(crate) async fn no_such_path() -> Response {
    refuse(StatusCode::NOT_FOUND, "not_found", "there is no such path in the admin API of this version")
}
