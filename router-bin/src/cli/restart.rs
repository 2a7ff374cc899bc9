//! `busbar restart`

use std::num::NonZeroU32;

use super::ask::Ask;
use crate::{
    admin::api::{RestartHow, RestartRequest, Restarted},
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
    /// So many at a time, each time until the new ones are up [default: as `busbar up --rolling` said]
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1")]
    rolling: Option<NonZeroU32>,
    /// A new web dyno is up before the old one gets no more requests
    #[arg(long)]
    preboot: bool,
    #[command(flatten)]
    ask: Ask,
}

impl Restart {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (rolling, preboot) = (self.rolling, self.preboot);
        let how = (rolling.is_some() || preboot).then_some(RestartHow { rolling, preboot });
        let request = RestartRequest { target: self.target.as_ref().map(Target::to_wire), how };
        let restarted: Restarted =
            self.ask.ask(async |client| Ok(client.post("/v1/restart", &request).await?))?;
        let target = self.target.unwrap_or_default();
        out::print(&format!("Restarting {target} on {}... done\n", restarted.app))
    }
}
