//! What the router knows.

use std::time::SystemTime;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use busbar_registry::{AppRecord, DynoState, Snapshot};

use router_core::tls::{Certificate, CertificateStore};

use super::{
    Shared,
    api::{self, RouteRow, ShownCertificate, not_here},
    traffic,
};

/// `GET /v1/state`
pub(crate) async fn state(State(admin): Shared) -> Json<api::State> {
    let snapshot = match &admin.known {
        Some(known) => Some(known.snapshot().await),
        None => None,
    };
    Json(api::State {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        role: admin.role.to_owned(),
        readiness: admin.readiness.as_str().to_owned(),
        uptime_seconds: admin.began.elapsed().as_secs(),
        traffic: admin.meter.as_ref().map(|meter| {
            traffic::read(meter, admin.known.as_ref().map(|known| known.queues()).unwrap_or_default())
        }),
        certificates: admin.certificates.as_deref().map(shown).unwrap_or_default(),
        snapshot,
    })
}

fn shown(store: &CertificateStore) -> Vec<ShownCertificate> {
    let now = SystemTime::now();
    let one = |certificate: &Certificate| ShownCertificate {
        names: certificate.is_for().split(", ").map(str::to_owned).collect(),
        expires: jiff::Timestamp::try_from(certificate.expires())
            .map(|at| at.to_string())
            .unwrap_or_default(),
        expires_in_days: certificate.expires().duration_since(now).unwrap_or_default().as_secs() / 86_400,
        expires_in_seconds: seconds_until(certificate.expires(), now),
    };
    store.current().all().iter().map(one).collect()
}

/// Negative when it is past.
fn seconds_until(then: SystemTime, now: SystemTime) -> i64 {
    let seconds = |span: std::time::Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    then.duration_since(now).map_or_else(|past| -seconds(past.duration()), seconds)
}

/// `GET /v1/routes`
pub(crate) async fn routes(State(admin): Shared) -> Response {
    match &admin.known {
        Some(known) => Json(rows(&known.snapshot().await)).into_response(),
        None => not_here(admin.role, "router"),
    }
}

/// A row for each host that an app claims, and one for all others.
fn rows(snapshot: &Snapshot) -> Vec<RouteRow> {
    let mut rows = Vec::new();
    for app in &snapshot.apps {
        let dynos = |state| {
            let here = snapshot.dynos.iter().filter(|d| d.app == app.name && d.dyno.process_type.is_web());
            here.filter(|dyno| dyno.state == state).count()
        };
        let (up, draining) = (dynos(DynoState::Up), dynos(DynoState::Draining));
        let hosts = app.domains.iter().map(ToString::to_string).chain(app.catch_all.then(|| "*".to_owned()));
        let row = |host| RouteRow {
            host,
            app: app.name.to_string(),
            up,
            draining,
            state: word(app, up).to_owned(),
        };
        rows.extend(hosts.map(row));
    }
    rows
}

/// What a request to this app meets, in one word or two.
fn word(app: &AppRecord, up: usize) -> &'static str {
    match app {
        app if app.maintenance => "maintenance",
        _ if up > 0 => "up",
        app if app.web.starting > 0 => "starting",
        app if app.web.quantity == 0 => "no dynos",
        app if app.web.crashed > 0 => "crashed",
        _ => "down",
    }
}

#[cfg(test)]
mod tests {
    use busbar_registry::{DynoRecord, Generation};

    use super::*;
    use crate::config::{Overrides, parse};

    #[test]
    fn each_host_has_a_row_and_a_word() {
        let text = "[[app]]\nname = \"a\"\ndomains = [\"a.example\", \"*.a.example\"]\n\
                    [[app]]\nname = \"b\"\ncatch_all = true\n\
                    [[app]]\nname = \"c\"\ndomains = [\"c.example\"]\nmaintenance = true\n";
        let apps = parse("t", text, &Overrides::default()).unwrap().apps;
        let apps: Vec<_> = apps.into_iter().map(|app| app.record).collect();
        let dynos = vec![DynoRecord {
            app: apps[0].name.clone(),
            dyno: "web.1".parse().unwrap(),
            address: "127.0.0.1:1".parse().unwrap(),
            generation: Generation(1),
            state: DynoState::Up,
        }];
        let rows = rows(&Snapshot { apps, dynos, ..Snapshot::default() });
        let told: Vec<_> = rows.iter().map(|row| (row.host.as_str(), row.up, row.state.as_str())).collect();
        let expected = [
            ("a.example", 1, "up"),
            ("*.a.example", 1, "up"),
            ("*", 0, "no dynos"),
            ("c.example", 0, "maintenance"),
        ];
        assert_eq!(told, expected);
    }
}
