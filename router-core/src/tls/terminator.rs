//! What a listener speaks instead of plain HTTP.
//!
//! - [`Terminator`]: shared by all workers, its session tickets too. [`TlsPolicy`]: which versions.

use std::{fmt, sync::Arc};

use rustls::{
    ServerConfig,
    server::{NoServerSessionStorage, ProducesTickets},
    version::{TLS12, TLS13},
};

use super::{CertificateStore, provided, provider};

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

/// How the connections of a listener are encrypted. Tickets let a client come back without the costly part of a
/// handshake; their keys change every six hours and are good for twelve. There is no 0-RTT, because it can be replayed.
#[derive(Clone)]
pub struct Terminator {
    pub(super) config: Arc<ServerConfig>,
    pub(super) store: Arc<CertificateStore>,
    policy: TlsPolicy,
}

impl Terminator {
    /// One per policy that shows certificates of `store`. Give all of them the same `tickets`.
    ///
    /// # Errors
    /// When the library has none of the policy's versions.
    pub fn new(policy: TlsPolicy, store: Arc<CertificateStore>, tickets: &Tickets) -> Result<Self, TlsError> {
        let versions: &[_] = match policy {
            TlsPolicy::Modern => &[&TLS13],
            TlsPolicy::Intermediate => &[&TLS13, &TLS12],
        };
        let resolver: Arc<CertificateStore> = Arc::clone(&store);
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ticketer = Arc::clone(&tickets.0);
        // Tickets keep what is needed at the client; a cache here would be a lock that all workers share.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { config: Arc::new(config), store, policy })
    }
}

impl fmt::Debug for Terminator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminator").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// The keys of session tickets.
#[derive(Clone)]
pub struct Tickets(Arc<dyn ProducesTickets>);

impl Tickets {
    /// New keys of this process alone.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new() -> Result<Self, TlsError> {
        Ok(Self(provided::Ticketer::new()?))
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}
