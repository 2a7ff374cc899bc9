//! `busbar doctor`

use crate::{app, failure::Failure};

/// Show how far dynos can be kept apart and limited on this machine, and what to do about it
#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) fn run(self) -> Result<(), Failure> {
        app::doctor(self.json)
    }
}
