//! What is wrong with a configuration file, where, and what to do about it.
//!
//! - [`Complaint`]: one thing, at a line and a column.
//! - [`Complaints`]: collects them, so that all are told at once.

use std::{fmt, ops::Range, path::Path};

/// One thing that is wrong: `edge.toml:3:11: bad address "x"; write …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Complaint {
    file: String,
    /// From 1.
    line: usize,
    /// From 1, in characters.
    column: usize,
    text: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.text)
    }
}

/// Collects complaints about one text.
#[derive(Debug)]
pub(crate) struct Complaints<'i> {
    file: &'i str,
    text: &'i str,
    found: Vec<(usize, String)>,
}

impl<'i> Complaints<'i> {
    /// About `text`, which is called `file` in what is told.
    pub(crate) fn new(file: &'i str, text: &'i str) -> Self {
        Self { file, text, found: Vec::new() }
    }

    /// Complains about the place `at` (bytes of the text).
    pub(crate) fn add(&mut self, at: &Range<usize>, text: impl Into<String>) {
        self.found.push((at.start, text.into()));
    }

    /// The folder of the file, where its relative paths begin.
    pub(crate) fn folder(&self) -> &'i Path {
        Path::new(self.file).parent().unwrap_or(Path::new(""))
    }

    /// The line, from 1, of a place in the text.
    pub(crate) fn line(&self, at: &Range<usize>) -> usize {
        position(self.text, at.start).0
    }

    /// All of them in the order of the file.
    pub(crate) fn finish(mut self) -> Vec<Complaint> {
        self.found.sort_by_key(|(at, _)| *at);
        let place = |(at, text): (usize, String)| {
            let (line, column) = position(self.text, at);
            Complaint { file: self.file.to_owned(), line, column, text }
        };
        self.found.into_iter().map(place).collect()
    }
}

/// Line and column, both from 1, of the byte `at`.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline.saturating_add(1));
    let column = before.get(line_start..).unwrap_or_default().chars().count();
    (before.matches('\n').count().saturating_add(1), column.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let text = "a = 1\nü = \"é\" # x\n";
        for (byte, place) in [(0, (1, 1)), (4, (1, 5)), (6, (2, 1)), (8, (2, 2)), (999, (3, 1))] {
            assert_eq!(position(text, byte), place, "byte {byte}");
        }
    }

    #[test]
    fn complaints_are_told_in_the_order_of_the_file() {
        let mut complaints = Complaints::new("x.toml", "a\nb\n");
        complaints.add(&(2..3), "second");
        complaints.add(&(0..1), "first");
        let told: Vec<String> = complaints.finish().iter().map(Complaint::to_string).collect();
        assert_eq!(told, ["x.toml:1:1: first", "x.toml:2:1: second"]);
    }
}
