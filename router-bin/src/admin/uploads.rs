//! Certificates that are taken over the API, and kept.

use std::time::SystemTime;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::{
    Shared,
    api::{Uploaded, not_here, refuse},
};
use crate::uploads::{UploadError, Uploads};

const WHAT: &str = "`uploads` in the [tls] of its configuration, so it takes no certificates";

/// `PUT /v1/certificates/NAME`: chain and key in PEM. It is shown within seconds.
pub(crate) async fn put(State(admin): Shared, Path(name): Path<String>, text: Bytes) -> Response {
    let Some(uploads) = admin.uploads.clone() else { return not_here(admin.role, WHAT) };
    blocking(move || {
        let certificate = uploads.put(&name, &text, SystemTime::now())?;
        let names = certificate.is_for().split(", ").map(str::to_owned).collect();
        Ok(Uploaded { name, names })
    })
    .await
}

/// `DELETE /v1/certificates/NAME`
pub(crate) async fn delete(State(admin): Shared, Path(name): Path<String>) -> Response {
    let Some(uploads) = admin.uploads.clone() else { return not_here(admin.role, WHAT) };
    blocking(move || {
        Uploads::remove(&uploads, &name)?;
        Ok(Uploaded { name, names: Vec::new() })
    })
    .await
}

async fn blocking(deed: impl FnOnce() -> Result<Uploaded, UploadError> + Send + 'static) -> Response {
    match tokio::task::spawn_blocking(deed).await {
        Ok(Ok(uploaded)) => Json(uploaded).into_response(),
        Ok(Err(error @ UploadError::Unknown(_))) => {
            refuse(StatusCode::NOT_FOUND, "not_found", error.to_string())
        }
        Ok(Err(error @ UploadError::Directory { .. })) => {
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string())
        }
        Ok(Err(error)) => refuse(StatusCode::UNPROCESSABLE_ENTITY, "invalid_params", error.to_string()),
        Err(_) => {
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal", "a bug: taking the certificate panicked")
        }
    }
}
