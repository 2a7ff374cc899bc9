//! Answers to an ACME server's challenges: put there before it looks, taken away when it has looked.

use std::sync::Arc;

use instant_acme::KeyAuthorization;
use rcgen::{Certificate, CertificateParams, CustomExtension, KeyPair};
use router_core::tls::Challenges;

use super::{error::OrderError, hook};
use crate::config::acme::{Challenge, Hook};

/// What was put there for one order. Dropped, files and certificates are taken away; records only by
/// [`Answers::withdraw`].
pub(super) struct Answers<'a> {
    challenges: &'a Arc<Challenges>,
    hook: Option<&'a Hook>,
    there: Vec<Answer>,
}

enum Answer {
    File { token: String },
    Certificate { name: String },
    Record { domain: String, value: String },
}

impl<'a> Answers<'a> {
    pub(super) fn new(challenges: &'a Arc<Challenges>, hook: Option<&'a Hook>) -> Self {
        Self { challenges, hook, there: Vec::new() }
    }

    /// Puts the answer there by which `domain` is validated.
    ///
    /// # Errors
    /// When there is no room, or the hook fails.
    pub(super) async fn put(
        &mut self,
        challenge: Challenge,
        domain: &str,
        token: &str,
        authorization: &KeyAuthorization,
    ) -> Result<(), OrderError> {
        let domain = domain.to_owned();
        match challenge {
            Challenge::Http => {
                self.challenges.put_file(token, authorization.as_str())?;
                self.there.push(Answer::File { token: token.to_owned() });
            }
            Challenge::TlsAlpn => {
                let key = KeyPair::generate()?;
                let certificate = validation_certificate(&domain, authorization, &key)?;
                self.challenges.put_certificate(&domain, certificate.der(), key.serialized_der())?;
                self.there.push(Answer::Certificate { name: domain });
            }
            Challenge::Dns => {
                let value = authorization.dns_value();
                // Also when it fails: it may have done half of it.
                self.there.push(Answer::Record { domain: domain.clone(), value: value.clone() });
                if let Some(program) = self.hook {
                    hook::run(program, "present", &domain, &value).await?;
                }
            }
        }
        Ok(())
    }

    /// Takes all of them away. A hook that fails now is told of, and spoils nothing.
    pub(super) async fn withdraw(mut self) {
        for answer in std::mem::take(&mut self.there) {
            if let (Answer::Record { domain, value }, Some(program)) = (&answer, self.hook)
                && let Err(error) = hook::run(program, "cleanup", domain, value).await
            {
                tracing::warn!("{error}; remove the TXT record _acme-challenge.{domain} yourself");
            }
            self.take(&answer);
        }
    }

    fn take(&self, answer: &Answer) {
        match answer {
            Answer::File { token } => self.challenges.take_file(token),
            Answer::Certificate { name } => self.challenges.take_certificate(name),
            Answer::Record { .. } => {}
        }
    }
}

impl Drop for Answers<'_> {
    fn drop(&mut self) {
        for answer in std::mem::take(&mut self.there) {
            self.take(&answer);
        }
    }
}

/// What tls-alpn-01 wants to see (RFC 8737 §3).
fn validation_certificate(
    domain: &str,
    authorization: &KeyAuthorization,
    key: &KeyPair,
) -> Result<Certificate, rcgen::Error> {
    let mut params = CertificateParams::new(vec![domain.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(authorization.digest().as_ref())];
    params.self_signed(key)
}
