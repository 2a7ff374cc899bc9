//! `busbar scale`

use super::ask::Ask;
use crate::{
    admin::api::{ScaleRequest, Scaled},
    failure::Failure,
    out, say,
};

/// Change how many dynos run and how large they are, or show how it should be
#[derive(Debug, clap::Args)]
pub(crate) struct Scale {
    /// Like web=3, worker+1, web-1, web=3:standard-2x or web=standard-2x; nothing: show what is
    #[arg(value_name = "TYPE=N[:SIZE]")]
    changes: Vec<String>,
    #[command(flatten)]
    ask: Ask,
}

impl Scale {
    pub(super) fn run(self) -> Result<(), Failure> {
        let asks_only = self.changes.is_empty();
        let request = ScaleRequest { changes: self.changes };
        let now: Vec<Scaled> = self.ask.ask(async |client| Ok(client.post("/v1/scale", &request).await?))?;
        out::print(&if asks_only { say::scaled::formation(&now) } else { say::scaled::scaled(&now) })
    }
}
