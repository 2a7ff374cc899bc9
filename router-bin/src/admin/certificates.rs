//! The certificates that are shown, and those that are requested.

use std::time::SystemTime;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use router_core::tls::{Certificate, CertificateStore};

use super::{
    Shared,
    api::{CertificateRow, RenewRequest, Renewing, not_here, refuse},
};
use crate::acme::Status;

/// `GET /v1/certificates`
pub(crate) async fn certificates(State(admin): Shared) -> Response {
    let Some(store) = &admin.certificates else { return not_here(admin.role, "router") };
    let requested = admin.renewals.as_ref().map(|renewals| renewals.status()).unwrap_or_default();
    Json(rows(store, &requested, SystemTime::now())).into_response()
}

/// `POST /v1/certificates/renew`
pub(crate) async fn renew(State(admin): Shared, Json(request): Json<RenewRequest>) -> Response {
    let Some(renewals) = &admin.renewals else {
        return not_here(admin.role, "[acme] in its configuration, so it requests no certificates");
    };
    let name = request.name.trim_end_matches('.').to_ascii_lowercase();
    match renewals.renew(name.clone()).await {
        Ok(()) => Json(Renewing { name }).into_response(),
        Err(why) => refuse(StatusCode::UNPROCESSABLE_ENTITY, "invalid_params", why),
    }
}

/// A row for each certificate, and one for each name that still has none.
fn rows(store: &CertificateStore, requested: &[Status], now: SystemTime) -> Vec<CertificateRow> {
    let of = |certificate: &Certificate| {
        let status = requested.iter().find(|status| certificate.names() == [status.name.as_str()]);
        row(Some(certificate), status, now)
    };
    let mut rows: Vec<_> = store.current().all().iter().map(of).collect();
    rows.extend(requested.iter().filter(|status| !status.has_one).map(|status| row(None, Some(status), now)));
    rows
}

fn row(certificate: Option<&Certificate>, status: Option<&Status>, now: SystemTime) -> CertificateRow {
    let moment = |at: SystemTime| jiff::Timestamp::try_from(at).ok().map(|at| at.to_string());
    let names = certificate.map(|certificate| certificate.is_for().split(", ").map(str::to_owned).collect());
    let file = certificate.map(|certificate| certificate.file().display().to_string());
    CertificateRow {
        names: names.unwrap_or_else(|| status.map(|status| status.name.clone()).into_iter().collect()),
        source: file.filter(|_| status.is_none()).unwrap_or_else(|| "acme".to_owned()),
        issuer: certificate.map(|certificate| certificate.issuer().to_owned()),
        expires: certificate.and_then(|certificate| moment(certificate.expires())),
        expires_in_days: certificate.map(|certificate| days_until(certificate.expires(), now)),
        next_attempt: status.and_then(|status| moment(status.due.max(now))),
        is_busy: status.is_some_and(|status| status.is_busy),
        failures: status.map_or(0, |status| status.failures),
        last_error: status.and_then(|status| status.error.clone()),
    }
}

fn days_until(then: SystemTime, now: SystemTime) -> i64 {
    let days = |span: std::time::Duration| i64::try_from(span.as_secs() / 86_400).unwrap_or(i64::MAX);
    then.duration_since(now).map_or_else(|past| -1 - days(past.duration()), days)
}
