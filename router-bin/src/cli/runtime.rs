//! `busbar runtime`

use std::path::PathBuf;

use super::{AppFlags, LifeFlags};
use crate::{
    app,
    config::{AdminListen, address::Endpoint},
    failure::Failure,
};

/// Run the app of a directory or a slug on this machine, behind routers elsewhere
#[derive(Debug, clap::Args)]
pub(crate) struct Runtime {
    /// The registry of the router: unix:/path or tcp://ADDR:PORT
    #[arg(long, env = "BUSBAR_REGISTRY", value_name = "WHERE")]
    pub(crate) registry: Endpoint,
    /// The file with the app's token (see busbar token)
    #[arg(long, env = "BUSBAR_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: PathBuf,
    #[command(flatten)]
    pub(crate) app: AppFlags,
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
