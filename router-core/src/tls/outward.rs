//! TLS towards dynos: whose certificates are believed.
//!
//! - [`config`]: by an app's [`DynoTls`]. [`name`]: what a dyno's certificate must be for.
//! - [`check`], [`is_name`]: whether a text can be used as `dyno_ca`, or as `dyno_server_name`.
//!
//! A certificate is good if `dyno_ca` has it itself (it is pinned, whatever it says of names and times), or has who signed
//! it, and it is for the right name and in time.

use std::sync::Arc;

use busbar_registry::{Address, DynoTls};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};

use super::provider;

/// Why there is no TLS towards an app's dynos.
#[derive(Debug, thiserror::Error)]
pub enum OutwardError {
    /// There is a part that is no PEM.
    #[error("it is not PEM: {0}")]
    NoPem(String),
    /// There is none.
    #[error("there is no certificate in it; it must have one that begins with -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// rustls takes none of them.
    #[error("{0}")]
    Unusable(#[from] Error),
}

/// How the connections to an app's dynos are encrypted.
///
/// # Errors
/// [`OutwardError`]: its `dyno_ca` cannot be used.
pub(crate) fn config(tls: &DynoTls, protocols: &[&[u8]]) -> Result<Arc<ClientConfig>, OutwardError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let verifier: Arc<dyn ServerCertVerifier> = match &tls.ca {
        _ if !tls.verify => Arc::new(Anybody(provider())),
        Some(pem) => Arc::new(Expected::of(pem)?),
        None => return Err(OutwardError::NoCertificate),
    };
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// What the certificate of a dyno at `address` must be for.
pub(crate) fn name(tls: &DynoTls, address: &Address) -> Option<ServerName<'static>> {
    match (&tls.server_name, address) {
        (Some(name), _) => ServerName::try_from(name.clone()).ok(),
        (None, Address::Tcp(address)) => Some(ServerName::from(address.ip())),
        (None, Address::Unix(_)) => ServerName::try_from("localhost").ok(),
    }
}

/// Whether a certificate can be for this name.
pub fn is_name(name: &str) -> bool {
    ServerName::try_from(name).is_ok()
}

/// Whether `pem` can be used as an app's `dyno_ca`.
///
/// # Errors
/// What is wrong with it.
pub fn check(pem: &str) -> Result<(), OutwardError> {
    Expected::of(pem).map(drop)
}

/// Those that one of these certificates is, or has signed.
#[derive(Debug)]
struct Expected {
    pinned: Vec<CertificateDer<'static>>,
    /// `None`: none of them can sign anything.
    signed: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl Expected {
    fn of(pem: &str) -> Result<Self, OutwardError> {
        let pinned: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let pinned = pinned.map_err(|error| OutwardError::NoPem(error.to_string()))?;
        if pinned.is_empty() {
            return Err(OutwardError::NoCertificate);
        }
        let mut roots = RootCertStore::empty();
        for certificate in &pinned {
            roots.add(certificate.clone())?;
        }
        let signed = WebPkiServerVerifier::builder_with_provider(roots.into(), provider()).build().ok();
        Ok(Self { pinned, signed, provider: provider() })
    }
}

impl ServerCertVerifier for Expected {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.pinned.iter().any(|pinned| pinned.as_ref() == end_entity.as_ref()) {
            return Ok(ServerCertVerified::assertion());
        }
        let signed = self.signed.as_ref().ok_or(CertificateError::UnknownIssuer)?;
        signed.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whoever answers, if the configuration says so in so many words.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
