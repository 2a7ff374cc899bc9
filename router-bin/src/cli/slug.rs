//! `busbar slug`

mod build;
mod inspect;

pub(crate) use self::build::{MaxSize, packed};
use crate::failure::Failure;

/// Make and look into slugs: apps in one file
#[derive(Debug, clap::Args)]
pub(crate) struct Slug {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Build(build::Build),
    Inspect(inspect::Inspect),
}

impl Slug {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.verb {
            Verb::Build(verb) => verb.run(),
            Verb::Inspect(verb) => verb.run(),
        }
    }
}
