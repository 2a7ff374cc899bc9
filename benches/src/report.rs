//! Results as one HTML page with plots: no script, no network, readable in light and in dark.
//!
//! - [`Page`]: what is told; [`Page::render`] tells it.
//! - [`read`]: one file of results, a [`RunResult`] or a [`Comparison`].
//! - `chapter`: a comparison's or the runs' part of the page; `figure`: each plot with the table of its figures below.
//! - `bars`, `lines`: the plots, as inline SVG; `scale`: from values to places; `look`: which colour is whose.
//! - `html`: text in markup, and the frame of the page with its styles (`style.css`).

mod bars;
mod chapter;
mod figure;
mod html;
mod lines;
mod look;
mod scale;

use serde::Deserialize;
use serde_json::Value;

use crate::results::{Comparison, FORMAT, RunResult};

/// What one page tells, in its order.
#[derive(Debug, Clone)]
pub struct Page {
    /// Its heading.
    pub title: String,
    /// Single runs, each with its name; they share their plots.
    pub runs: Vec<(String, RunResult)>,
    /// Comparisons, each with its name.
    pub comparisons: Vec<(String, Comparison)>,
}

/// Results that were read.
#[derive(Debug, Clone)]
pub enum Results {
    /// What `run --json` wrote.
    Run(Box<RunResult>),
    /// What `compare --json` wrote.
    Comparison(Box<Comparison>),
}

/// A text is no results of ours.
#[derive(Debug, thiserror::Error)]
pub enum NotResults {
    /// It is no JSON, or not of the form its format says.
    #[error("not results of `run --json` or `compare --json`: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is JSON of another kind.
    #[error("neither a run nor a comparison; write one with `run --json` or `compare --json`")]
    Foreign,
    /// It was written by a newer program.
    #[error(
        "its format is {0}, and this program reads {FORMAT}; make the report with the program that wrote it"
    )]
    Format(u64),
}

/// Reads results, of whichever kind they are.
///
/// # Errors
/// [`NotResults`]
pub fn read(text: &str) -> Result<Results, NotResults> {
    let value: Value = serde_json::from_str(text)?;
    let has = |key: &str| value.get(key).is_some();
    let (is_run, is_comparison) = (has("asked"), has("scenarios"));
    if !is_run && !is_comparison {
        return Err(NotResults::Foreign);
    }
    match value.get("format").and_then(Value::as_u64) {
        Some(format) if format == u64::from(FORMAT) => {}
        Some(format) => return Err(NotResults::Format(format)),
        None => return Err(NotResults::Foreign),
    }
    Ok(if is_run {
        Results::Run(Box::deserialize(value)?)
    } else {
        Results::Comparison(Box::deserialize(value)?)
    })
}

impl Page {
    /// The page.
    #[must_use]
    pub fn render(&self) -> String {
        let comparisons = self.comparisons.iter().enumerate();
        let mut chapters: Vec<html::Chapter> = comparisons
            .flat_map(|(at, (name, comparison))| chapter::comparison(at, name, comparison))
            .collect();
        if !self.runs.is_empty() {
            chapters.push(chapter::runs(&self.runs));
        }
        html::page(&self.title, &chapters)
    }
}

#[cfg(test)]
mod tests;
