//! One certificate, from the request to the signed chain (RFC 8555 §7).
//!
//! - [`Orders`]: makes them. [`Orders::certificate`]: account → order → validation → request → chain.
//! - [`Orders::window`]: when the server wants a certificate to be renewed (RFC 9773).

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use instant_acme::{
    Account, AuthorizationHandle, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error,
    Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, RsaKeySize};
use router_core::tls::Challenges;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tokio::time::{sleep, timeout};

use super::{
    account::Accounts,
    answers::Answers,
    error::{self, OrderError},
    files::Files,
    https::Unreachable,
};
use crate::config::acme::{Acme, Challenge, KeyType};

/// How long the server may take to validate, and to sign.
const WAIT: Duration = Duration::from_secs(180);
/// How long it may take until a certificate can be requested.
const PATIENCE: Duration = Duration::from_secs(900);
/// How often a chain that was signed is asked for, and how long to wait before the second time; then twice as long each time.
const CHAIN_TRIES: u32 = 4;
const CHAIN_PAUSE: Duration = Duration::from_secs(1);
/// How often a server may refuse its own nonces. The library tries three times before it says so.
const NONCE_TRIES: usize = 5;

/// Makes orders.
pub(super) struct Orders {
    acme: Arc<Acme>,
    accounts: Accounts,
    challenges: Arc<Challenges>,
}

/// Which certificate a new one replaces.
pub(super) type Replaced = CertificateIdentifier<'static>;

impl Orders {
    pub(super) fn new(acme: Arc<Acme>, files: Files, challenges: Arc<Challenges>) -> Self {
        Self { accounts: Accounts::new(Arc::clone(&acme), files), acme, challenges }
    }

    /// A key and a chain for `name`, in PEM.
    ///
    /// # Errors
    /// [`OrderError`]; the server is left as if nothing had been asked, but for what it counts.
    pub(super) async fn certificate(
        &self,
        name: &str,
        replaced: Option<&Replaced>,
    ) -> Result<String, OrderError> {
        let ready = timeout(PATIENCE, self.until_it_is_ready(name, replaced)).await;
        let mut order = ready.unwrap_or(Err(OrderError::Slow(PATIENCE.as_secs())))?;
        self.sign(&mut order, name).await
    }

    /// An order whose names are validated.
    async fn until_it_is_ready(&self, name: &str, replaced: Option<&Replaced>) -> Result<Order, OrderError> {
        let (mut nonces, mut accounts) = (0, 0);
        loop {
            let error = match self.accounts.get().await {
                Err(error) => error,
                Ok(account) => match self.order(&account, name, replaced).await {
                    Err(OrderError::AccountGone) if accounts == 0 => {
                        accounts += 1;
                        self.accounts.forget(&account).await?;
                        continue;
                    }
                    Err(error) => error,
                    Ok(order) => return Ok(order),
                },
            };
            if !matches!(error, OrderError::Nonce) || nonces == NONCE_TRIES {
                return Err(error);
            }
            nonces += 1;
        }
    }

    async fn order(
        &self,
        account: &Account,
        name: &str,
        replaced: Option<&Replaced>,
    ) -> Result<Order, OrderError> {
        let mut order = self.begin(account, name, replaced).await?;
        let mut answers = Answers::new(&self.challenges, self.acme.hook.as_ref());
        let validated = self.validate(&mut order, name, &mut answers).await;
        answers.withdraw().await;
        validated?;
        Ok(order)
    }

    /// A server that does not know what is replaced is asked without that: it is a courtesy (RFC 9773 §5).
    async fn begin(
        &self,
        account: &Account,
        name: &str,
        replaced: Option<&Replaced>,
    ) -> Result<Order, OrderError> {
        let identifiers = [Identifier::Dns(name.to_owned())];
        let new = || {
            let new = NewOrder::new(&identifiers);
            self.acme.profile.as_deref().into_iter().fold(new, NewOrder::profile)
        };
        if let Some(replaced) = replaced {
            match account.new_order(&new().replaces(replaced.clone())).await {
                Ok(order) => return Ok(order),
                Err(error) if !is_about_replacing(&error) => return Err(not_begun(error)),
                Err(error) => tracing::info!(name, %error, "not ordered as a replacement"),
            }
        }
        account.new_order(&new()).await.map_err(not_begun)
    }

    async fn validate(
        &self,
        order: &mut Order,
        name: &str,
        answers: &mut Answers<'_>,
    ) -> Result<(), OrderError> {
        let mut used = None;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let authorization = authorization?;
            match authorization.status {
                AuthorizationStatus::Valid => {}
                AuthorizationStatus::Pending => {
                    used = Some(self.answer(authorization, name, answers).await?);
                }
                status => {
                    return Err(OrderError::Refused(format!("its authorization for {name} is {status:?}")));
                }
            }
        }
        let policy = RetryPolicy::default().timeout(WAIT);
        match order.poll_ready(&policy).await {
            Ok(OrderStatus::Invalid) => Err(invalid(order, name, used).await),
            Ok(_) => Ok(()),
            Err(_) if order.state().error.is_some() => Err(invalid(order, name, used).await),
            Err(Error::Timeout(_)) => Err(OrderError::Slow(WAIT.as_secs())),
            Err(error) => Err(error.into()),
        }
    }

    /// Answers by the first of our ways that the server offers.
    async fn answer(
        &self,
        mut authorization: AuthorizationHandle<'_>,
        name: &str,
        answers: &mut Answers<'_>,
    ) -> Result<Challenge, OrderError> {
        let is_offered = |challenge: &Challenge| {
            let kind = kind(*challenge);
            authorization.challenges.iter().any(|offered| offered.r#type == kind)
        };
        let chosen = self.acme.challenges.iter().copied().find(is_offered);
        let offered = || {
            let all = [Challenge::Http, Challenge::TlsAlpn, Challenge::Dns];
            all.into_iter().filter(is_offered).map(Challenge::as_str).collect::<Vec<_>>().join(", ")
        };
        let Some(chosen) = chosen else {
            return Err(OrderError::NoChallenge { name: name.to_owned(), offered: offered() });
        };
        let domain = name.strip_prefix("*.").unwrap_or(name);
        let Some(mut challenge) = authorization.challenge(kind(chosen)) else {
            return Err(OrderError::NoChallenge { name: name.to_owned(), offered: String::new() });
        };
        let key = challenge.key_authorization();
        answers.put(chosen, domain, &challenge.token, &key).await?;
        challenge.set_ready().await?;
        Ok(chosen)
    }

    /// Has a new key signed. From here on a failure may have cost a certificate.
    async fn sign(&self, order: &mut Order, name: &str) -> Result<String, OrderError> {
        let key = new_key(self.acme.key_type).await?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key)?;
        let signed = async {
            finalize(order, request.der()).await?;
            chain(order).await
        };
        let chain = signed.await.map_err(|error| OrderError::NotCome(Box::new(error)))?;
        Ok(format!("{}{chain}", key.serialize_pem()))
    }

    /// When the server wants this certificate to be renewed, and when to ask again; `None`: it does not say.
    pub(super) async fn window(&self, of: &Replaced) -> Option<((SystemTime, SystemTime), Duration)> {
        let account = self.accounts.get().await.ok()?;
        let (info, again) = timeout(PATIENCE, account.renewal_info(of)).await.ok()?.ok()?;
        let moment = |seconds: i64| {
            u64::try_from(seconds)
                .ok()
                .and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)))
        };
        let window = info.suggested_window;
        let (start, end) = (moment(window.start.unix_timestamp())?, moment(window.end.unix_timestamp())?);
        Some(((start, end), again))
    }
}

/// Asks for the signature. An answer that was lost is no answer: the server may have signed.
async fn finalize(order: &mut Order, request: &[u8]) -> Result<(), OrderError> {
    for _ in 0..NONCE_TRIES {
        match order.finalize_csr(request).await {
            Err(Error::Api(problem)) if error::kind(&problem) == "badNonce" => {}
            Err(Error::Api(problem)) => return Err(Error::Api(problem).into()),
            Err(error) => {
                tracing::info!(%error, "whether a certificate is signed is not known");
                return Ok(());
            }
            Ok(()) => return Ok(()),
        }
    }
    Err(OrderError::Nonce)
}

/// Waits for what was signed. It is not ordered anew for one answer that was lost.
async fn chain(order: &mut Order) -> Result<String, OrderError> {
    let policy = RetryPolicy::default().timeout(WAIT);
    let (mut tries, mut pause) = (1, CHAIN_PAUSE);
    loop {
        let error = match order.poll_certificate(&policy).await {
            Ok(chain) => return Ok(chain),
            Err(Error::Timeout(_)) => return Err(OrderError::Slow(WAIT.as_secs())),
            Err(error) => OrderError::from(error),
        };
        if tries == CHAIN_TRIES || !matches!(error, OrderError::Unasked(_) | OrderError::Nonce) {
            return Err(error);
        }
        sleep(pause).await;
        (tries, pause) = (tries + 1, pause * 2);
    }
}

/// What a certificate is called when it is replaced. `None`: it is not of an ACME server.
pub(super) fn identifier(pem: &[u8]) -> Option<Replaced> {
    let leaf = CertificateDer::pem_slice_iter(pem).next()?.ok()?;
    Some(CertificateIdentifier::try_from(&leaf).ok()?.into_owned())
}

const fn kind(challenge: Challenge) -> ChallengeType {
    match challenge {
        Challenge::Http => ChallengeType::Http01,
        Challenge::TlsAlpn => ChallengeType::TlsAlpn01,
        Challenge::Dns => ChallengeType::Dns01,
    }
}

/// Before anything was validated, `unauthorized` can only be about the account.
fn not_begun(error: Error) -> OrderError {
    match error {
        Error::Api(problem) if error::kind(&problem) == "unauthorized" => {
            OrderError::AccountRefused(error::told(&problem))
        }
        error => error.into(),
    }
}

/// Whether an order without what it replaces could do better.
fn is_about_replacing(error: &Error) -> bool {
    match error {
        Error::Api(problem) => !matches!(
            error::kind(problem),
            "rateLimited" | "badNonce" | "accountDoesNotExist" | "unauthorized" | "serverInternal"
        ),
        Error::Other(other) => !other.is::<Unreachable>(),
        // The server has no such thing.
        Error::Unsupported(_) => true,
        _ => false,
    }
}

/// What the server has seen instead.
async fn invalid(order: &mut Order, name: &str, used: Option<Challenge>) -> OrderError {
    let mut why = order.state().error.as_ref().map(error::told).unwrap_or_default();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if let Ok(state) = authorization.refresh().await {
            let problems = state.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
            why = problems.map(error::told).next().unwrap_or(why);
        }
    }
    let challenge = used.map_or("what it knew already", Challenge::as_str);
    OrderError::Invalid { name: name.to_owned(), challenge, why }
}

/// Large primes take a while to find, and others are not to wait for that.
async fn new_key(kind: KeyType) -> Result<KeyPair, OrderError> {
    let made = tokio::task::spawn_blocking(move || match kind {
        KeyType::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        KeyType::P384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        KeyType::Rsa2048 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
        KeyType::Rsa4096 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_4096),
    });
    let made = made.await.map_err(|_| OrderError::Unasked("making a key was broken off".to_owned()))?;
    Ok(made?)
}
