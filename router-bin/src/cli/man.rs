//! `busbar man`

use clap::CommandFactory as _;
use clap_mangen::Man as Page;

use crate::{failure::Failure, out};

/// Print the manual page (roff)
#[derive(Debug, clap::Args)]
#[command(after_help = "For example: busbar man > busbar.1; man ./busbar.1")]
pub(crate) struct Man {
    /// The page of this verb
    #[arg(value_name = "VERB")]
    verb: Option<String>,
}

impl Man {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut command = super::Cli::command();
        command.build();
        let command = match &self.verb {
            None => command,
            Some(verb) => match command.find_subcommand(verb) {
                Some(found) => found.clone(),
                None => return Err(Failure::Usage(format!("there is no verb {verb}; see `busbar help`"))),
            },
        };
        let mut page = Vec::new();
        let rendered = Page::new(command).render(&mut page);
        rendered.map_err(|source| Failure::System { deed: "rendering the manual page", source })?;
        out::print(&String::from_utf8_lossy(&page))
    }
}
