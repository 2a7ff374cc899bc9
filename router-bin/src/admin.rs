//! The admin API: what this process knows and does, for the verbs of `busbar` and for whoever watches over it.
//!
//! HTTP and JSON over a socket file that only its owner may open, or over a loopback address. It has no password.
//!
//! - [`Admin`]: what the process has, and so what can be asked of it. [`serve`] answers until told to stop.
//! - [`api`]: what is said on the wire. [`socket`]: where it is said.
//! - [`health`], [`routes`], [`certificates`], [`traffic`], [`dynos`], [`run`], [`tail`], [`reload`]: one file per subject.

pub(crate) mod api;
mod certificates;
mod dynos;
mod health;
mod reload;
mod routes;
mod run;
pub(crate) mod socket;
mod tail;
pub(crate) mod traffic;
mod uploads;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Extension, Router,
    routing::{get, post, put},
};
use busbar_registry::Snapshot;
use router_core::{server::Meter, tls::CertificateStore};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use self::socket::AdminSocket;
pub(crate) use self::{
    health::Readiness,
    reload::{Outcome, Reloads},
};
use crate::{acme::Renewals, dynos::Dynos, uploads::Uploads};

/// What this process has. What it has not is answered with 404 and a word about where to ask instead.
pub(crate) struct Admin {
    /// When it began.
    pub(crate) began: Instant,
    /// `up`, `router` or `runtime`.
    pub(crate) role: &'static str,
    /// Whether it takes requests.
    pub(crate) readiness: Readiness,
    /// Its apps and their dynos, as the router knows them.
    pub(crate) known: Option<Arc<dyn Known>>,
    /// What its router carries.
    pub(crate) meter: Option<Meter>,
    /// What its router shows to clients that speak TLS.
    pub(crate) certificates: Option<Arc<CertificateStore>>,
    /// How certificates are requested.
    pub(crate) renewals: Option<Renewals>,
    /// Where certificates are kept that are taken here.
    pub(crate) uploads: Option<Uploads>,
    /// The dynos it runs.
    pub(crate) dynos: Option<Arc<dyn Dynos>>,
    /// How its configuration is read again.
    pub(crate) reloads: Option<Reloads>,
    /// Becomes true when the API is to end.
    pub(crate) stop: watch::Receiver<bool>,
}

/// The apps and dynos a router knows.
#[async_trait::async_trait]
pub(crate) trait Known: Send + Sync {
    /// All of them, now.
    async fn snapshot(&self) -> Snapshot;

    /// What each app has in the router now.
    fn queues(&self) -> BTreeMap<String, traffic::Queue> {
        BTreeMap::new()
    }
}

/// Waits until the API is to end.
async fn stopped(mut stop: watch::Receiver<bool>) {
    let _whoever_could_say_so_is_gone = stop.wait_for(|stop| *stop).await;
}

type Shared = axum::extract::State<Arc<Admin>>;

/// Answers on `socket` until it is to stop; then finishes the answers under way, and follows no more logs.
pub(crate) async fn serve(admin: Arc<Admin>, socket: AdminSocket) {
    let stop = stopped(admin.stop.clone());
    let attached = TaskTracker::new();
    let router = Router::new()
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .route("/v1/state", get(routes::state))
        .route("/v1/routes", get(routes::routes))
        .route("/v1/certificates", get(certificates::certificates))
        .route("/v1/certificates/renew", post(certificates::renew))
        .route("/v1/ps", get(dynos::ps))
        .route("/v1/scale", post(dynos::scale))
        .route("/v1/restart", post(dynos::restart))
        .route("/v1/certificates/{name}", put(uploads::put).delete(uploads::delete))
        .route("/v1/run", post(run::run))
        .route("/v1/logs", get(tail::logs))
        .route("/v1/reload", post(reload::reload))
        .fallback(api::no_such_path)
        .layer(Extension(attached.clone()))
        .with_state(admin);
    socket.serve(router, stop).await;
    // How the last one-off dynos ended is still being said.
    attached.close();
    let _they_do_not_listen = tokio::time::timeout(LAST_WORDS, attached.wait()).await;
}

/// How long whoever is attached to a one-off dyno may take to hear how it ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
