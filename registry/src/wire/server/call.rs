//! [`Call`]: a request whose token is known to be one of ours. Its methods give what a route needs, after checking
//! that the token is enough for it.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{FromRequest, Path, Query, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Deserialize, de::DeserializeOwned};

use super::{answer::No, api::Api};
use crate::{AppName, Generation, LeaseId, Refusal, Registration, Revision, capability::Grant};

/// A request with a token of ours.
pub(super) struct Call {
    pub(super) api: Arc<Api>,
    grant: Grant,
    parts: Parts,
    /// The one name in its path, if any: an app or a lease.
    name: String,
    body: Body,
}

/// What a query may say.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    /// Of a watch: where it begins.
    pub(super) from: Revision,
    /// Of a registration: see [`crate::Registry::register_again`].
    pub(super) after: Option<Generation>,
}

impl FromRequest<Arc<Api>> for Call {
    type Rejection = No;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, No> {
        use axum::RequestPartsExt;
        let (mut parts, body) = request.into_parts();
        let name = parts.extract::<Path<String>>().await.map_or_else(|_| String::new(), |Path(name)| name);
        let Some(grant) = bearer(&parts.headers).and_then(|token| api.capabilities.check(token)) else {
            let app = name.parse().ok().or_else(|| LeaseId(name).app());
            let refusal = app.map_or(Refusal::OperatorOnly, |app| Refusal::Unauthorised { app });
            return Err(No::with(StatusCode::UNAUTHORIZED, refusal));
        };
        Ok(Self { api: api.clone(), grant, parts, name, body })
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

impl Call {
    /// Only the operator comes past this.
    pub(super) fn operator(&self) -> Result<(), No> {
        if self.grant == Grant::Operator { Ok(()) } else { Err(Refusal::OperatorOnly.into()) }
    }

    /// The app in the path.
    pub(super) fn app(&self) -> Result<AppName, No> {
        self.covered(self.name.parse().map_err(Refusal::from)?)
    }

    /// The lease in the path. One that names no app was never made here.
    pub(super) fn lease(&self) -> Result<LeaseId, No> {
        let id = LeaseId(self.name.clone());
        let app = id.app().ok_or(Refusal::LeaseGone)?;
        self.covered(app).map(|_| id)
    }

    fn covered(&self, app: AppName) -> Result<AppName, No> {
        if self.grant.covers(&app) { Ok(app) } else { Err(Refusal::Unauthorised { app }.into()) }
    }

    /// The query, with nothing in it that is not known.
    pub(super) fn asked(&self) -> Result<Asked, No> {
        Query::try_from_uri(&self.parts.uri)
            .map(|Query(asked)| asked)
            .map_err(|error| No::malformed(StatusCode::BAD_REQUEST, error.body_text()))
    }

    /// `If-Match`: a revision, in quotes or not.
    pub(super) fn if_match(&self) -> Result<Option<Revision>, No> {
        let Some(value) = self.parts.headers.get(header::IF_MATCH) else { return Ok(None) };
        let revision = value.to_str().ok().and_then(|text| text.trim_matches('"').parse().ok());
        let why = "If-Match must be a revision, like 17";
        revision.map(|n| Some(Revision(n))).ok_or_else(|| No::malformed(StatusCode::BAD_REQUEST, why))
    }

    /// The body of a registration, which is for the app in the path.
    pub(super) async fn registration(self) -> Result<Registration, No> {
        let app = self.app()?;
        let registration: Registration = self.json().await?;
        if registration.app == app {
            return Ok(registration);
        }
        let why = format!("the path names app {app}, the body app {}; name the same", registration.app);
        Err(Refusal::Malformed(why).into())
    }

    /// The body, within the limits of the token.
    pub(super) async fn json<T: DeserializeOwned>(self) -> Result<T, No> {
        let limits = self.api.limits;
        let limit = if self.grant == Grant::Operator { limits.operator_body } else { limits.app_body };
        let read = tokio::time::timeout(limits.body_timeout, Limited::new(self.body, limit).collect());
        let bytes = match read.await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let why = format!("the body is longer than {limit} bytes");
                return Err(No::malformed(StatusCode::PAYLOAD_TOO_LARGE, why));
            }
            Ok(Err(error)) => {
                return Err(No::malformed(StatusCode::BAD_REQUEST, format!("the body broke off: {error}")));
            }
            Err(_) => {
                let why = format!("the body did not come within {:?}", limits.body_timeout);
                return Err(No::malformed(StatusCode::REQUEST_TIMEOUT, why));
            }
        };
        serde_json::from_slice(&bytes).map_err(|error| {
            let data = error.classify() == serde_json::error::Category::Data;
            let status = if data { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST };
            No::malformed(status, error.to_string())
        })
    }
}
