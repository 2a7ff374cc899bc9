//! What the verbs share that run an app: which one, and what its dynos may use.

use std::path::PathBuf;

use busbar_registry::AppName;
use dyno_runtime::Formation;

use super::{DynoIsolation, DynoLimits, Sizes};

/// The app of a directory or a slug.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AppFlags {
    /// The directory with the Procfile, or a slug
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,
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
}
