//! TLS in front of the edges: whose certificate is shown, how a handshake goes, and the connection behind it.
//!
//! - [`Certificate`] (in [`certificate`]): a chain and its key, read from PEM files and checked.
//! - [`Certificates`], [`CertificateStore`] (in [`certificates`]): which certificate a name gets; swapped as a whole.
//! - [`ClientCertificates`] (in [`client_certificates`]): what a listener wants of its clients, and what dynos learn of them.
//! - [`Tickets`] (in [`tickets`]): what lets clients come back without the costly part of a handshake.
//! - [`Terminator`], [`TlsPolicy`] (in [`terminator`]): what a listener speaks.
//! - [`Challenges`] (in [`challenges`]): answers to an ACME server that is to sign certificates.
//! - [`handshake`]: from the first byte to a session, within a time; or to somebody who speaks plain HTTP.
//! - [`places`]: so many handshakes at a time.
//! - [`outward`]: TLS towards dynos.
//! - [`session`]: an encrypted connection as the proxy sees it. Idle, it holds no buffer.

pub mod certificate;
pub mod certificates;
pub mod challenges;
pub mod client_certificates;
pub(crate) mod handshake;
pub mod outward;
pub(crate) mod places;
pub(crate) mod session;
pub mod terminator;
pub mod tickets;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use self::{
    certificate::{Certificate, CertificateError},
    certificates::{CertificateStore, Certificates},
    challenges::{Challenges, NotTaken},
    client_certificates::{ClientCertificates, Demand},
    terminator::{Terminator, TlsError, TlsPolicy},
    tickets::{TicketKeys, TicketKeysError, Tickets},
};

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
compile_error!("TLS needs somebody to do its arithmetic: enable the feature `aws-lc-rs` or `ring`");

// The same names in both.
#[cfg(feature = "aws-lc-rs")]
use aws_lc_rs as arithmetic;
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
use ring as arithmetic;
#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as provided;
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
use rustls::crypto::ring as provided;

/// Who does the arithmetic. One for all, made once.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::LazyLock<Arc<CryptoProvider>> =
        std::sync::LazyLock::new(|| Arc::new(provided::default_provider()));
    Arc::clone(&PROVIDER)
}
