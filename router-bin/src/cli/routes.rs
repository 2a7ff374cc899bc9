//! `busbar routes`

use super::ask::Ask;
use crate::{admin::api::RouteRow, failure::Failure, out, say};

/// Show which host goes to which app, and how it stands there
#[derive(Debug, clap::Args)]
pub(crate) struct Routes {
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ask: Ask,
}

impl Routes {
    pub(super) fn run(self) -> Result<(), Failure> {
        let rows: Vec<RouteRow> = self.ask.ask(async |client| Ok(client.get("/v1/routes").await?))?;
        if self.json { out::print_json(&rows) } else { out::print(&say::routes::routes(&rows)) }
    }
}
