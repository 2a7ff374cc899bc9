//! `busbar up`

use std::{net::SocketAddr, num::NonZeroUsize};

use super::{AppFlags, LifeFlags};
use crate::{
    app,
    config::{AdminListen, units::Span},
    failure::Failure,
    local_ca::LocalCa,
    out,
};

/// Run the app of a directory with a Procfile, or of a slug, behind the router, on this machine
#[derive(Debug, clap::Args)]
pub(crate) struct Up {
    /// Accept requests here [default: 127.0.0.1:8080]
    #[arg(long, env = "BUSBAR_LISTEN", value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Accept requests on this port of that address; 0: any free one
    #[arg(short, long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Speak TLS, too, with a certificate of a local authority that is made on the first run
    #[arg(long, env = "BUSBAR_TLS")]
    pub(crate) tls: bool,
    /// Speak TLS on this port of that address; 0: any free one [default: 8443]
    #[arg(long, value_name = "PORT", requires = "tls")]
    pub(crate) tls_port: Option<u16>,
    /// Print the certificate of the local authority, for whoever is to trust it, and end
    #[arg(long, exclusive = true)]
    pub(crate) tls_ca: bool,
    #[command(flatten)]
    pub(crate) app: AppFlags,
    /// Threads that carry requests [default: one per CPU]
    #[arg(long, env = "BUSBAR_WORKERS", value_name = "N")]
    pub(crate) workers: Option<NonZeroUsize>,
    /// Where the admin API is served: unix:/path, 127.0.0.1:PORT, or off
    #[arg(long, env = "BUSBAR_ADMIN", value_name = "WHERE")]
    pub(crate) admin: Option<AdminListen>,
    #[command(flatten)]
    pub(crate) life: LifeFlags,
    /// Stop web dynos after this long without a request, and start them with the next one; on Heroku 30m [default: never]
    #[arg(long, env = "BUSBAR_IDLE_AFTER", value_name = "TIME", help_heading = "How dynos live")]
    pub(crate) idle_after: Option<Span>,
}

impl Up {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.tls_ca {
            return out::print(&LocalCa::open()?.pem);
        }
        app::up(self)
    }
}
