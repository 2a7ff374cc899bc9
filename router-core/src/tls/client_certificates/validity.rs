//! Until when a session may be resumed that was begun with a client's certificate: as long as what was checked is good.
//!
//! rustls keeps the certificate in the ticket, copies it into the next one, and never looks at its time again. So a ticket
//! says when that time is over; whoever comes later with it has a whole handshake, which tells it why it is refused.
//!
//! - [`Noting`]: notes the time when a certificate is verified. [`Limited`]: writes it into tickets, and looks at it.
//! - [`set_until`], [`until`]: the time of the session whose handshake goes on.

use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::{
        ProducesTickets,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

/// Seconds since 1970. Without a certificate there is no end to it.
pub(in crate::tls) type Until = u64;
pub(in crate::tls) const ALWAYS: Until = u64::MAX;

thread_local! {
    /// Of the session whose handshake goes on just now on this thread: rustls has no place for it.
    static UNTIL: Cell<Until> = const { Cell::new(ALWAYS) };
}

/// What is read next on this thread belongs to a session that may be resumed so long.
pub(in crate::tls) fn set_until(until: Until) {
    UNTIL.set(until);
}

/// The same after reading it.
pub(in crate::tls) fn until() -> Until {
    UNTIL.get()
}

fn seconds(time: SystemTime) -> Until {
    time.duration_since(UNIX_EPOCH).as_ref().map_or(0, Duration::as_secs)
}

/// When this certificate is over; one that cannot be read is.
fn end(certificate: &CertificateDer<'_>) -> Until {
    let read = X509Certificate::from_der(certificate);
    read.map_or(0, |(_, read)| read.validity().not_after.timestamp().try_into().unwrap_or(0))
}

/// Verifies certificates of clients, and notes until when that is worth something.
#[derive(Debug)]
pub(super) struct Noting {
    verifier: Arc<dyn ClientCertVerifier>,
    /// When the first of the lists of revoked certificates is out of date.
    lists_end: Until,
}

impl Noting {
    pub(super) fn new(verifier: Arc<dyn ClientCertVerifier>, lists_end: Option<SystemTime>) -> Self {
        Self { verifier, lists_end: lists_end.map_or(ALWAYS, seconds) }
    }
}

impl ClientCertVerifier for Noting {
    fn offer_client_auth(&self) -> bool {
        self.verifier.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        signers: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.verifier.verify_client_cert(own, signers, now)?;
        set_until(signers.iter().map(end).fold(end(own).min(self.lists_end), Until::min));
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.verifier.requires_raw_public_keys()
    }
}

/// Tickets that say until when they are good.
#[derive(Debug)]
pub(in crate::tls) struct Limited(pub(in crate::tls) Arc<dyn ProducesTickets>);

impl ProducesTickets for Limited {
    fn enabled(&self) -> bool {
        self.0.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.encrypt(&[&until().to_be_bytes(), plain].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let mut plain = self.0.decrypt(ticket)?;
        let until = Until::from_be_bytes(*plain.first_chunk()?);
        if seconds(SystemTime::now()) >= until {
            return None;
        }
        set_until(until);
        plain.drain(..size_of::<Until>());
        Some(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Tickets;

    #[test]
    fn a_ticket_is_good_until_then_and_so_is_the_next_one() {
        let tickets = Limited(Tickets::new().unwrap().for_purpose([1; 32]));
        let now = seconds(SystemTime::now());
        set_until(now + 1000);
        let ticket = tickets.encrypt(b"a session").unwrap();
        set_until(ALWAYS);
        assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(&b"a session"[..]));
        assert_eq!(until(), now + 1000);
        set_until(now);
        let ticket = tickets.encrypt(b"a session").unwrap();
        assert_eq!(tickets.decrypt(&ticket), None);
    }
}
