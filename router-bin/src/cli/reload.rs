//! `busbar reload`

use super::ask::Ask;
use crate::{admin::api::Reloaded, failure::Failure, out};

/// Have a router read its configuration again; a wrong file changes nothing
#[derive(Debug, clap::Args)]
pub(crate) struct Reload {
    #[command(flatten)]
    ask: Ask,
}

impl Reload {
    pub(super) fn run(self) -> Result<(), Failure> {
        let reloaded: Reloaded = self.ask.ask(async |client| Ok(client.post("/v1/reload", &()).await?))?;
        out::print(&format!("Reloading configuration... done, {}\n", reloaded.summary))
    }
}
