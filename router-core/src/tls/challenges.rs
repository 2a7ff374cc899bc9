//! Answers to an ACME server that asks whether who wants a certificate is who serves the name.
//!
//! - [`Challenges`]: what may be asked now. Whoever talks to the ACME server puts it there and takes it away again.
//! - http-01 (RFC 8555 §8.3): a file below [`Challenges::PATH`], on every listener, before any app is looked for.
//! - tls-alpn-01 (RFC 8737): a certificate that is shown only to who speaks `acme-tls/1` and nothing else.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, OnceLock},
};

use arc_swap::ArcSwap;
use rustls::{
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::CertificateStore;

/// The protocol of tls-alpn-01 (RFC 8737 §6.2).
pub(crate) const ACME_TLS: &[u8] = b"acme-tls/1";

/// Why an answer is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// There are [`Challenges::MOST`] of its kind already.
    #[error("too many names are being validated at once")]
    TooMany,
    /// Its key cannot be used.
    #[error("the key of the challenge's certificate is of a kind that is not supported")]
    UnsupportedKey,
}

/// What ACME servers may ask now: a snapshot that is swapped, at most [`Challenges::MOST`] of each kind.
#[derive(Default)]
pub struct Challenges {
    open: ArcSwap<Open>,
    missed: OnceLock<Box<Missed>>,
}

type Missed = dyn Fn(&str) + Send + Sync;

#[derive(Default, Clone)]
struct Open {
    /// Token → key authorization.
    files: HashMap<Box<str>, Arc<str>>,
    /// Name → certificate.
    certificates: HashMap<Box<str>, Arc<CertifiedKey>>,
}

impl Challenges {
    /// Where the answers of http-01 are.
    pub const PATH: &str = "/.well-known/acme-challenge/";
    /// So many answers of each kind at a time; further ones are not taken.
    pub const MOST: usize = 256;

    /// Nothing may be asked.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// From now on `token` is answered with `authorization`.
    ///
    /// # Errors
    /// [`NotTaken::TooMany`].
    pub fn put_file(&self, token: &str, authorization: &str) -> Result<(), NotTaken> {
        self.change(|open| {
            open.files.insert(token.into(), authorization.into());
            open.files.len()
        })
    }

    /// From now on who validates `name` is shown this certificate, in DER, with its key, in PKCS #8. It is no certificate
    /// for anything else, so it is not checked like one.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub fn put_certificate(&self, name: &str, certificate: &[u8], key: &[u8]) -> Result<(), NotTaken> {
        let key = PrivatePkcs8KeyDer::from(key.to_vec()).into();
        let key =
            super::provider().key_provider.load_private_key(key).map_err(|_| NotTaken::UnsupportedKey)?;
        let certificate = CertificateDer::from(certificate.to_vec());
        let certified = Arc::new(CertifiedKey::new(vec![certificate], key));
        self.change(|open| {
            open.certificates.insert(name.into(), Arc::clone(&certified));
            open.certificates.len()
        })
    }

    /// `token` is answered no more.
    pub fn take_file(&self, token: &str) {
        let _fits = self.change(|open| open.files.remove(token).map_or(0, |_| 1));
    }

    /// Nobody validates `name` any more.
    pub fn take_certificate(&self, name: &str) {
        let _fits = self.change(|open| open.certificates.remove(name).map_or(0, |_| 1));
    }

    /// Calls `missed` for each hello that asks for a name which no certificate is for, so that one can be requested. It is
    /// called on a worker's thread, so it must not wait. Only the first call of this counts.
    pub fn tell_of_misses(&self, missed: impl Fn(&str) + Send + Sync + 'static) {
        let _told_already = self.missed.set(Box::new(missed));
    }

    /// Makes another snapshot, unless that would hold too much; `change` says how much.
    fn change(&self, change: impl Fn(&mut Open) -> usize) -> Result<(), NotTaken> {
        let mut fits = true;
        self.open.rcu(|open| {
            let mut next = Open::clone(open);
            fits = change(&mut next) <= Self::MOST;
            if fits { Arc::new(next) } else { Arc::clone(open) }
        });
        if fits { Ok(()) } else { Err(NotTaken::TooMany) }
    }

    /// What is said to a request for `target`, if that is a challenge. For all others this is one comparison.
    pub(crate) fn answer(&self, target: &[u8]) -> Option<Arc<str>> {
        let token = target.strip_prefix(Self::PATH.as_bytes())?;
        self.open.load().files.get(std::str::from_utf8(token).ok()?).cloned()
    }

    fn certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.open.load().certificates.get(name).cloned()
    }
}

impl fmt::Debug for Challenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.open.load();
        let names: Vec<_> = open.certificates.keys().collect();
        f.debug_struct("Challenges").field("files", &open.files.len()).field("certificates", &names).finish()
    }
}

/// Shows the certificate of a challenge to who speaks `acme-tls/1`, and those of the store to everybody else.
#[derive(Debug)]
pub(super) struct WithChallenges {
    pub(super) store: Arc<CertificateStore>,
    pub(super) challenges: Arc<Challenges>,
}

impl ResolvesServerCert for WithChallenges {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut protocols = hello.alpn().into_iter().flatten();
        let validates = protocols.any(|protocol| protocol == ACME_TLS);
        if !validates {
            if let (Some(name), Some(missed)) = (hello.server_name(), self.challenges.missed.get())
                && !self.store.has(name)
            {
                missed(name);
            }
            return self.store.resolve(hello);
        }
        // A validator offers this protocol alone (RFC 8737 §3); whoever offers others too is none.
        let alone = hello.alpn().is_some_and(|all| all.count() == 1);
        self.challenges.certificate(hello.server_name().filter(|_| alone)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_token_is_answered_and_only_while_it_is_there() {
        let challenges = Challenges::default();
        challenges.put_file("abc", "abc.thumb").unwrap();
        let answer = |target: &str| challenges.answer(target.as_bytes()).map(|said| said.to_string());
        assert_eq!(answer("/.well-known/acme-challenge/abc").as_deref(), Some("abc.thumb"));
        for other in [
            "/.well-known/acme-challenge/",
            "/.well-known/acme-challenge/abcd",
            "/.well-known/acme-challenge/abc/",
            "/.well-known/acme-challenge/abc?x",
            "/.well-known/acme-challenge/%61bc",
            "/x/.well-known/acme-challenge/abc",
            "/",
        ] {
            assert_eq!(answer(other), None, "{other}");
        }
        challenges.take_file("abc");
        assert_eq!(answer("/.well-known/acme-challenge/abc"), None);
    }

    #[test]
    fn there_are_so_many_at_a_time_and_no_more() {
        let challenges = Challenges::default();
        assert!((0..Challenges::MOST).all(|n| challenges.put_file(&n.to_string(), "x").is_ok()));
        assert_eq!(challenges.put_file("one more", "x"), Err(NotTaken::TooMany));
        challenges.put_file("0", "another answer to the same").unwrap();
        challenges.take_file("0");
        challenges.put_file("one more", "x").unwrap();
    }
}
