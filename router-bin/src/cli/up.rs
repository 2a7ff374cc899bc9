//! `busbar up`

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf};

use busbar_registry::AppName;
use dyno_runtime::Formation;

use super::{DynoIsolation, DynoLimits, LifeFlags, Sizes};
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
    /// The directory with the Procfile, or a slug
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,
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
    /// How many dynos of each process type, like web=2,worker=1, or web=2:standard-2x [default: one of each]
    #[arg(short, long, env = "BUSBAR_FORMATION", value_name = "FORMATION")]
    pub(crate) formation: Option<Formation>,
    /// How large dynos are, like standard-2x, web=standard-2x,worker=eco, or custom-1GiB-2048-512 (memory, CPU shares,
    /// processes) [default: as the formation says, else as --limits says]
    #[arg(long, env = "BUSBAR_SIZE", value_name = "SIZE")]
    pub(crate) size: Option<Sizes>,
    /// The app's name [default: the name of the directory, or as the slug says]
    #[arg(long, env = "BUSBAR_APP", value_name = "NAME")]
    pub(crate) app: Option<AppName>,
    /// Config vars from this file [default: .env in the directory, if it is there]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) env_file: Option<PathBuf>,
    /// Threads that carry requests [default: one per CPU]
    #[arg(long, env = "BUSBAR_WORKERS", value_name = "N")]
    pub(crate) workers: Option<NonZeroUsize>,
    /// Where slugs are unpacked [default: /var/lib/busbar/slugs for root, else ~/.cache/busbar/slugs]
    #[arg(long, env = "BUSBAR_SLUG_STORE", value_name = "DIR")]
    pub(crate) slug_store: Option<PathBuf>,
    /// What each dyno may use, like memory=512MiB,cpu=1024,cpus=1.5,pids=256,disk=20MiB; what cannot be kept here is
    /// refused [default: as much as there is]
    #[arg(long, env = "BUSBAR_LIMITS", value_name = "LIMITS")]
    pub(crate) limits: Option<DynoLimits>,
    #[command(flatten)]
    pub(crate) apart: DynoIsolation,
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
