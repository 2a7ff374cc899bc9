//! `busbar ps`

use jiff::{Timestamp, tz::TimeZone};

use super::ask::Ask;
use crate::{admin::api::ProcessGroup, failure::Failure, out, say};

/// Show the dynos and what they do
#[derive(Debug, clap::Args)]
pub(crate) struct Ps {
    /// Only this process type
    #[arg(value_name = "TYPE")]
    process_type: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ask: Ask,
}

impl Ps {
    pub(super) fn run(self) -> Result<(), Failure> {
        let all: Vec<ProcessGroup> = self.ask.ask(async |client| Ok(client.get("/v1/ps").await?))?;
        let wanted =
            |group: &ProcessGroup| self.process_type.as_ref().is_none_or(|t| *t == group.process_type);
        let groups: Vec<ProcessGroup> = all.into_iter().filter(wanted).collect();
        match &self.process_type {
            Some(process_type) if groups.is_empty() => {
                let said =
                    format!("there is no process type {process_type}; see `busbar ps` for those there are");
                Err(Failure::Usage(said))
            }
            _ if self.json => out::print_json(&groups),
            _ => out::print(&say::ps::ps(&groups, Timestamp::now(), &TimeZone::system())),
        }
    }
}
