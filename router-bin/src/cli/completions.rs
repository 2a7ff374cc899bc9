//! `busbar completions`

use clap::CommandFactory as _;

use crate::{failure::Failure, out};

/// Print what a shell needs to complete busbar's verbs and flags
#[derive(Debug, clap::Args)]
#[command(
    after_help = "For example: busbar completions bash > ~/.local/share/bash-completion/completions/busbar"
)]
pub(crate) struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "busbar", &mut script);
        out::print(&String::from_utf8_lossy(&script))
    }
}
