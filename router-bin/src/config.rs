//! The configuration of `busbar router`: written in TOML, overridden by flags and `BUSBAR_*` variables, and then meant.
//!
//! - [`Config`]: cannot be wrong. [`read`] makes one of a file; flags and variables ([`Overrides`]) win over it.
//! - [`check`]: what each key means, and everything that is wrong, told at once.
//! - [`raw`]: the file as written; [`table`] reads keys and remembers their place; [`complaint`] tells it.
//! - [`acme`]: what is requested of certificate authorities.
//! - [`units`], [`address`]: how spans, sizes and addresses are spelled.

pub(crate) mod acme;
pub(crate) mod address;
mod check;
pub(crate) mod complaint;
mod overrides;
mod raw;
mod table;
pub(crate) mod units;

use std::{
    fmt, io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use busbar_registry::{Address, AppRecord};
use router_core::{
    route::forward::TrustedProxies,
    server::{
        Http2Limits, RequestLimits, RequestPolicy, ResponseLimits, ServerOptions, listen::ProxyProtocol,
    },
    tls::{Certificate, CertificateError, ClientCertificates, Demand, TlsPolicy},
};

pub(crate) use overrides::Overrides;

use self::{
    address::Endpoint,
    complaint::{Complaint, Complaints},
};
use crate::uploads::Uploads;

/// A file larger than this is refused: 64 MiB, some 500 000 domains.
const LARGEST_FILE: u64 = 64 << 20;

/// What `busbar router` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// Where requests are accepted; never empty.
    pub(crate) listen: Vec<ListenAt>,
    /// Threads that carry requests.
    pub(crate) workers: NonZeroUsize,
    /// How long requests may go on after a shutdown has begun.
    pub(crate) drain_timeout: Duration,
    /// How long requests are still taken after `/ready` has begun to say no.
    pub(crate) drain_delay: Duration,
    /// Bounds on requests and connections.
    pub(crate) limits: Limits,
    /// What is done about odd requests, and whom the router believes.
    pub(crate) edge: EdgeRules,
    /// Where the admin API is served. `None`: at the usual place.
    pub(crate) admin: Option<AdminListen>,
    /// Where runtimes register dynos. `None`: nowhere.
    pub(crate) registry: Option<RegistryListen>,
    /// Where the line about each request goes.
    pub(crate) access_log: AccessLogTo,
    /// What is shown to clients that speak TLS.
    pub(crate) certificates: Vec<CertificateFiles>,
    /// From whom more certificates are requested, and how. `None`: from nobody.
    pub(crate) acme: Option<acme::Acme>,
    /// For which names.
    pub(crate) wanted: acme::Wanted,
    /// Bounds on TLS handshakes.
    pub(crate) handshakes: Handshakes,
    /// The keys of session tickets that other routers have, too. `None`: the process has its own.
    pub(crate) ticket_keys: Option<PathBuf>,
    /// Where certificates are kept that come over the admin API. `None`: none are taken.
    pub(crate) uploads: Option<Uploads>,
    /// Bounds on connections that speak HTTP/2.
    pub(crate) http2: Http2Limits,
    /// The apps of the file.
    pub(crate) apps: Vec<DeclaredApp>,
}

/// Where requests are accepted, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenAt {
    /// There.
    pub(crate) address: Address,
    /// Who may open the socket file, if it is one.
    pub(crate) mode: u32,
    /// Each connection begins with a PROXY header, from these proxies.
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
    /// Its connections speak TLS.
    pub(crate) tls: Option<TlsPolicy>,
    /// Over TLS, clients that offer HTTP/2 get it; without, those that begin with it.
    pub(crate) http2: bool,
    /// Its clients are asked for a certificate.
    pub(crate) clients: Option<ClientFiles>,
    /// HTTP/3 is spoken there, too.
    pub(crate) h3: bool,
}

/// Who signs the certificates of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientFiles {
    /// Whether a client must have one.
    pub(crate) demand: Demand,
    /// Authorities; never empty.
    pub(crate) authorities: Vec<PathBuf>,
    /// Lists of what they have revoked.
    pub(crate) lists: Vec<PathBuf>,
    /// Dynos get the certificate itself.
    pub(crate) passed_on: bool,
}

impl ClientFiles {
    /// What is in them.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub(crate) fn load(&self) -> Result<ClientCertificates, CertificateError> {
        let clients = ClientCertificates::load(self.demand, &self.authorities, &self.lists)?;
        Ok(clients.passed_on(self.passed_on))
    }

    /// All of them.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.authorities.iter().chain(&self.lists).map(PathBuf::as_path)
    }
}

/// A certificate that is shown, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateFiles {
    /// The server's own certificate, then those that signed it.
    pub(crate) chain: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
    /// What its authority says about it (OCSP).
    pub(crate) ocsp: Option<PathBuf>,
    /// It is shown to clients that ask for a name that nobody has, or for none.
    pub(crate) default: bool,
}

impl CertificateFiles {
    /// What is in them; and what is wrong with the OCSP response, which is left out then, if it is only out of date.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub(crate) fn load(
        &self,
        now: SystemTime,
    ) -> Result<(Certificate, Option<CertificateError>), CertificateError> {
        let certificate = Certificate::load(&self.chain, &self.key)?;
        let Some(ocsp) = &self.ocsp else { return Ok((certificate, None)) };
        match certificate.clone().with_staple(ocsp, now) {
            Ok(stapled) => Ok((stapled, None)),
            Err(stale @ CertificateError::StaleStaple { .. }) => Ok((certificate, Some(stale))),
            Err(wrong) => Err(wrong),
        }
    }

    /// All of them.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.chain, &self.key].into_iter().chain(&self.ocsp).map(PathBuf::as_path)
    }
}

/// Bounds on TLS handshakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handshakes {
    /// How long one may take.
    pub(crate) timeout: Duration,
    /// How many at a time, over all workers. `None`: the router's own number for each worker.
    pub(crate) at_once: Option<usize>,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self { timeout: ServerOptions::default().handshake_timeout, at_once: None }
    }
}

impl From<Address> for ListenAt {
    fn from(address: Address) -> Self {
        let (proxy_protocol, tls, clients) = (None, None, None);
        Self { address, mode: 0o660, proxy_protocol, tls, http2: false, clients, h3: false }
    }
}

/// Bounds on requests and connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Of a request's head, and of its chunks.
    pub(crate) request: RequestLimits,
    /// Of a response's head, and of its chunks.
    pub(crate) response: ResponseLimits,
    /// Client connections at a time, over all workers. `None`: the router's own number for each worker.
    pub(crate) connections: Option<usize>,
    /// Client connections of one address. `None`: any number.
    pub(crate) connections_per_client: Option<NonZeroUsize>,
    /// Connections kept to one dyno, over all workers. `None`: the router's own number for each worker.
    pub(crate) kept_per_dyno: Option<usize>,
    /// Connections kept to all dynos, over all workers. `None`: the router's own number for each worker.
    pub(crate) kept_connections: Option<usize>,
    /// How long a client may take to send a head (408).
    pub(crate) head_timeout: Duration,
    /// How long a client's connection may idle between requests.
    pub(crate) keepalive_timeout: Duration,
}

impl Default for Limits {
    /// The router's own.
    fn default() -> Self {
        let usual = ServerOptions::default();
        let ServerOptions { request_limits, response_limits, head_timeout, keepalive_timeout, .. } = usual;
        Self {
            request: request_limits,
            response: response_limits,
            connections: None,
            connections_per_client: None,
            kept_per_dyno: None,
            kept_connections: None,
            head_timeout,
            keepalive_timeout,
        }
    }
}

/// What is done about odd requests, and whom the router believes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct EdgeRules {
    /// About requests that not every app reads alike.
    pub(crate) policy: RequestPolicy,
    /// Whose word about the client is believed.
    pub(crate) trusted_proxies: TrustedProxies,
    /// Dynos get `Forwarded`, too.
    pub(crate) forwarded: bool,
}

/// Where the admin API is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AdminListen {
    /// Not at all.
    Off,
    /// There: a socket file, or a loopback address.
    At(Endpoint),
}

/// Where runtimes register dynos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RegistryListen {
    /// The addresses; never empty.
    pub(crate) listen: Vec<Endpoint>,
    /// The file with the key that tokens are made with.
    pub(crate) key_file: PathBuf,
}

/// Where the line about each request goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum AccessLogTo {
    /// Standard output: the default.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
    /// The end of this file; opened again at a reload.
    File(PathBuf),
    /// Nowhere.
    Off,
}

/// An app of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeclaredApp {
    /// What the registry is told about it.
    pub(crate) record: AppRecord,
    /// Its web dynos; none is fine (H14).
    pub(crate) dynos: Vec<Address>,
}

/// How much a configuration holds: `1 app, 2 domains, 2 dynos`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    apps: usize,
    domains: usize,
    dynos: usize,
}

impl Config {
    /// How much it holds.
    pub(crate) fn tally(&self) -> Tally {
        let domains = self.apps.iter().map(|app| app.record.domains.len()).sum();
        let dynos = self.apps.iter().map(|app| app.dynos.len()).sum();
        Tally { apps: self.apps.len(), domains, dynos }
    }
}

impl Config {
    /// The keys of `next` that say something else and cannot change while the router runs. `None`: there are none.
    pub(crate) fn fixed_keys_that_differ(&self, next: &Self) -> Option<String> {
        let off = |config: &Self| config.access_log == AccessLogTo::Off;
        let keys = [
            ("where it listens", self.listen != next.listen),
            ("`workers`", self.workers != next.workers),
            (
                "[tls]",
                self.handshakes != next.handshakes
                    || self.ticket_keys != next.ticket_keys
                    || self.uploads != next.uploads,
            ),
            ("[http2]", self.http2 != next.http2),
            ("[acme]", self.acme != next.acme),
            ("[limits]", self.limits != next.limits),
            ("[edge]", self.edge != next.edge),
            ("[admin]", self.admin != next.admin),
            ("[registry]", self.registry != next.registry),
            ("whether [log] is off", off(self) != off(next)),
        ];
        let differ: Vec<&str> = keys.iter().filter(|(_, differs)| *differs).map(|(key, _)| *key).collect();
        (!differ.is_empty()).then(|| differ.join(", "))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |n: usize| if n == 1 { "" } else { "s" };
        let Self { apps, domains, dynos } = *self;
        write!(
            f,
            "{apps} app{}, {domains} domain{}, {dynos} dyno{}",
            plural(apps),
            plural(domains),
            plural(dynos)
        )
    }
}

/// Why there is no [`Config`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// The file cannot be read.
    #[error("configuration {file} cannot be read: {source}; check its path and permissions")]
    Unreadable {
        /// Its path.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// It is too large.
    #[error("configuration {file} is larger than {} MiB; spread the apps over several routers", LARGEST_FILE >> 20)]
    TooLarge {
        /// Its path.
        file: String,
    },
    /// It says something wrong: all of it in the order of the file, one line each.
    #[error("{}", lines(.0))]
    Wrong(Vec<Complaint>),
}

fn lines(complaints: &[Complaint]) -> String {
    complaints.iter().map(Complaint::to_string).collect::<Vec<_>>().join("\n")
}

/// Reads a configuration file; flags and variables win over what it says.
///
/// # Errors
/// [`Refused`], with everything that is wrong.
pub(crate) fn read(path: &Path, overrides: &Overrides) -> Result<Config, Refused> {
    let file = path.display().to_string();
    let unreadable = |source| Refused::Unreadable { file: file.clone(), source };
    if std::fs::metadata(path).map_err(unreadable)?.len() > LARGEST_FILE {
        return Err(Refused::TooLarge { file });
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse(&file, &text, overrides)
}

/// Makes a configuration of `text`, which is called `file` in complaints.
///
/// # Errors
/// [`Refused::Wrong`].
pub(crate) fn parse(file: &str, text: &str, overrides: &Overrides) -> Result<Config, Refused> {
    let mut complaints = Complaints::new(file, text);
    let raw = raw::read(text, &mut complaints);
    let config = check::check(raw, overrides, &mut complaints);
    let complaints = complaints.finish();
    if complaints.is_empty() { Ok(config) } else { Err(Refused::Wrong(complaints)) }
}

#[cfg(test)]
mod tests;
