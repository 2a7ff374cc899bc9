//! Results into files.

use std::{fs, path::Path};

use serde::Serialize;

use super::Failure;

/// Writes text to a file, or to standard output for `-`.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if path == Path::new("-") {
        crate::out::say(text);
        return Ok(());
    }
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}

/// Writes something as JSON.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Failure> {
    write(path, &serde_json::to_string(value)?)
}
