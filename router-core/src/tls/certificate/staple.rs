//! An OCSP response (RFC 6960): what an authority says about a certificate, shown beside it (stapled, RFC 6066 §8) so that
//! clients need not ask.
//!
//! - [`check`]: whether it speaks well of this certificate, and until when. Its signature is the client's to check.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use x509_parser::{
    asn1_rs::{Any, Class, GeneralizedTime, Oid, oid},
    certificate::X509Certificate,
    prelude::FromDer as _,
};

use super::{super::arithmetic::digest, CertificateError, time};

/// Clocks differ.
const LENIENCE: Duration = Duration::from_secs(300);
/// id-pkix-ocsp-basic
const BASIC: Oid<'static> = oid!(1.3.6.1.5.5.7.48.1.1);
const SHA1: Oid<'static> = oid!(1.3.14.3.2.26);
const SHA256: Oid<'static> = oid!(2.16.840.1.101.3.4.2.1);
/// id-pe-tlsfeature (RFC 7633)
const TLS_FEATURE: Oid<'static> = oid!(1.3.6.1.5.5.7.1.24);

/// Until when this response speaks well of `leaf`.
///
/// # Errors
/// [`CertificateError::Staple`], [`CertificateError::StaleStaple`].
pub(super) fn check(
    file: &Path,
    response: &[u8],
    leaf: &X509Certificate<'_>,
    now: SystemTime,
) -> Result<SystemTime, CertificateError> {
    let wrong = |what| CertificateError::Staple { file: file.to_owned(), what };
    let singles = singles(response).ok_or_else(|| {
        wrong("is no successful OCSP response in DER; fetch it anew (`openssl ocsp -respout`)")
    })?;
    let mut rest = singles;
    while !rest.is_empty() {
        let single = take(&mut rest)
            .and_then(|element| single(inside(&element)))
            .ok_or_else(|| wrong("is damaged; fetch it anew"))?;
        if !single.is_about(leaf) {
            continue;
        }
        if !single.good {
            return Err(wrong("says that the certificate is revoked or unknown; replace the certificate"));
        }
        let Some(end) = single.next_update else {
            return Err(wrong("does not say until when it is good; fetch another one"));
        };
        let stale = || CertificateError::StaleStaple { file: file.to_owned() };
        return if single.this_update <= now + LENIENCE && now < end { Ok(end) } else { Err(stale()) };
    }
    Err(wrong("is about another certificate; fetch the one for this certificate"))
}

/// Whether clients may refuse the certificate when no response is shown beside it (`must-staple`).
pub(super) fn is_required(leaf: &X509Certificate<'_>) -> bool {
    // SEQUENCE OF INTEGER; 5 is status_request.
    let asks = |value: &[u8]| value.windows(3).any(|part| part == [2, 1, 5]);
    leaf.extensions().iter().any(|extension| extension.oid == TLS_FEATURE && asks(extension.value))
}

/// The next element.
fn take<'a>(rest: &mut &'a [u8]) -> Option<Any<'a>> {
    let (behind, element) = Any::from_der(rest).ok()?;
    *rest = behind;
    Some(element)
}

/// What is in a constructed element.
fn inside<'a>(element: &Any<'a>) -> &'a [u8] {
    element.data
}

fn is_context(element: &Any<'_>, tag: u32) -> bool {
    element.header.class() == Class::ContextSpecific && element.header.tag().0 == tag
}

/// The single responses of a basic response that is successful.
fn singles(response: &[u8]) -> Option<&[u8]> {
    let mut whole = inside(&take(&mut &*response)?);
    if take(&mut whole)?.data != [0] {
        return None; // the responder had no answer
    }
    let mut bytes = inside(&take(&mut inside(&take(&mut whole)?))?);
    if take(&mut bytes)?.oid().ok()? != BASIC {
        return None;
    }
    let basic = inside(&take(&mut bytes)?);
    let mut data = inside(&take(&mut inside(&take(&mut &*basic)?))?);
    let mut first = take(&mut data)?;
    if is_context(&first, 0) {
        first = take(&mut data)?; // that was the version; this is who responds
    }
    let _responder = first;
    let _produced_at = take(&mut data)?;
    Some(inside(&take(&mut data)?))
}

/// What is said about one certificate.
struct Single<'a> {
    hash: Oid<'a>,
    issuer: &'a [u8],
    serial: &'a [u8],
    good: bool,
    this_update: SystemTime,
    next_update: Option<SystemTime>,
}

fn single(mut parts: &[u8]) -> Option<Single<'_>> {
    let mut id = inside(&take(&mut parts)?);
    let hash = take(&mut inside(&take(&mut id)?))?.oid().ok()?;
    let issuer = take(&mut id)?.data;
    let _issuer_key = take(&mut id)?;
    let serial = take(&mut id)?.data;
    let good = is_context(&take(&mut parts)?, 0);
    let this_update = moment(take(&mut parts)?)?;
    let next = take(&mut parts).filter(|next| is_context(next, 0));
    let next_update = next.and_then(|next| moment(take(&mut inside(&next))?));
    Some(Single { hash, issuer, serial, good, this_update, next_update })
}

fn moment(element: Any<'_>) -> Option<SystemTime> {
    let at = GeneralizedTime::try_from(element).ok()?.utc_datetime().ok()?;
    Some(time(at.unix_timestamp()))
}

impl Single<'_> {
    /// The same number from the same issuer.
    fn is_about(&self, leaf: &X509Certificate<'_>) -> bool {
        let algorithm = match &self.hash {
            hash if *hash == SHA1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            hash if *hash == SHA256 => &digest::SHA256,
            _ => return false,
        };
        let issuer = digest::digest(algorithm, leaf.issuer().as_raw());
        self.serial == leaf.raw_serial() && issuer.as_ref() == self.issuer
    }
}
