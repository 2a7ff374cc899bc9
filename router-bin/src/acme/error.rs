//! Why there is no certificate, in words for people.

use instant_acme::{Error, Problem};
use router_core::tls::{CertificateError, NotTaken};

use super::{files::FileError, hook::HookError, https::Unreachable, plan::Failed};

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    /// The server could not be asked, or said what nobody understands.
    #[error("{0}; the network, or the server: it is asked again")]
    Unasked(String),
    /// It took too long.
    #[error("the ACME server was not done within {0} s; it is asked again")]
    Slow(u64),
    /// The server did not take what it had handed out itself.
    #[error("the ACME server refused its own nonces again and again; it is asked again")]
    Nonce,
    /// The server does not know our account (any more).
    #[error("the ACME server does not know our account, and does not take a new one either")]
    AccountGone,
    /// The server will not have us.
    #[error(
        "the ACME server refuses this account: {0}; if it was deactivated on purpose, move account.json in the storage directory \
         away, and a new account is made"
    )]
    AccountRefused(String),
    /// The server says no.
    #[error("the ACME server says no: {0}")]
    Refused(String),
    /// The account of its operator cannot be proved.
    #[error("{0}")]
    ExternalAccount(String),
    /// The server has looked and seen something else.
    #[error("the ACME server could not validate {name} by {challenge}: {why}")]
    Invalid {
        /// What it should be for.
        name: String,
        /// How.
        challenge: &'static str,
        /// What it saw.
        why: String,
    },
    /// No way of validating that both sides have.
    #[error("the ACME server validates {name} only by {offered}; add one of them to `challenges`")]
    NoChallenge {
        /// What.
        name: String,
        /// How.
        offered: String,
    },
    /// The router does not answer the server.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    /// The DNS was not changed.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// It cannot be kept.
    #[error(transparent)]
    File(#[from] FileError),
    /// It was requested, and may have been signed in vain.
    #[error("a certificate was requested and did not come: {0}")]
    NotCome(Box<OrderError>),
    /// What came cannot be served.
    #[error("what the ACME server has signed cannot be served: {0}")]
    Unusable(#[from] CertificateError),
    /// No key, no request.
    #[error("a key cannot be made: {0}")]
    Key(#[from] rcgen::Error),
}

impl OrderError {
    /// Whether it counted against the server's limits.
    pub(super) const fn failed(&self) -> Failed {
        match self {
            Self::Unasked(_) | Self::Slow(_) | Self::Nonce | Self::NotTaken(_) => {
                Failed::Unasked
            }
            Self::AccountGone
            | Self::AccountRefused(_)
            | Self::Refused(_)
            | Self::ExternalAccount(_)
            | Self::Invalid { .. }
            | Self::NoChallenge { .. }
            | Self::Hook(_)
            // A certificate may have been lost for it.
            | Self::NotCome(_)
            | Self::File(_)
            | Self::Unusable(_)
            | Self::Key(_) => Failed::Refused,
        }
    }
}

impl From<Error> for OrderError {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(problem) => match kind(&problem) {
                "badNonce" => Self::Nonce,
                "accountDoesNotExist" => Self::AccountGone,
                "serverInternal" => Self::Unasked(told(&problem)),
                _ => Self::Refused(told(&problem)),
            },
            Error::Other(other) if other.is::<Unreachable>() => Self::Unasked(other.to_string()),
            other => Self::Unasked(format!("the ACME server cannot be understood: {other}")),
        }
    }
}

/// `badNonce`, of `urn:ietf:params:acme:error:badNonce`.
pub(super) fn kind(problem: &Problem) -> &str {
    problem.r#type.as_deref().and_then(|kind| kind.rsplit(':').next()).unwrap_or("unknown")
}

/// The server's words. They are its own, so what a terminal would obey is taken out of them.
pub(super) fn told(problem: &Problem) -> String {
    let mut text = problem.detail.clone().unwrap_or_default();
    for sub in &problem.subproblems {
        text = format!("{text}; {sub}");
    }
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect();
    format!("{clean} ({})", kind(problem))
}
