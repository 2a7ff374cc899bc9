//! Certificates of clients: who signs them, which are revoked, and what dynos are told about whoever showed one.
//!
//! - [`ClientCertificates`]: what a listener wants of its clients, read from files and checked.
//! - [`Demand`]: whether a client must have a certificate.
//! - `identity`: the header lines about a client.
//! - `validity`: until when a session with a client's certificate may be resumed.

mod identity;
mod name;
pub(super) mod validity;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer, CertificateRevocationListDer,
        pem::{self, PemObject as _},
    },
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use x509_parser::{prelude::FromDer as _, revocation_list::CertificateRevocationList};

use super::{
    CertificateError,
    certificate::{read, time},
    provider,
};
pub(super) use identity::lines;
use validity::Noting;

/// Whether a client must have a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Demand {
    /// A client may come without; a certificate that it shows must be good.
    Optional,
    /// Nobody gets in without a good one.
    Required,
}

/// What a listener wants of its clients: a certificate that one of these authorities signed, for client authentication,
/// not expired and on none of these lists.
#[derive(Clone)]
pub struct ClientCertificates {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// Dynos get the certificate itself, too.
    pub(super) passed_on: bool,
    /// Sessions that were begun under other rules are not resumed under these.
    pub(super) purpose: [u8; 32],
    /// The list that ends first, and when.
    ends: Option<(PathBuf, SystemTime)>,
}

impl ClientCertificates {
    /// Reads the authorities, and the lists of what they have revoked (PEM). When there are lists, there must be one of
    /// each authority in a client's chain, and none may be out of date: else its certificate is refused.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn load(
        demand: Demand,
        authorities: &[PathBuf],
        lists: &[PathBuf],
    ) -> Result<Self, CertificateError> {
        let mut purpose =
            blake3::Hasher::new_derive_key("busbar 2026-11 tickets with client certificates and their end");
        purpose.update(&[u8::from(demand == Demand::Required)]);
        let mut roots = RootCertStore::empty();
        for file in authorities {
            for der in authorities_of(file)? {
                frame(&mut purpose, &der);
                roots.add(der).map_err(|error| unusable(file, &error))?;
            }
        }
        let (mut all, mut ends) = (Vec::new(), None::<(PathBuf, SystemTime)>);
        for file in lists {
            for der in lists_of(file)? {
                frame(&mut purpose, &der);
                let end = end(file, &der)?;
                if let Some(end) = end.filter(|end| ends.as_ref().is_none_or(|(_, first)| end < first)) {
                    ends = Some((file.clone(), end));
                }
                all.push(der);
            }
        }
        let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider())
            .with_crls(all)
            .enforce_revocation_expiration();
        let builder = if demand == Demand::Optional { builder.allow_unauthenticated() } else { builder };
        let file = lists.first().or(authorities.first()).map_or(Path::new("client_ca"), PathBuf::as_path);
        let verifier = builder.build().map_err(|error| unusable(file, &error))?;
        let verifier = Arc::new(Noting::new(verifier, ends.as_ref().map(|(_, end)| *end)));
        Ok(Self { verifier, passed_on: false, purpose: *purpose.finalize().as_bytes(), ends })
    }

    /// Dynos get the certificate itself (`Client-Cert`) and those that signed it (`Client-Cert-Chain`), too (RFC 9440).
    #[must_use]
    pub const fn passed_on(mut self, passed_on: bool) -> Self {
        self.passed_on = passed_on;
        self
    }

    /// The list of revoked certificates that is out of date first, and when it is: from then on clients of its authority
    /// are refused.
    pub fn first_list_to_end(&self) -> Option<(&Path, SystemTime)> {
        self.ends.as_ref().map(|(file, end)| (file.as_path(), *end))
    }
}

impl fmt::Debug for ClientCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificates").field("passed_on", &self.passed_on).finish_non_exhaustive()
    }
}

/// So that no two sequences of texts are one.
fn frame(purpose: &mut blake3::Hasher, text: &[u8]) {
    purpose.update(&(text.len() as u64).to_le_bytes());
    purpose.update(text);
}

fn unusable(file: &Path, why: &dyn fmt::Display) -> CertificateError {
    CertificateError::Unusable { file: file.to_owned(), what: why.to_string() }
}

fn damaged(file: &Path, what: impl fmt::Display) -> CertificateError {
    CertificateError::Damaged { file: file.to_owned(), what: what.to_string() }
}

fn authorities_of(file: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let all: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&read(file)?).collect();
    let all = all.map_err(|error| damaged(file, error))?;
    if all.is_empty() { Err(CertificateError::NoCertificate(file.to_owned())) } else { Ok(all) }
}

fn lists_of(file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, CertificateError> {
    let all: Result<Vec<_>, pem::Error> =
        CertificateRevocationListDer::pem_slice_iter(&read(file)?).collect();
    let all = all.map_err(|error| damaged(file, error))?;
    if all.is_empty() { Err(CertificateError::NoList(file.to_owned())) } else { Ok(all) }
}

/// When a list is out of date.
fn end(file: &Path, der: &[u8]) -> Result<Option<SystemTime>, CertificateError> {
    let (_, list) = CertificateRevocationList::from_der(der).map_err(|error| damaged(file, error))?;
    Ok(list.next_update().map(|end| time(end.timestamp())))
}
