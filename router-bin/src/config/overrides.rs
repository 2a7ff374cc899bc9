//! Flags and `BUSBAR_*` variables that win over the file.

use std::{net::SocketAddr, num::NonZeroUsize, str::FromStr};

use busbar_registry::Address;

use super::{
    AccessLogTo, AdminListen,
    address::{BadAddress, Endpoint},
    units::Span,
};

/// What a flag, or else its variable, says in place of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct Overrides {
    /// Accept requests here, ADDR:PORT or unix:/path, in place of the file's `listen` and `[[listener]]`
    #[arg(long, env = "BUSBAR_LISTEN", value_name = "WHERE", value_delimiter = ',')]
    pub(crate) listen: Vec<Address>,
    /// Threads that carry requests [default: one per CPU]
    #[arg(long, env = "BUSBAR_WORKERS", value_name = "N")]
    pub(crate) workers: Option<NonZeroUsize>,
    /// How long requests may go on after SIGTERM, like 30s [default: 30s]
    #[arg(long, env = "BUSBAR_DRAIN_TIMEOUT", value_name = "TIME")]
    pub(crate) drain_timeout: Option<Span>,
    /// Where the admin API is served: unix:/path, 127.0.0.1:PORT, or off
    #[arg(long, env = "BUSBAR_ADMIN", value_name = "WHERE")]
    pub(crate) admin: Option<AdminListen>,
    /// Where the line about each request goes: stdout, stderr, off, or a file [default: stdout]
    #[arg(long, env = "BUSBAR_ACCESS_LOG", value_name = "WHERE")]
    pub(crate) access_log: Option<AccessLogTo>,
}

/// The admin API has no password, so it is served on this machine only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadAdmin {
    /// Not an address.
    #[error("{0}, or off")]
    Address(#[from] BadAddress),
    /// Not an address of this machine alone.
    #[error(
        "admin address {0} can be reached from elsewhere and has no password; use unix:/path or 127.0.0.1:PORT"
    )]
    Public(SocketAddr),
}

impl FromStr for AdminListen {
    type Err = BadAdmin;
    fn from_str(text: &str) -> Result<Self, BadAdmin> {
        match text {
            "off" => Ok(Self::Off),
            text => match text.parse()? {
                Endpoint::Tcp(address) if !address.ip().is_loopback() => Err(BadAdmin::Public(address)),
                endpoint => Ok(Self::At(endpoint)),
            },
        }
    }
}

impl FromStr for AccessLogTo {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "stdout" => Self::Stdout,
            "stderr" => Self::Stderr,
            "off" => Self::Off,
            path => Self::File(path.into()),
        })
    }
}
