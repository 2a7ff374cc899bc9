//! The only door to standard output and standard error; a reader that went away is not an error.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

/// Writes one line to standard output: results.
pub(crate) fn say(line: impl Display) {
    let mut out = io::stdout().lock();
    let _gone = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Writes one line to standard error: progress, remarks, complaints.
pub(crate) fn remark(line: impl Display) {
    let _gone = writeln!(io::stderr().lock(), "{line}");
}
