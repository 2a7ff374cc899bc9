//! `busbar restart`

use super::ask::Ask;
use crate::{
    admin::api::{RestartRequest, Restarted},
    dynos::Target,
    failure::Failure,
    out,
};

/// Restart dynos
#[derive(Debug, clap::Args)]
pub(crate) struct Restart {
    /// A dyno like web.1, or a process type like web; nothing: all dynos
    #[arg(value_name = "DYNO|TYPE")]
    target: Option<Target>,
    #[command(flatten)]
    ask: Ask,
}

impl Restart {
    pub(super) fn run(self) -> Result<(), Failure> {
        let request = RestartRequest { target: self.target.as_ref().map(Target::to_wire) };
        let restarted: Restarted =
            self.ask.ask(async |client| Ok(client.post("/v1/restart", &request).await?))?;
        let target = self.target.unwrap_or_default();
        out::print(&format!("Restarting {target} on {}... done\n", restarted.app))
    }
}
