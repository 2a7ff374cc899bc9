//! Addresses as they are written in files and flags.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

/// Where something of ours is served or reached: `unix:/run/busbar/admin.sock`, `127.0.0.1:7100`, `tcp://127.0.0.1:7100`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Endpoint {
    /// A socket file.
    Unix(PathBuf),
    /// A TCP address.
    Tcp(SocketAddr),
}

/// Not spelled as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadAddress {
    /// See [`Endpoint`].
    #[error("bad address {0:?}; write unix:/absolute/path or an IP address and a port, like 127.0.0.1:7100")]
    Endpoint(String),
}

impl FromStr for Endpoint {
    type Err = BadAddress;
    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let refused = || BadAddress::Endpoint(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
            return if path.is_absolute() { Ok(Self::Unix(path)) } else { Err(refused()) };
        }
        let address = text.strip_prefix("tcp://").unwrap_or(text);
        address.parse().map(Self::Tcp).map_err(|_| refused())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_socket_file_or_a_tcp_address() {
        let unix = Endpoint::Unix("/run/b.sock".into());
        for text in ["unix:/run/b.sock", "unix:///run/b.sock"] {
            assert_eq!(text.parse(), Ok(unix.clone()), "{text}");
        }
        for text in ["127.0.0.1:7100", "tcp://127.0.0.1:7100"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), "tcp://127.0.0.1:7100");
        }
        for text in
            ["", "unix:", "unix:b.sock", "/run/b.sock", "localhost:7100", "127.0.0.1", "http://127.0.0.1:1"]
        {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
