//! Names that cannot be malformed: parsed once at the border, then only passed along.
//!
//! - [`AppName`]: `shop`, as Heroku allows it.
//! - [`ProcessType`]: `web`, `worker`: the left side of a Procfile line.
//! - [`DynoName`]: `web.1`: a process type and its number in the formation.
//! - [`Domain`]: `shop.example.com` or `*.shop.example.com`, in canonical form.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// Why a name was refused. The message says what is wrong and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// See [`AppName`].
    #[error(
        "app name {0:?} must be 1 to 30 characters of a-z, 0-9 and '-', begin with a letter and not end with '-'"
    )]
    App(String),
    /// See [`ProcessType`].
    #[error("process type {0:?} must be 1 to 63 characters of A-Z, a-z, 0-9, '-' and '_'")]
    ProcessType(String),
    /// See [`DynoName`].
    #[error("dyno name {0:?} must be a process type, a dot and a number from 1, like web.1")]
    Dyno(String),
    /// See [`Domain`].
    #[error("domain {0:?} must be a host name like shop.example.com, or one with a leading '*.' label; {1}")]
    Domain(String, &'static str),
}

macro_rules! string_name {
    ($name:ident) => {
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

/// The name of an app: 1 to 30 characters of `a-z`, `0-9` and `-`, beginning with a letter, not ending with `-`.
///
/// ```
/// use busbar_registry::AppName;
/// assert_eq!("shop".parse::<AppName>().unwrap().as_str(), "shop");
/// assert!("Shop".parse::<AppName>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppName(Arc<str>);
string_name!(AppName);

impl FromStr for AppName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let ok = (1..=30).contains(&text.len())
            && text.bytes().all(allowed)
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && !text.ends_with('-');
        if ok { Ok(Self(text.into())) } else { Err(NameError::App(text.into())) }
    }
}

/// The left side of a Procfile line: 1 to 63 characters of `A-Z a-z 0-9 - _`. Only [`ProcessType::web`] gets traffic.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProcessType(Arc<str>);
string_name!(ProcessType);

impl ProcessType {
    /// The process type that receives requests.
    pub fn web() -> Self {
        Self("web".into())
    }
    /// Whether this is the process type that receives requests.
    pub fn is_web(&self) -> bool {
        &*self.0 == "web"
    }
}

impl FromStr for ProcessType {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let ok = (1..=63).contains(&text.len()) && text.bytes().all(allowed);
        if ok { Ok(Self(text.into())) } else { Err(NameError::ProcessType(text.into())) }
    }
}

/// A dyno's name within its app: `web.1`. Not unique while an old dyno drains and its successor already runs.
///
/// ```
/// use busbar_registry::DynoName;
/// let dyno: DynoName = "web.12".parse().unwrap();
/// assert_eq!((dyno.process_type.as_str(), dyno.index), ("web", 12));
/// assert!("web.0".parse::<DynoName>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DynoName {
    /// Which line of the Procfile it runs.
    pub process_type: ProcessType,
    /// Its number, from 1.
    pub index: u32,
}

impl DynoName {
    /// The dyno `process_type.index`.
    pub fn new(process_type: ProcessType, index: u32) -> Self {
        Self { process_type, index }
    }
}

impl fmt::Display for DynoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.process_type, self.index)
    }
}

impl fmt::Debug for DynoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for DynoName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let refused = || NameError::Dyno(text.into());
        let (process_type, index) = text.rsplit_once('.').ok_or_else(refused)?;
        let plain = !index.starts_with(['0', '+']);
        let index = index.parse().ok().filter(|_| plain).ok_or_else(refused)?;
        Ok(Self { process_type: process_type.parse().map_err(|_| refused())?, index })
    }
}

impl TryFrom<String> for DynoName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<DynoName> for String {
    fn from(name: DynoName) -> String {
        name.to_string()
    }
}

/// A host name an app answers to, in canonical form: lower case, punycode (IDNA, UTS #46), no trailing dot, no port.
/// `*.example.com` stands for exactly one further label; an exact domain always wins over a wildcard.
///
/// ```
/// use busbar_registry::Domain;
/// assert_eq!("BÜCHER.example.".parse::<Domain>().unwrap().as_str(), "xn--bcher-kva.example");
/// assert!("*.example.com".parse::<Domain>().unwrap().is_wildcard());
/// assert!("a.*.example.com".parse::<Domain>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(Arc<str>);
string_name!(Domain);

impl Domain {
    /// Whether the first label is `*`.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }
    /// For `*.example.com`: `example.com`.
    pub fn wildcard_suffix(&self) -> Option<&str> {
        self.0.strip_prefix("*.")
    }
}

impl FromStr for Domain {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let refused = |why| NameError::Domain(text.into(), why);
        let (star, host) = text.strip_prefix("*.").map_or(("", text), |host| ("*.", host));
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.contains([':', '/', '*', ' ', '@']) {
            return Err(refused("no port, path, user or further '*'"));
        }
        let ascii =
            idna::domain_to_ascii(host).map_err(|_| refused("it is not a valid international name"))?;
        if ascii.is_empty() || ascii.len() + star.len() > 253 {
            return Err(refused("it must be 1 to 253 characters"));
        }
        let label_ok = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if !ascii.split('.').all(label_ok) {
            return Err(refused("each label has 1 to 63 letters, digits, '-' or '_' and no '-' at its ends"));
        }
        Ok(Self(format!("{star}{ascii}").into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_names_are_herokus() {
        for good in ["a", "shop", "my-app-2", "a23456789012345678901234567890"] {
            assert!(good.parse::<AppName>().is_ok(), "{good}");
        }
        for bad in ["", "Shop", "2shop", "shop-", "sh_op", "a234567890123456789012345678901", "sh op"] {
            assert!(bad.parse::<AppName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn dyno_names_have_one_spelling() {
        for bad in ["web", "web.", "web.0", "web.01", "web.+1", "web.-1", ".1", "web.4294967296"] {
            assert!(bad.parse::<DynoName>().is_err(), "{bad}");
        }
        assert_eq!("my-type_2.7".parse::<DynoName>().unwrap().to_string(), "my-type_2.7");
    }

    #[test]
    fn domains_are_canonical_and_idempotent() {
        for (text, canonical) in [
            ("Shop.Example.COM.", "shop.example.com"),
            ("*.Shop.example.com", "*.shop.example.com"),
            ("straße.example", "xn--strae-oqa.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("localhost", "localhost"),
        ] {
            let domain: Domain = text.parse().unwrap();
            assert_eq!(domain.as_str(), canonical);
            assert_eq!(domain.as_str().parse::<Domain>().unwrap(), domain);
        }
        for bad in ["", "*", "*.", "a..b", "a:80", "-a.b", "a b", "http://a", &"a.".repeat(200)] {
            assert!(bad.parse::<Domain>().is_err(), "{bad}");
        }
    }
}
