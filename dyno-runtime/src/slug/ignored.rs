//! What does not go into a slug: what `.slugignore` says, and what never belongs there.
//!
//! `.slugignore` is written like `.gitignore`, as on Heroku without `!`. Only the one in the app's own directory counts.

use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::definition::{DefinitionError, read_within};

/// Left out of every slug: histories, secrets, what an app wrote while it ran. Heroku leaves out the same, but `.env`.
pub const ALWAYS: [&str; 8] =
    [".git", ".hg", ".svn", ".DS_Store", "/.gitmodules", "/.env", "/log/*", "/tmp/*"];

/// What is left out of one app's slug.
#[derive(Debug, Clone)]
pub struct Ignored(Gitignore);

/// Why a `.slugignore` was refused.
#[derive(Debug, thiserror::Error)]
pub enum IgnoreError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] Box<DefinitionError>),
    /// Some of its lines are none. The text has one line per mistake.
    #[error("{}", .0.join("\n"))]
    Lines(Vec<String>),
}

impl Ignored {
    /// What the app in `directory` leaves out.
    ///
    /// # Errors
    /// [`IgnoreError`].
    pub fn of(directory: &Path) -> Result<Self, IgnoreError> {
        Self::parse(&read_within(directory, ".slugignore").map_err(Box::new)?.unwrap_or_default())
    }

    /// Nothing is left out.
    pub fn nothing() -> Self {
        Self(Gitignore::empty())
    }

    /// What a `.slugignore` with this text leaves out.
    ///
    /// # Errors
    /// [`IgnoreError::Lines`], all mistakes at once.
    pub fn parse(text: &str) -> Result<Self, IgnoreError> {
        // Paths are given relative to the app's directory, whichever that is.
        let mut rules = GitignoreBuilder::new("");
        let mut wrong = Vec::new();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (number, line) in ALWAYS.iter().map(|line| (0, *line)).chain((1..).zip(text.lines())) {
            if line.starts_with('!') {
                wrong.push(format!(".slugignore:{number}: what is ignored cannot be taken back by !"));
            } else if let Err(error) = rules.add_line(None, line) {
                wrong.push(format!(".slugignore:{number}: {error}"));
            }
        }
        match rules.build() {
            Ok(rules) if wrong.is_empty() => Ok(Self(rules)),
            Ok(_) => Err(IgnoreError::Lines(wrong)),
            Err(error) => Err(IgnoreError::Lines(vec![format!(".slugignore: {error}")])),
        }
    }

    /// Whether a path is left out, relative to the app's directory. Of what is below it, its parents decide.
    pub fn has(&self, path: &Path, is_directory: bool) -> bool {
        self.0.matched(path, is_directory).is_ignore()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugignore_is_read_like_gitignore() {
        let ignored = Ignored::parse("*.psd\n# remark\n\n/docs\nspec/\nvendor/**/test\n\\!odd\r\n").unwrap();
        for (path, is_directory, is_ignored) in [
            ("a/b/picture.psd", false, true),
            ("docs", true, true),
            ("lib/docs", true, false),
            ("x/spec", true, true),
            ("spec", false, false),
            ("vendor/a/b/test", true, true),
            ("!odd", false, true),
            ("# remark", false, false),
            ("app.py", false, false),
        ] {
            assert_eq!(ignored.has(Path::new(path), is_directory), is_ignored, "{path}");
        }
    }

    #[test]
    fn histories_secrets_and_what_was_written_at_run_time_are_always_left_out() {
        let ignored = Ignored::parse("").unwrap();
        for (path, is_directory, is_ignored) in [
            (".git", true, true),
            ("vendor/x/.git", true, true),
            (".gitmodules", false, true),
            (".env", false, true),
            ("sub/.env", false, false),
            ("log", true, false),
            ("log/production.log", false, true),
            ("tmp/cache", true, true),
            ("lib/tmp/x", false, false),
            (".profile.d", true, false),
        ] {
            assert_eq!(ignored.has(Path::new(path), is_directory), is_ignored, "{path}");
        }
    }

    #[test]
    fn what_cannot_be_is_reported_with_its_line() {
        let IgnoreError::Lines(lines) = Ignored::parse("a\n!b\nc\n[z-a]\n").unwrap_err() else { panic!() };
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with(".slugignore:2: ") && lines[1].starts_with(".slugignore:4: "));
    }
}
