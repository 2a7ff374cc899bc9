//! Config vars, and the `.env` file they can come from. Pure. Values are secrets: none is ever shown.
//!
//! - [`ConfigVars`]: names and values; `Debug` shows the names.
//! - [`ConfigVars::parse_env_file`]: `NAME=value` lines as `heroku local` and foreman read them; every mistake at
//!   once, each with its line, none with its value.
//!
//! In an `.env` file: blank lines and lines that begin with `#` are skipped; `export ` may stand before a name; a value
//! in single quotes is taken as it is, in double quotes `\n`, `\"` and `\\` are understood; nothing is expanded.

use std::{collections::BTreeMap, fmt};

use crate::procfile::meaningful_lines;

/// The config vars of an app.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ConfigVars(BTreeMap<String, String>);

/// Everything that is wrong with an `.env` file. Its text has one line per mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct EnvFileError(pub Vec<(usize, EnvFileFault)>);

/// What can be wrong with a line of an `.env` file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvFileFault {
    /// There is no `=`.
    #[error("expected NAME=value")]
    NoEquals,
    /// The name cannot be the name of a config var.
    #[error("a name has letters, digits and '_' and does not begin with a digit")]
    Name,
    /// A quote is opened and not closed on the same line.
    #[error("{0} opens a quote that is not closed at the end of the line")]
    Quote(String),
    /// The value contains a NUL byte.
    #[error("the value of {0} contains a NUL byte")]
    Nul(String),
}

impl fmt::Display for EnvFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (line, fault)) in self.0.iter().enumerate() {
            let end_of_last = if nth == 0 { "" } else { "\n" };
            write!(f, "{end_of_last}.env:{line}: {fault}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ConfigVars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl ConfigVars {
    /// Reads an `.env` file. Of a name that stands there twice the last value counts.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn parse_env_file(text: &str) -> Result<Self, EnvFileError> {
        let (mut vars, mut faults) = (BTreeMap::new(), Vec::new());
        for (line, content) in meaningful_lines(text) {
            match assignment(content) {
                Ok((name, value)) => {
                    vars.insert(name, value);
                }
                Err(fault) => faults.push((line, fault)),
            }
        }
        if faults.is_empty() { Ok(Self(vars)) } else { Err(EnvFileError(faults)) }
    }

    /// These, and of `others` those that are not among them.
    pub fn or(mut self, others: Self) -> Self {
        for (name, value) in others.0 {
            self.0.entry(name).or_insert(value);
        }
        self
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for ConfigVars {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(vars: I) -> Self {
        Self(vars.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// Whether a config var can have this name.
pub(crate) fn is_name(name: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.bytes().all(good)
}

fn assignment(line: &str) -> Result<(String, String), EnvFileFault> {
    let (name, value) = line.split_once('=').ok_or(EnvFileFault::NoEquals)?;
    let name = name.trim();
    let name = name.strip_prefix("export ").map_or(name, str::trim_start);
    if !is_name(name) {
        return Err(EnvFileFault::Name);
    }
    let value = unquoted(value.trim()).ok_or_else(|| EnvFileFault::Quote(name.to_owned()))?;
    if value.contains('\0') {
        return Err(EnvFileFault::Nul(name.to_owned()));
    }
    Ok((name.to_owned(), value))
}

fn unquoted(value: &str) -> Option<String> {
    if let Some(rest) = value.strip_prefix('\'') {
        return rest.strip_suffix('\'').map(str::to_owned);
    }
    let Some(rest) = value.strip_prefix('"') else {
        return Some(value.to_owned());
    };
    let (mut text, mut chars) = (String::with_capacity(rest.len()), rest.chars());
    loop {
        match chars.next()? {
            '"' => return chars.as_str().is_empty().then_some(text),
            '\\' => match chars.next()? {
                'n' => text.push('\n'),
                escaped @ ('"' | '\\') => text.push(escaped),
                other => text.extend(['\\', other]),
            },
            plain => text.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> String {
        let vars = ConfigVars::parse_env_file(text).unwrap();
        vars.iter().next().unwrap().1.to_owned()
    }

    #[test]
    fn values_are_read_as_heroku_local_reads_them() {
        for (text, read) in [
            ("A=1", "1"),
            ("export A = x y ", "x y"),
            ("A=", ""),
            ("A='a \"b\" \\n'", "a \"b\" \\n"),
            (r#"A="a\nb \"c\" \\ \d""#, "a\nb \"c\" \\ \\d"),
            ("A=postgres://u:p@h/db?x=y#z", "postgres://u:p@h/db?x=y#z"),
            ("# no\n\nA=last\r\n", "last"),
        ] {
            assert_eq!(value(text), read, "{text:?}");
        }
    }

    #[test]
    fn every_mistake_is_reported_without_a_value() {
        let error = ConfigVars::parse_env_file("hunter2\n1A=hunter2\nB=\"hunter2\nC='hunter2' x\nD=fine")
            .unwrap_err();
        assert_eq!(error.0.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert!(
            !error.to_string().contains("hunter2") && !format!("{error:?}").contains("hunter2"),
            "{error}"
        );
    }

    #[test]
    fn debug_shows_names_only() {
        let vars = ConfigVars::from_iter([("TOKEN", "hunter2")]);
        assert_eq!(format!("{vars:?}"), r#"{"TOKEN"}"#);
    }
}
