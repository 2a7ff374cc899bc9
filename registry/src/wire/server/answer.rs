//! [`No`]: a refusal on its way to the caller.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{Refusal, wire::status};

/// A refusal and the status it is answered with.
#[derive(Debug)]
pub(super) struct No {
    status: StatusCode,
    refusal: Refusal,
}

impl No {
    /// A refusal under another status than its usual one.
    pub(super) fn with(status: StatusCode, refusal: Refusal) -> Self {
        Self { status, refusal }
    }
    /// A malformed request, of the kind that `status` says.
    pub(super) fn malformed(status: StatusCode, why: impl Into<String>) -> Self {
        Self::with(status, Refusal::Malformed(why.into()))
    }
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        Self { status: status(&refusal), refusal }
    }
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(flatten)]
            refusal: &'a Refusal,
            message: String,
        }
        tracing::debug!(status = self.status.as_u16(), refusal = %self.refusal, "the registry refused");
        let body = Body { refusal: &self.refusal, message: self.refusal.to_string() };
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
