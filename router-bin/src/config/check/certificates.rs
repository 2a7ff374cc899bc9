//! What `[[certificate]]` and `[tls]` mean. Each certificate is read and checked, so that what is wrong with it is told
//! with its line.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use router_core::tls::{CertificateError, TicketKeys};

use crate::uploads::Uploads;

use super::{
    super::{
        CertificateFiles, Handshakes, ListenAt,
        complaint::Complaints,
        raw::{RawCertificate, RawTls},
        table::At,
    },
    count, positive,
};

/// What `[[certificate]]` says, for a router that listens on `listen` and perhaps requests certificates itself.
pub(super) fn check(
    raw: Vec<RawCertificate>,
    others_come: bool,
    listen: &[ListenAt],
    complaints: &mut Complaints<'_>,
) -> Vec<CertificateFiles> {
    if raw.is_empty()
        && !others_come
        && let Some(encrypted) = listen.iter().find(|listener| listener.tls.is_some())
    {
        let said = format!(
            "{} speaks TLS, but there is no certificate; write a [[certificate]] or [acme]",
            encrypted.address
        );
        complaints.add(&(0..0), said);
    }
    raw.into_iter().filter_map(|certificate| one(certificate, complaints)).collect()
}

fn one(raw: RawCertificate, complaints: &mut Complaints<'_>) -> Option<CertificateFiles> {
    let RawCertificate { place, chain, key, ocsp, default } = raw;
    let (Some(chain), Some(key)) = (&chain, &key) else {
        complaints.add(
            &place,
            "a [[certificate]] needs `chain` and `key`; write both, like chain = \"a.pem\" and key = \"a.key\"",
        );
        return None;
    };
    let files = CertificateFiles {
        chain: beside(complaints.folder(), chain),
        key: beside(complaints.folder(), key),
        ocsp: ocsp.as_ref().map(|ocsp| beside(complaints.folder(), ocsp)),
        default: default.is_some_and(|written| written.value),
    };
    if let Err(error) = files.load(SystemTime::now()) {
        let of_staple = matches!(error, CertificateError::Staple { .. });
        let at = ocsp.as_ref().filter(|_| of_staple).map_or(&chain.at, |ocsp| &ocsp.at);
        complaints.add(at, error.to_string());
        return None;
    }
    Some(files)
}

/// A relative path is relative to the configuration file.
pub(super) fn beside(folder: &Path, written: &At<String>) -> PathBuf {
    folder.join(&written.value)
}

/// The file with the keys of session tickets.
pub(super) fn ticket_keys(written: Option<&At<String>>, complaints: &mut Complaints<'_>) -> Option<PathBuf> {
    let written = written?;
    let file = beside(complaints.folder(), written);
    if let Err(error) = TicketKeys::load(&file) {
        complaints.add(&written.at, error.to_string());
    }
    Some(file)
}

/// Where certificates are kept that come over the admin API.
pub(super) fn uploads(written: Option<&At<String>>, complaints: &mut Complaints<'_>) -> Option<Uploads> {
    let written = written?;
    let uploads = Uploads(beside(complaints.folder(), written));
    match uploads.files() {
        Ok(files) => {
            let wrong = files.iter().filter_map(|files| files.load(SystemTime::now()).err());
            wrong.for_each(|error| complaints.add(&written.at, error.to_string()));
        }
        Err(error) => complaints.add(&written.at, error.to_string()),
    }
    Some(uploads)
}

/// What `[tls]` means.
pub(super) fn handshakes(raw: &RawTls, complaints: &mut Complaints<'_>) -> Handshakes {
    let usual = Handshakes::default();
    let timeout =
        raw.handshake_timeout.as_ref().and_then(|span| positive("handshake_timeout", span, complaints));
    Handshakes {
        timeout: timeout.unwrap_or(usual.timeout),
        at_once: raw.handshakes.as_ref().and_then(|n| count("handshakes", n, 1_000_000, complaints)),
    }
}
