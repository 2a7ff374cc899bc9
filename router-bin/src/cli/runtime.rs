//! `busbar runtime`

use std::path::PathBuf;

use busbar_registry::AppName;
use dyno_runtime::Formation;

use super::{DynoIsolation, DynoLimits, LifeFlags, Sizes};
use crate::{
    app,
    config::{AdminListen, address::Endpoint},
    failure::Failure,
};

/// Run the app of a directory or a slug on this machine, behind routers elsewhere
#[derive(Debug, clap::Args)]
pub(crate) struct Runtime {
    /// The directory with the Procfile, or a slug
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,
    /// The registry of the router: unix:/path or tcp://ADDR:PORT
    #[arg(long, env = "BUSBAR_REGISTRY", value_name = "WHERE")]
    pub(crate) registry: Endpoint,
    /// The file with the app's token (see busbar token)
    #[arg(long, env = "BUSBAR_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: PathBuf,
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
}

impl Runtime {
    pub(super) fn run(self) -> Result<(), Failure> {
        app::runtime(self)
    }
}
