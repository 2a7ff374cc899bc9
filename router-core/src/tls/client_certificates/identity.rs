//! What dynos are told about a client, as header lines. A client cannot send them itself: they are taken off everywhere.

use std::rc::Rc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use super::{super::arithmetic::digest, name};
use crate::route::forward::line;

/// Certificates longer than this together are not passed on: the dyno would refuse the head.
const LONGEST_CHAIN: usize = 16 * 1024;

/// The lines about a client that was verified, or has come without a certificate. `passed_on`: the certificate itself, too.
pub(in crate::tls) fn lines(chain: Option<&[CertificateDer<'_>]>, passed_on: bool) -> Rc<Vec<u8>> {
    let mut out = Vec::new();
    let Some((own, signers)) = chain.and_then(<[_]>::split_first) else {
        line(&mut out, b"X-Client-Verify", b"NONE");
        return Rc::new(out);
    };
    line(&mut out, b"X-Client-Verify", b"SUCCESS");
    if let Ok((_, certificate)) = X509Certificate::from_der(own) {
        line(&mut out, b"X-Client-Subject", name::text(certificate.subject()).as_bytes());
    }
    line(
        &mut out,
        b"X-Client-Fingerprint",
        hexadecimal(digest::digest(&digest::SHA256, own).as_ref()).as_bytes(),
    );
    if passed_on {
        line(&mut out, b"Client-Cert", sequence(own).as_bytes());
        let chain: Vec<_> = signers.iter().map(|signer| sequence(signer)).collect();
        let chain = chain.join(", ");
        if !chain.is_empty() && chain.len() <= LONGEST_CHAIN {
            line(&mut out, b"Client-Cert-Chain", chain.as_bytes());
        }
    }
    Rc::new(out)
}

/// A byte sequence as RFC 8941 §3.3.5 writes it.
fn sequence(bytes: &[u8]) -> String {
    format!(":{}:", STANDARD.encode(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
