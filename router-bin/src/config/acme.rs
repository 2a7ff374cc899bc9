//! What `[acme]` means: certificates that are requested and renewed by the router itself.
//!
//! - [`Acme`]: from whom and how; only a restart can change it. [`Wanted`]: for which names; a reload can change that.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

/// From whom certificates are requested, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acme {
    /// The ACME server's directory.
    pub(crate) directory: String,
    /// Whom it writes to: `mailto:…`.
    pub(crate) contact: Vec<String>,
    /// How a name may be validated, the first one that the server offers; never empty.
    pub(crate) challenges: Vec<Challenge>,
    /// What changes the DNS for dns-01.
    pub(crate) hook: Option<Hook>,
    /// What kind of key each certificate gets.
    pub(crate) key_type: KeyType,
    /// Where account and certificates are kept.
    pub(crate) storage: PathBuf,
    /// The account that the server's operator knows already (RFC 8555 §7.3.4).
    pub(crate) external_account: Option<ExternalAccount>,
    /// Who signs the ACME server's own certificate. `None`: whom this machine trusts.
    pub(crate) ca_file: Option<PathBuf>,
    /// Which of the server's kinds of certificates.
    pub(crate) profile: Option<String>,
    /// Names that have none when somebody connects get one then.
    pub(crate) on_demand: bool,
    /// So many of those in an hour.
    pub(crate) on_demand_per_hour: u32,
}

/// How a name is validated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Challenge {
    /// By a file on port 80.
    Http,
    /// By a handshake on port 443.
    TlsAlpn,
    /// By a TXT record: the only way for wildcards.
    Dns,
}

impl Challenge {
    /// Its name in RFC 8555 and RFC 8737.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http-01",
            Self::TlsAlpn => "tls-alpn-01",
            Self::Dns => "dns-01",
        }
    }
}

impl std::str::FromStr for Challenge {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Http, Self::TlsAlpn, Self::Dns];
        let found = all.into_iter().find(|challenge| challenge.as_str() == text);
        found.ok_or("write \"http-01\", \"tls-alpn-01\" or \"dns-01\"")
    }
}

/// A program that changes the DNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hook {
    /// Its path.
    pub(crate) program: PathBuf,
    /// How long it may take.
    pub(crate) timeout: Duration,
}

/// What kind of key a certificate gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum KeyType {
    /// Small and fast.
    #[default]
    P256,
    /// The same, larger.
    P384,
    /// For clients that are old.
    Rsa2048,
    /// The same, larger.
    Rsa4096,
}

impl std::str::FromStr for KeyType {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "ecdsa-p256" => Ok(Self::P256),
            "ecdsa-p384" => Ok(Self::P384),
            "rsa-2048" => Ok(Self::Rsa2048),
            "rsa-4096" => Ok(Self::Rsa4096),
            _ => Err("write \"ecdsa-p256\", \"ecdsa-p384\", \"rsa-2048\" or \"rsa-4096\""),
        }
    }
}

/// An account that exists elsewhere, and the file with the key that proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExternalAccount {
    /// Its name there.
    pub(crate) id: String,
    /// The key, in base64url, as its operator hands it out.
    pub(crate) key_file: PathBuf,
}

/// For which names certificates are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Wanted {
    /// These, at once: `a.example`, `*.a.example`.
    pub(crate) names: BTreeSet<String>,
    /// Those that go to these apps, on demand.
    pub(crate) apps: BTreeSet<String>,
    /// If they are one of these, or stand below one: `*.a.example`.
    pub(crate) hosts: BTreeSet<String>,
}
