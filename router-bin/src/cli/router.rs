//! `busbar router`

use std::path::PathBuf;

use super::validate;
use crate::{app, config::Overrides, failure::Failure};

/// Route requests to the dynos of a configuration file, and to those that register
#[derive(Debug, clap::Args)]
pub(crate) struct Router {
    /// The configuration file (docs/configuration.md)
    #[arg(short, long, env = "BUSBAR_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Only say whether the file is valid
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    overrides: Overrides,
}

impl Router {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.check {
            validate::check(&self.config, &self.overrides)
        } else {
            app::router(self.config, self.overrides)
        }
    }
}
