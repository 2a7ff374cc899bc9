//! `busbar version`

use crate::{failure::Failure, out};

/// Show the version
#[derive(Debug, clap::Args)]
pub(crate) struct Version {
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Version {
    pub(super) fn run(self) -> Result<(), Failure> {
        let version = env!("CARGO_PKG_VERSION");
        if self.json {
            out::print_json(&serde_json::json!({ "name": "busbar", "version": version }))
        } else {
            out::print(&format!("busbar {version}\n"))
        }
    }
}
