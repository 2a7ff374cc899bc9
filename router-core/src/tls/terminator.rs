//! What a listener speaks instead of plain HTTP.
//!
//! - [`Terminator`]: shared by all workers. [`TlsPolicy`]: which versions.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    server::NoServerSessionStorage,
    version::{TLS12, TLS13},
};

use super::{
    CertificateStore, Challenges, ClientCertificates, Tickets,
    challenges::{ACME_TLS, WithChallenges},
    client_certificates::validity::Limited,
    provider,
};

/// What is spoken behind TLS, as ALPN says it (RFC 7301).
pub(super) const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// Which versions of TLS are spoken, as Mozilla's guidelines for servers name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum TlsPolicy {
    /// TLS 1.3 only.
    Modern,
    /// TLS 1.2, with forward secrecy and authenticated encryption only, and TLS 1.3.
    #[default]
    Intermediate,
}

/// Why there is no [`Terminator`].
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up: {0}")]
pub struct TlsError(#[from] rustls::Error);

/// How the connections of a listener are encrypted. There is no 0-RTT, because it can be replayed. Clones are one.
#[derive(Clone)]
pub struct Terminator {
    pub(super) spoken: Arc<ArcSwap<Spoken>>,
    pub(super) store: Arc<CertificateStore>,
    policy: TlsPolicy,
    tickets: Tickets,
    http2: bool,
    challenges: Option<Arc<Challenges>>,
}

/// What new connections speak.
pub(super) struct Spoken {
    pub(super) config: Arc<ServerConfig>,
    /// Clients are asked for a certificate.
    pub(super) asks: Option<Asks>,
}

/// What becomes of a client's certificate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asks {
    /// Dynos get it.
    pub(super) passed_on: bool,
}

impl Terminator {
    /// One per policy that shows certificates of `store`. Give all of them the same `tickets`.
    ///
    /// # Errors
    /// When the library has none of the policy's versions.
    pub fn new(policy: TlsPolicy, store: Arc<CertificateStore>, tickets: &Tickets) -> Result<Self, TlsError> {
        let spoken = spoken(policy, &store, tickets, None, true)?;
        let spoken = Arc::new(ArcSwap::from_pointee(spoken));
        Ok(Self { spoken, store, policy, tickets: tickets.clone(), http2: true, challenges: None })
    }

    /// Offers HTTP/1.1 only; otherwise HTTP/2 comes first. To be said before [`Terminator::ask_clients`] and
    /// [`Terminator::with_challenges`].
    ///
    /// # Errors
    /// When the library has none of the policy's versions.
    pub fn without_http2(self) -> Result<Self, TlsError> {
        self.spoken.store(Arc::new(spoken(self.policy, &self.store, &self.tickets, None, false)?));
        Ok(Self { http2: false, ..self })
    }

    /// Also answers ACME servers that validate names by tls-alpn-01.
    #[must_use]
    pub fn with_challenges(mut self, challenges: Arc<Challenges>) -> Self {
        let spoken = self.spoken.load().with_challenges(&self.store, &challenges);
        self.spoken.store(Arc::new(spoken));
        self.challenges = Some(challenges);
        self
    }

    /// From now on new connections are asked for a certificate; open ones go on. A session that was begun under other rules
    /// is not resumed: its client is asked, too.
    ///
    /// # Errors
    /// When the library has none of the policy's versions.
    pub fn ask_clients(&self, clients: &ClientCertificates) -> Result<(), TlsError> {
        let spoken = spoken(self.policy, &self.store, &self.tickets, Some(clients), self.http2)?;
        let spoken = match &self.challenges {
            Some(challenges) => spoken.with_challenges(&self.store, challenges),
            None => spoken,
        };
        self.spoken.store(Arc::new(spoken));
        Ok(())
    }
}

impl Spoken {
    /// The protocol is the last one offered, so that nobody gets it who wants another one.
    fn with_challenges(&self, store: &Arc<CertificateStore>, challenges: &Arc<Challenges>) -> Self {
        let mut config = ServerConfig::clone(&self.config);
        let (store, challenges) = (Arc::clone(store), Arc::clone(challenges));
        config.cert_resolver = Arc::new(WithChallenges { store, challenges });
        config.alpn_protocols.push(ACME_TLS.to_vec());
        Self { config: Arc::new(config), asks: self.asks }
    }
}

fn spoken(
    policy: TlsPolicy,
    store: &Arc<CertificateStore>,
    tickets: &Tickets,
    clients: Option<&ClientCertificates>,
    http2: bool,
) -> Result<Spoken, TlsError> {
    let versions: &[_] = match policy {
        TlsPolicy::Modern => &[&TLS13],
        TlsPolicy::Intermediate => &[&TLS13, &TLS12],
    };
    let resolver: Arc<CertificateStore> = Arc::clone(store);
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions)?;
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(Arc::clone(&clients.verifier)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(resolver);
    config.alpn_protocols = [HTTP2, HTTP1].into_iter().skip(usize::from(!http2)).map(Vec::from).collect();
    // The library resumes whatever a ticket says, even a session without the certificate that is wanted here.
    config.ticketer = match clients {
        Some(clients) => Arc::new(Limited(tickets.for_purpose(clients.purpose))),
        None => tickets.for_purpose([0; 32]),
    };
    // Tickets keep what is needed at the client; a cache here would be a lock that all workers share.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    let asks = clients.map(|clients| Asks { passed_on: clients.passed_on });
    Ok(Spoken { config: Arc::new(config), asks })
}

#[cfg(feature = "h3")]
impl Terminator {
    /// The same for QUIC, which is TLS 1.3 only: without 0-RTT, because it can be replayed, and without certificates of
    /// clients, because nobody would be told of them.
    pub(crate) fn quic(&self) -> Result<quinn::crypto::rustls::QuicServerConfig, TlsError> {
        let spoken = spoken(TlsPolicy::Modern, &self.store, &self.tickets, None, false)?;
        if self.spoken.load().asks.is_some() {
            let said = "HTTP/3 does not ask for certificates of clients";
            return Err(TlsError(rustls::Error::General(said.into())));
        }
        let mut config = ServerConfig::clone(&spoken.config);
        config.alpn_protocols = vec![b"h3".to_vec()];
        config.cert_resolver = Arc::new(super::certificates::Quiet(Arc::clone(&self.store)));
        config.max_early_data_size = 0;
        let config = quinn::crypto::rustls::QuicServerConfig::try_from(Arc::new(config));
        config.map_err(|error| TlsError(rustls::Error::General(error.to_string())))
    }

    /// Whose certificates it shows.
    pub(crate) fn store(&self) -> Arc<CertificateStore> {
        Arc::clone(&self.store)
    }
}

impl fmt::Debug for Terminator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminator").field("policy", &self.policy).finish_non_exhaustive()
    }
}
