//! `busbar-bench report`

use std::path::{Path, PathBuf};

use clap::Args;

use super::{End, Failure, files};
use crate::{
    out,
    report::{Page, Results, read},
};

/// Make one HTML page with plots of what `run --json` and `compare --json` wrote.
///
/// The page needs nothing but itself: no network, no script; it is readable in light and in dark, and each plot has its figures in
/// a table below. Single runs share their plots, under the names of their files.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Files of results.
    #[arg(required = true, value_name = "RESULTS.json")]
    files: Vec<PathBuf>,

    /// Where the page goes; - is standard output.
    #[arg(long, short, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,

    /// Its heading.
    #[arg(long, default_value = "busbar-bench report")]
    title: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<End, Failure> {
    let mut page = Page { title: arguments.title.clone(), runs: Vec::new(), comparisons: Vec::new() };
    for file in &arguments.files {
        let text = std::fs::read_to_string(file)
            .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        let name = file.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        match read(&text).map_err(|error| format!("{}: {error}", file.display()))? {
            Results::Run(run) => page.runs.push((name, *run)),
            Results::Comparison(comparison) => page.comparisons.push((name, *comparison)),
        }
    }
    files::write(&arguments.output, &page.render())?;
    if arguments.output != Path::new("-") {
        out::remark(format_args!("wrote {}", arguments.output.display()));
    }
    Ok(End::Done)
}
