//! The Procfile: one line per process type, `web: python3 app.py`. Pure.
//!
//! - [`Procfile::parse`] reads it whole and reports every mistake at once, each with its line.
//! - [`ProcfileError`], [`Complaint`], [`Fault`]: what was wrong, and where.
//!
//! Allowed: blank lines, lines that begin with `#`, a byte order mark, Windows line ends. Refused: anything else that
//! is not `type: command`, a type written twice, an empty command, a NUL byte, a file without any process type.

use std::{collections::BTreeMap, fmt};

use busbar_registry::{NameError, ProcessType};

/// What can be run: the command of each process type.
///
/// ```
/// let procfile = dyno_runtime::Procfile::parse("web: ./serve --port $PORT\n# a remark\nworker: ./work\n").unwrap();
/// assert_eq!(procfile.command(&"worker".parse().unwrap()), Some("./work"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Procfile {
    commands: BTreeMap<ProcessType, String>,
}

/// Everything that is wrong with a Procfile. Its text has one line per mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ProcfileError(pub Vec<Complaint>);

/// One mistake and the line it is on, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// What can be wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is no colon.
    #[error("expected `type: command`, like `web: ./serve`")]
    NoColon,
    /// The part before the colon is not a process type.
    #[error(transparent)]
    Type(#[from] NameError),
    /// The type has a command already.
    #[error("process type {0} was already given on line {1}; each type has one command")]
    Twice(ProcessType, usize),
    /// Nothing stands after the colon.
    #[error("process type {0} has no command")]
    NoCommand(ProcessType),
    /// A command cannot contain a NUL byte.
    #[error("the command of {0} contains a NUL byte")]
    Nul(ProcessType),
    /// The whole file names no process type.
    #[error("the Procfile names no process type; write one line like `web: ./serve`")]
    Empty,
}

impl fmt::Display for ProcfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, Complaint { line, fault }) in self.0.iter().enumerate() {
            let end_of_last = if nth == 0 { "" } else { "\n" };
            write!(f, "{end_of_last}Procfile:{line}: {fault}")?;
        }
        Ok(())
    }
}

impl Procfile {
    /// Reads a Procfile.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn parse(text: &str) -> Result<Self, ProcfileError> {
        let mut seen: BTreeMap<ProcessType, (usize, String)> = BTreeMap::new();
        let mut complaints = Vec::new();
        for (line, content) in meaningful_lines(text) {
            match entry(content) {
                Err(fault) => complaints.push(Complaint { line, fault }),
                Ok((process_type, command)) => {
                    if let Some((first, _)) = seen.get(&process_type) {
                        complaints.push(Complaint { line, fault: Fault::Twice(process_type, *first) });
                    } else {
                        seen.insert(process_type, (line, command.to_owned()));
                    }
                }
            }
        }
        if seen.is_empty() && complaints.is_empty() {
            complaints.push(Complaint { line: 1, fault: Fault::Empty });
        }
        if !complaints.is_empty() {
            return Err(ProcfileError(complaints));
        }
        Ok(Self {
            commands: seen.into_iter().map(|(process_type, (_, command))| (process_type, command)).collect(),
        })
    }

    /// The command of a process type.
    pub fn command(&self, process_type: &ProcessType) -> Option<&str> {
        self.commands.get(process_type).map(String::as_str)
    }

    /// One with these commands.
    pub fn from_commands(commands: BTreeMap<ProcessType, String>) -> Self {
        Self { commands }
    }

    /// Each process type and its command, in alphabetical order.
    pub fn entries(&self) -> impl Iterator<Item = (&ProcessType, &str)> {
        self.commands.iter().map(|(process_type, command)| (process_type, command.as_str()))
    }

    /// All process types, in alphabetical order.
    pub fn types(&self) -> impl Iterator<Item = &ProcessType> {
        self.commands.keys()
    }
}

/// Numbered lines, from 1, without blank lines and remarks.
pub(crate) fn meaningful_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn entry(line: &str) -> Result<(ProcessType, &str), Fault> {
    let (process_type, command) = line.split_once(':').ok_or(Fault::NoColon)?;
    let process_type: ProcessType = process_type.trim_end().parse()?;
    match command.trim() {
        "" => Err(Fault::NoCommand(process_type)),
        command if command.contains('\0') => Err(Fault::Nul(process_type)),
        command => Ok((process_type, command)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn faults(text: &str) -> Vec<(usize, String)> {
        let ProcfileError(complaints) = Procfile::parse(text).unwrap_err();
        complaints.into_iter().map(|c| (c.line, c.fault.to_string())).collect()
    }

    #[test]
    fn every_mistake_is_reported_with_its_line() {
        let found = faults("web: a\n\nno colon here\nwe b: x\nweb: again\nworker:\nclock: a\0b\n");
        let lines: Vec<usize> = found.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [3, 4, 5, 6, 7]);
        assert!(found[2].1.contains("line 1"), "{found:?}");
    }

    #[test]
    fn the_text_of_the_error_is_one_line_per_mistake() {
        let error = Procfile::parse("oops\nworker: ").unwrap_err().to_string();
        assert_eq!(
            error,
            "Procfile:1: expected `type: command`, like `web: ./serve`\nProcfile:2: process type worker has no command"
        );
    }

    #[test]
    fn a_file_without_process_types_is_refused() {
        for text in ["", "\n\n", "# web: x\n"] {
            assert_eq!(faults(text).len(), 1, "{text:?}");
        }
    }

    #[test]
    fn windows_line_ends_remarks_and_a_byte_order_mark_are_tolerated() {
        let procfile =
            Procfile::parse("\u{feff}web: run it\r\n# remark\r\n  worker :  do: it  \r\n").unwrap();
        assert_eq!(procfile.command(&ProcessType::web()), Some("run it"));
        assert_eq!(procfile.command(&"worker".parse().unwrap()), Some("do: it"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,200}") {
            if let Err(ProcfileError(complaints)) = Procfile::parse(&text) {
                prop_assert!(!complaints.is_empty());
            }
        }

        #[test]
        fn what_is_written_is_read_back(
            commands in prop::collection::btree_map("[A-Za-z0-9_-]{1,20}", "[!-~]([ -~]{0,30}[!-~])?", 1..8)
        ) {
            let text: String = commands.iter().map(|(t, c)| format!("{t}: {c}\n")).collect();
            let procfile = Procfile::parse(&text).unwrap();
            for (process_type, command) in &commands {
                prop_assert_eq!(procfile.command(&process_type.parse().unwrap()), Some(command.as_str()));
            }
            prop_assert_eq!(procfile.types().count(), commands.len());
        }
    }
}
