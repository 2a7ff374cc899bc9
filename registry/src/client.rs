//! The client's side of the wire.
//!
//! - [`Client`]: a [`Registry`] that is somewhere else.
//! - [`Holder`]: keeps one dyno registered, whatever happens to the connection or the server. From [`Client::hold`].
//! - `call`: one request on its own connection. `lines`: an answer without an end.

use std::{fmt, path::PathBuf, time::Duration};

use async_trait::async_trait;
use futures_util::stream;
use hyper::Method;

use crate::{
    AppName, AppRecord, Generation, Lease, LeaseId, Refusal, Registration, Registry, Revision, Snapshot,
    Token, Watch, WebFormation,
    wire::{Done, Line, WATCH_HEARTBEAT},
};

mod call;
mod hold;
mod lines;

use call::Request;
pub use hold::{Holder, Holding};
use lines::Lines;

/// How long a snapshot may take: it can be many megabytes.
const SNAPSHOT: Duration = Duration::from_secs(60);

/// A registry that is reached over a socket. Each call has a connection of its own, so a broken one harms nobody else.
#[derive(Debug, Clone)]
pub struct Client {
    at: Address,
    token: Token,
    timeout: Duration,
}

#[derive(Debug, Clone)]
enum Address {
    Unix(PathBuf),
    Tcp(String),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(host) => write!(f, "tcp:{host}"),
        }
    }
}

impl Client {
    /// The registry behind the unix socket at `path`. Nothing is sent yet.
    pub fn unix(path: impl Into<PathBuf>, token: Token) -> Self {
        Self { at: Address::Unix(path.into()), token, timeout: Duration::from_secs(5) }
    }

    /// The registry at `host:port`. Nothing is sent yet.
    pub fn tcp(host_and_port: impl Into<String>, token: Token) -> Self {
        Self { at: Address::Tcp(host_and_port.into()), token, timeout: Duration::from_secs(5) }
    }

    /// Each call takes at most this long, snapshots at most 60 s. Default 5 s.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Keeps the dyno registered until the holder is released or dropped.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn hold(&self, registration: Registration) -> Holder {
        Holder::start(self.clone(), registration)
    }

    /// Renews the lease, and keeps it for as long as the lines are read.
    async fn attach(&self, lease: &LeaseId) -> Result<Lines, Refusal> {
        self.open(&Request::new(Method::POST, format!("/v1/leases/{}/hold", lease.0))).await
    }

    async fn done(&self, request: Request) -> Result<Revision, Refusal> {
        self.ask(&request).await.map(|Done { revision }| revision)
    }
}

#[async_trait]
impl Registry for Client {
    async fn put_app(&self, app: AppRecord, if_revision: Option<Revision>) -> Result<Revision, Refusal> {
        let path = format!("/v1/apps/{}", app.name);
        self.done(Request::new(Method::PUT, path).body(&app)?.if_match(if_revision)).await
    }

    async fn remove_app(&self, app: &AppName) -> Result<Revision, Refusal> {
        self.done(Request::new(Method::DELETE, format!("/v1/apps/{app}"))).await
    }

    async fn report_web(&self, app: &AppName, web: WebFormation) -> Result<Revision, Refusal> {
        self.done(Request::new(Method::PUT, format!("/v1/apps/{app}/web")).body(&web)?).await
    }

    async fn register(&self, registration: Registration) -> Result<Lease, Refusal> {
        let path = format!("/v1/apps/{}/dynos", registration.app);
        self.ask(&Request::new(Method::POST, path).body(&registration)?).await
    }

    async fn register_again(&self, registration: Registration, after: Generation) -> Result<Lease, Refusal> {
        let path = format!("/v1/apps/{}/dynos?after={after}", registration.app);
        self.ask(&Request::new(Method::POST, path).body(&registration)?).await
    }

    async fn renew(&self, lease: &LeaseId) -> Result<Lease, Refusal> {
        self.ask(&Request::new(Method::POST, format!("/v1/leases/{}/renew", lease.0))).await
    }

    async fn drain(&self, lease: &LeaseId) -> Result<Revision, Refusal> {
        self.done(Request::new(Method::POST, format!("/v1/leases/{}/drain", lease.0))).await
    }

    async fn deregister(&self, lease: &LeaseId) -> Result<Revision, Refusal> {
        self.done(Request::new(Method::DELETE, format!("/v1/leases/{}", lease.0))).await
    }

    async fn snapshot(&self) -> Result<Snapshot, Refusal> {
        self.clone().with_timeout(SNAPSHOT).ask(&Request::new(Method::GET, "/v1/snapshot".into())).await
    }

    /// Ends with [`Refusal::Unreachable`] when the server said nothing for three heartbeats.
    async fn watch(&self, from: Revision) -> Result<Watch, Refusal> {
        let lines = self.open(&Request::new(Method::GET, format!("/v1/watch?from={from}"))).await?;
        Ok(Box::pin(stream::unfold(Some(lines), |lines| async {
            let mut lines = lines?;
            loop {
                match lines.next(3 * WATCH_HEARTBEAT).await {
                    Ok(Line::Event(event)) => return Some((Ok(event), Some(lines))),
                    Ok(Line::Heartbeat {}) => {}
                    Ok(other) => return Some((Err(lines.unexpected(&other)), None)),
                    Err(refusal) => return Some((Err(refusal), None)),
                }
            }
        })))
    }
}
