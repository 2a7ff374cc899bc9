//! Where a dyno or a listener is: [`Address`], a TCP address or a socket file.
//!
//! - [`tcp_only`]: reads one that may not be a socket file.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The longest path of a socket file (`sun_path` of unix(7), without its NUL).
const LONGEST_PATH: usize = 107;

/// A TCP address, `127.0.0.1:5000` or `[::1]:5000`, or a socket file, `unix:/run/app.sock`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A socket file of this machine, by its absolute path.
    Unix(Box<Path>),
}

/// Not spelled as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "bad address {0:?}; write an IP address and a port, like 127.0.0.1:9001 or [::1]:9001, or unix:/absolute/path \
     of at most 107 bytes"
)]
pub struct BadAddress(String);

impl Address {
    /// The TCP address, unless it is a socket file.
    pub const fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl<T: Into<SocketAddr>> From<T> for Address {
    fn from(address: T) -> Self {
        Self::Tcp(address.into())
    }
}

impl PartialEq<SocketAddr> for Address {
    fn eq(&self, other: &SocketAddr) -> bool {
        self.tcp().is_some_and(|address| address == *other)
    }
}

impl FromStr for Address {
    type Err = BadAddress;
    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = || BadAddress(text.to_owned());
        let Some(path) = text.strip_prefix("unix:") else {
            return text.parse().map(Self::Tcp).map_err(|_| bad());
        };
        let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
        let fits = path.is_absolute() && path.as_os_str().len() <= LONGEST_PATH && !text.contains('\0');
        if fits { Ok(Self::Unix(path.into())) } else { Err(bad()) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// For what strangers say: whoever holds a token must not be able to point a router at a socket file of its machine.
///
/// # Errors
/// When it is not a TCP address.
pub fn tcp_only<'de, D: Deserializer<'de>>(from: D) -> Result<Address, D::Error> {
    SocketAddr::deserialize(from).map(Address::Tcp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_tcp_or_a_socket_file_and_survives_json() {
        for text in ["127.0.0.1:5000", "[::1]:5000", "unix:/run/app.sock"] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            let json = serde_json::to_string(&address).unwrap();
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Address>(&json).unwrap(), address);
        }
        assert_eq!("unix:///run/a".parse(), Ok(Address::Unix(Path::new("/run/a").into())));
        let long = format!("unix:/{}", "x".repeat(107));
        for text in ["", "unix:", "unix:a.sock", "unix:/a\0b", "localhost:1", "127.0.0.1", &long] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
