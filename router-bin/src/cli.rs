//! The command line. One file per verb; flags win over `BUSBAR_*` variables, those over files, those over defaults.

mod app_flags;
mod ask;
mod build;
mod certs;
mod completions;
mod doctor;
mod isolation;
mod life;
mod limits;
mod logs;
mod man;
mod ps;
mod reload;
mod restart;
mod router;
mod routes;
mod run;
mod runtime;
mod scale;
mod sizes;
mod slug;
mod token;
mod up;
mod validate;
mod version;

use clap::{Parser, Subcommand};

pub(crate) use self::{
    app_flags::AppFlags,
    build::Build,
    isolation::DynoIsolation,
    life::LifeFlags,
    limits::DynoLimits,
    runtime::Runtime,
    sizes::Sizes,
    slug::{MaxSize, packed},
    up::Up,
};
use crate::failure::Failure;

/// An HTTP router for apps made of dynos.
#[derive(Debug, Parser)]
#[command(
    name = "busbar",
    version,
    max_term_width = 100,
    propagate_version = true,
    arg_required_else_help = true
)]
#[command(after_help = "`busbar up` in a directory with a Procfile is all it takes to begin.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Up(Up),
    Router(router::Router),
    Runtime(Runtime),
    Run(run::Run),
    Ps(ps::Ps),
    Scale(scale::Scale),
    Restart(restart::Restart),
    Logs(logs::Logs),
    Routes(routes::Routes),
    Build(Build),
    Slug(slug::Slug),
    Certs(certs::Certs),
    Reload(reload::Reload),
    Validate(validate::Validate),
    Doctor(doctor::Doctor),
    Token(token::Token),
    Version(version::Version),
    Completions(completions::Completions),
    Man(man::Man),
}

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// [`Failure`]: what to say, and the exit code.
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self.verb {
            Verb::Up(verb) => verb.run(),
            Verb::Router(verb) => verb.run(),
            Verb::Runtime(verb) => verb.run(),
            Verb::Run(verb) => verb.run(),
            Verb::Ps(verb) => verb.run(),
            Verb::Scale(verb) => verb.run(),
            Verb::Restart(verb) => verb.run(),
            Verb::Logs(verb) => verb.run(),
            Verb::Routes(verb) => verb.run(),
            Verb::Build(verb) => verb.run(),
            Verb::Slug(verb) => verb.run(),
            Verb::Certs(verb) => verb.run(),
            Verb::Reload(verb) => verb.run(),
            Verb::Validate(verb) => verb.run(),
            Verb::Doctor(verb) => verb.run(),
            Verb::Token(verb) => verb.run(),
            Verb::Version(verb) => verb.run(),
            Verb::Completions(verb) => verb.run(),
            Verb::Man(verb) => verb.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }

    /// The verb with its words, and its own verbs.
    fn verbs(words: &str, verb: &clap::Command, all: &mut Vec<(String, clap::Command)>) {
        all.push((words.to_owned(), verb.clone()));
        for own in verb.get_subcommands() {
            verbs(format!("{words} {}", own.get_name()).trim_start(), own, all);
        }
    }

    #[test]
    fn every_variable_is_in_the_manual_with_its_flag_and_its_verbs() {
        let manual = include_str!("../../docs/configuration.md");
        let table = manual.split("## Flags and variables").nth(1).unwrap().split("\n## ").next().unwrap();
        let rows: Vec<Vec<&str>> = table.lines().map(|row| row.split(" | ").collect()).collect();
        let mut all = vec![];
        verbs("", &Cli::command(), &mut all);
        let mut seen = 0;
        for (words, verb) in all {
            // The verbs of `certs` ask as it does.
            let names = [format!("`{words}`"), format!("`{}`", words.split(' ').next().unwrap())];
            for argument in verb.get_arguments() {
                let Some(variable) = argument.get_env() else { continue };
                let variable = format!("`{}`", variable.display());
                let flag = argument.get_long().map(|long| format!("`--{long}`")).unwrap_or_default();
                let shown = rows.iter().any(|row| match row.as_slice() {
                    [of, flags, variables] => {
                        names.iter().any(|name| of.contains(name.as_str()))
                            && flags.contains(&flag)
                            && variables.contains(&variable)
                    }
                    _ => false,
                });
                assert!(shown, "docs/configuration.md does not show {variable} and {flag} of {words}");
                seen += 1;
            }
        }
        assert!(seen > 50, "only {seen} variables were found");
    }

    #[test]
    fn every_verb_says_what_it_does() {
        for verb in Cli::command().get_subcommands() {
            assert!(verb.get_about().is_some(), "{}", verb.get_name());
        }
    }
}
