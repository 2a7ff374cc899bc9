//! A chain of certificates and its key, read from PEM and checked, so that what is served can be served.
//!
//! - [`Certificate::load`]: from two files. [`Certificate::from_pem`]: from two texts.
//! - [`Certificate::good_at`]: whether its time has come and is not over; that is no reason not to show it.
//! - [`Certificate::with_staple`]: what its authority says about it, to be shown beside it.
//! - [`CertificateError`]: which file, what is wrong, what to do.

mod staple;

use std::{
    fmt, fs, io,
    net::IpAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    SignatureAlgorithm,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    sign::CertifiedKey,
};
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::{FromDer as _, ParsedExtension},
};

/// A file larger than this is no certificate.
const LARGEST_FILE: u64 = 1 << 20;
/// More names than this are one certificate's no more.
const MOST_NAMES: usize = 1000;

/// A chain and its key, checked. Its `Debug` shows the names only.
#[derive(Clone)]
pub struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    names: Vec<String>,
    addresses: Vec<IpAddr>,
    file: PathBuf,
    issuer: String,
    begins: SystemTime,
    expires: SystemTime,
    open_to_others: Option<PathBuf>,
    must_staple: bool,
    staple_ends: Option<SystemTime>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("names", &self.names).finish_non_exhaustive()
    }
}

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{} cannot be read: {source}; check its path and permissions", .file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no certificate in it.
    #[error("{} has no certificate; it must have `-----BEGIN CERTIFICATE-----`, the server's own first, then those that signed it", .0.display())]
    NoCertificate(PathBuf),
    /// There is no key in it that can be used without a passphrase.
    #[error("{} has no private key; it must have `-----BEGIN PRIVATE KEY-----` (take a passphrase off with `openssl pkey`)", .0.display())]
    NoKey(PathBuf),
    /// What looks like PEM is none.
    #[error("{} is damaged: {what}; copy it again", .file.display())]
    Damaged {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The key cannot be used.
    #[error("{} has a key of a kind that is not supported; use ECDSA P-256, or RSA of 2048 bits or more", .0.display())]
    UnsupportedKey(PathBuf),
    /// The key is another certificate's.
    #[error("the key in {} is not that of the first certificate in {}; use the key that the certificate was requested with, and put the server's own certificate first", .key.display(), .chain.display())]
    WrongKey {
        /// The chain's file.
        chain: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// One certificate of the chain was not signed by the next one.
    #[error("certificate {number} in {} was signed by \"{issuer}\", but \"{next}\" follows it; write the server's own certificate first, then the one that signed it, and so on", .file.display())]
    Order {
        /// Which file.
        file: PathBuf,
        /// Which certificate, from 1.
        number: usize,
        /// Who signed it.
        issuer: String,
        /// Who follows.
        next: String,
    },
    /// It names nobody.
    #[error("the certificate in {} has no DNS name or IP address among its subject alternative names, so no client accepts it; request it with names", .0.display())]
    Nameless(PathBuf),
    /// There is no list of revoked certificates in it.
    #[error("{} has no list of revoked certificates; it must have `-----BEGIN X509 CRL-----` (convert it with `openssl crl -inform DER`)", .0.display())]
    NoList(PathBuf),
    /// Authorities of clients that cannot be used.
    #[error("clients cannot be checked with {}: {what}", .file.display())]
    Unusable {
        /// Which file.
        file: PathBuf,
        /// Why.
        what: String,
    },
    /// An OCSP response that cannot be shown.
    #[error("{} {what}", .file.display())]
    Staple {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it, and what to do.
        what: &'static str,
    },
    /// An OCSP response whose time is over, or has not come.
    #[error("the OCSP response {} is out of date; fetch a new one", .file.display())]
    StaleStaple {
        /// Which file.
        file: PathBuf,
    },
    /// It is over.
    #[error("the certificate in {} expired {ago_days} days ago; renew it", .file.display())]
    Expired {
        /// Which file.
        file: PathBuf,
        /// For how long.
        ago_days: u64,
    },
    /// It is not good yet.
    #[error("the certificate in {} is good only in {in_days} days; check this machine's clock, or show the one before it until then", .file.display())]
    TooEarly {
        /// Which file.
        file: PathBuf,
        /// In how long it is good; 0 is less than a day.
        in_days: u64,
    },
}

impl Certificate {
    /// Reads a chain (the server's own certificate first) and its key, and checks that they can be served.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn load(chain: &Path, key: &Path) -> Result<Self, CertificateError> {
        let chain_pem = read(chain)?;
        let key_pem = read(key)?;
        let mut certificate = checked((chain, &chain_pem), (key, &key_pem))?;
        let mode = fs::metadata(key).map(|data| data.permissions().mode()).unwrap_or_default();
        certificate.open_to_others = (mode & 0o004 != 0).then(|| key.to_owned());
        Ok(certificate)
    }

    /// The same from texts; `name` stands for the files in errors.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn from_pem(name: &str, chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        checked((Path::new(name), chain), (Path::new(name), key))
    }

    /// The same, with an OCSP response from a file (DER) shown beside it.
    ///
    /// # Errors
    /// [`CertificateError::Staple`] or [`CertificateError::StaleStaple`] when it does not speak well of this certificate at
    /// `now`; its signature is not looked at.
    pub fn with_staple(mut self, file: &Path, now: SystemTime) -> Result<Self, CertificateError> {
        let response = read(file)?;
        let damaged = |what: String| CertificateError::Damaged { file: self.file.clone(), what };
        let der = self.key.cert.first().ok_or_else(|| CertificateError::NoCertificate(self.file.clone()))?;
        let (_, leaf) = X509Certificate::from_der(der).map_err(|error| damaged(error.to_string()))?;
        self.staple_ends = Some(staple::check(file, &response, &leaf, now)?);
        let key = CertifiedKey { ocsp: Some(response), ..CertifiedKey::clone(&self.key) };
        self.key = Arc::new(key);
        Ok(self)
    }

    /// The same without one.
    #[must_use]
    pub fn without_staple(mut self) -> Self {
        self.key = Arc::new(CertifiedKey { ocsp: None, ..CertifiedKey::clone(&self.key) });
        self.staple_ends = None;
        self
    }

    /// Until when the OCSP response beside it is good, if there is one.
    pub const fn staple_ends(&self) -> Option<SystemTime> {
        self.staple_ends
    }

    /// Whether clients may refuse it without an OCSP response beside it (RFC 7633).
    pub const fn must_staple(&self) -> bool {
        self.must_staple
    }

    /// Whether clients whose clock says `now` accept its span of time.
    ///
    /// # Errors
    /// [`CertificateError::Expired`], [`CertificateError::TooEarly`].
    pub fn good_at(&self, now: SystemTime) -> Result<(), CertificateError> {
        let days = |span: Duration| span.as_secs() / 86_400;
        if let Ok(ago) = now.duration_since(self.expires) {
            return Err(CertificateError::Expired { file: self.file.clone(), ago_days: days(ago) });
        }
        match self.begins.duration_since(now) {
            Ok(wait) if !wait.is_zero() => {
                Err(CertificateError::TooEarly { file: self.file.clone(), in_days: days(wait) })
            }
            _ => Ok(()),
        }
    }

    /// The names it is for, in lower case: `a.example`, `*.a.example`.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The addresses it is for.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Its names and addresses in one text, for people.
    pub fn is_for(&self) -> String {
        let addresses = self.addresses.iter().map(ToString::to_string);
        self.names.iter().cloned().chain(addresses).collect::<Vec<_>>().join(", ")
    }

    /// The file of its chain, or what stands for it.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Who has signed it, as the certificate says.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// From when on it is good.
    pub const fn begins(&self) -> SystemTime {
        self.begins
    }

    /// Until when it is good.
    pub const fn expires(&self) -> SystemTime {
        self.expires
    }

    /// Whether its key is an ECDSA or EdDSA one: smaller and faster than RSA, so it goes first.
    pub(super) fn is_elliptic(&self) -> bool {
        matches!(self.key.key.algorithm(), SignatureAlgorithm::ECDSA | SignatureAlgorithm::ED25519)
    }

    /// The file of its key, if every user of this machine can read that.
    pub fn key_open_to_others(&self) -> Option<&Path> {
        self.open_to_others.as_deref()
    }
}

pub(super) fn read(file: &Path) -> Result<Vec<u8>, CertificateError> {
    let unreadable = |source| CertificateError::Unreadable { file: file.to_owned(), source };
    let data = fs::metadata(file).map_err(unreadable)?;
    if data.len() > LARGEST_FILE || !data.is_file() {
        return Err(CertificateError::NoCertificate(file.to_owned()));
    }
    fs::read(file).map_err(unreadable)
}

type Source<'a> = (&'a Path, &'a [u8]);

fn checked(chain: Source<'_>, key: Source<'_>) -> Result<Certificate, CertificateError> {
    let damaged = |what: String| CertificateError::Damaged { file: chain.0.to_owned(), what };
    let ders: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain.1)
        .collect::<Result<_, _>>()
        .map_err(|error: pem::Error| damaged(error.to_string()))?;
    let parsed = ders
        .iter()
        .map(|der| X509Certificate::from_der(der).map(|(_, certificate)| certificate))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| damaged(error.to_string()))?;
    let [leaf, ..] = parsed.as_slice() else {
        return Err(CertificateError::NoCertificate(chain.0.to_owned()));
    };
    let (names, addresses) = names(leaf);
    let begins = time(leaf.validity().not_before.timestamp());
    let expires = time(leaf.validity().not_after.timestamp());
    let key = match_key(chain.0, key, &ders)?;
    in_order(chain.0, &parsed)?;
    if names.is_empty() && addresses.is_empty() {
        return Err(CertificateError::Nameless(chain.0.to_owned()));
    }
    let (file, issuer) = (chain.0.to_owned(), leaf.issuer().to_string());
    Ok(Certificate {
        key: Arc::new(key),
        names,
        addresses,
        file,
        issuer,
        begins,
        expires,
        open_to_others: None,
        must_staple: staple::is_required(leaf),
        staple_ends: None,
    })
}

/// The chain with its key, which is that of the first certificate.
fn match_key(
    chain: &Path,
    (file, text): Source<'_>,
    ders: &[CertificateDer<'static>],
) -> Result<CertifiedKey, CertificateError> {
    let key = PrivateKeyDer::from_pem_slice(text).map_err(|_| CertificateError::NoKey(file.to_owned()))?;
    let key = super::provider()
        .key_provider
        .load_private_key(key)
        .map_err(|_| CertificateError::UnsupportedKey(file.to_owned()))?;
    let certified = CertifiedKey::new(ders.to_vec(), key);
    certified
        .keys_match()
        .map_err(|_| CertificateError::WrongKey { chain: chain.to_owned(), key: file.to_owned() })?;
    Ok(certified)
}

fn in_order(file: &Path, chain: &[X509Certificate<'_>]) -> Result<(), CertificateError> {
    let pairs = chain.iter().zip(chain.iter().skip(1)).zip(1..);
    for ((this, next), number) in pairs {
        if this.issuer().as_raw() != next.subject().as_raw() {
            return Err(CertificateError::Order {
                file: file.to_owned(),
                number,
                issuer: this.issuer().to_string(),
                next: next.subject().to_string(),
            });
        }
    }
    Ok(())
}

/// Its DNS names and its IP addresses.
fn names(leaf: &X509Certificate<'_>) -> (Vec<String>, Vec<IpAddr>) {
    let listed = leaf.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    let (mut names, mut addresses) = (Vec::new(), Vec::new());
    for name in listed.flatten().take(MOST_NAMES) {
        match name {
            GeneralName::DNSName(name) => names.push(name.trim_end_matches('.').to_ascii_lowercase()),
            GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
            _ => {}
        }
    }
    (names, addresses)
}

/// Four bytes or sixteen (RFC 5280 §4.2.1.6).
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

pub(super) fn time(unix_seconds: i64) -> SystemTime {
    u64::try_from(unix_seconds).map_or(UNIX_EPOCH, |seconds| UNIX_EPOCH + Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests;
