//! `busbar build`

use std::path::PathBuf;

use busbar_registry::AppName;
use dyno_runtime::Size;

use super::{DynoIsolation, DynoLimits, slug::MaxSize};
use crate::{app, config::units::Span, failure::Failure};

/// Make a slug of an app's source with buildpacks
#[derive(Debug, clap::Args)]
pub(crate) struct Build {
    /// The directory with the source; what .slugignore lists is left out. Nothing is written there
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,
    /// The slug [default: HASH.slug, here]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// A buildpack: python, static, or a directory with bin/detect and bin/compile; several are used in this order
    /// [default: those of app.json, else the first of ours that fits]
    #[arg(short, long = "buildpack", value_name = "PATH|NAME")]
    pub(crate) buildpacks: Vec<String>,
    /// What buildpacks keep for the next build of this app [default: /var/cache/busbar/builds/APP for root, else
    /// ~/.cache/busbar/builds/APP]
    #[arg(long, env = "BUSBAR_BUILD_CACHE", value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// The app's name [default: the name of the directory]
    #[arg(long, env = "BUSBAR_APP", value_name = "NAME")]
    pub(crate) app: Option<AppName>,
    /// Config vars for the buildpacks from this file [default: .env in the directory, if it is there]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) env_file: Option<PathBuf>,
    /// What each step may use, like memory=2GiB,pids=512; what cannot be kept here is refused [default: as much as there
    /// is]
    #[arg(long, value_name = "LIMITS")]
    pub(crate) limits: Option<DynoLimits>,
    /// How large a step's dyno is, like performance-m or custom-2GiB-1024-512; wins over --limits
    #[arg(long, value_name = "SIZE")]
    pub(crate) size: Option<Size>,
    #[command(flatten)]
    pub(crate) apart: DynoIsolation,
    /// How long it may take [default: 15m]
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<Span>,
    /// The largest slug that is made, like 300MiB [default: 500MiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_size: Option<MaxSize>,
    /// What is built, like a commit; buildpacks see it as SOURCE_VERSION, and it is written into the slug
    #[arg(long, env = "SOURCE_VERSION", value_name = "TEXT")]
    pub(crate) source_version: Option<String>,
}

impl Build {
    pub(super) fn run(self) -> Result<(), Failure> {
        app::build(self)
    }
}
