//! What `bin/release` says: a little YAML. Pure.
//!
//! ```yaml
//! addons: [postgresql]
//! config_vars: { LANG: en_US.UTF-8 }
//! default_process_types: { web: python3 app.py }
//! ```
//!
//! Read as events, so that nothing is built of what nobody asked for: no anchors, no tags, no other keys, nothing deeper.

use std::collections::BTreeMap;

use busbar_registry::ProcessType;
use saphyr_parser::{Event, Parser};

/// More is refused.
pub(super) const MAX_RELEASE: usize = 64 << 10;

/// What a buildpack says about the app it has compiled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Release {
    /// The commands of process types for which the Procfile has none.
    pub default_process_types: BTreeMap<ProcessType, String>,
    /// Config vars that the app begins with.
    pub config_vars: BTreeMap<String, String>,
    /// Add-ons that it would like. Busbar has none, and says so.
    pub addons: Vec<String>,
}

/// Why the output of a `bin/release` was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// See the text.
    #[error("bin/release says more than {MAX_RELEASE} bytes")]
    TooLong,
    /// No YAML.
    #[error("bin/release:{line}: {what}")]
    Yaml {
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        what: String,
    },
}

impl Release {
    /// Reads what a `bin/release` has said. Nothing is said by saying nothing.
    ///
    /// # Errors
    /// [`ReleaseError`].
    pub fn parse(text: &str) -> Result<Self, ReleaseError> {
        if text.len() > MAX_RELEASE {
            return Err(ReleaseError::TooLong);
        }
        let mut events = Events { parser: Parser::new_from_str(text), line: 1 };
        let mut release = Self::default();
        loop {
            match events.next()? {
                Event::StreamEnd => return Ok(release),
                Event::MappingStart(0, None) => release.fill(&mut events)?,
                Event::Scalar(text, ..) if is_null(&text) => {}
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                _ => return Err(events.wrong("expected `default_process_types:` and the like")),
            }
        }
    }

    fn fill(&mut self, events: &mut Events<'_>) -> Result<(), ReleaseError> {
        while let Some(key) = events.key()? {
            match key.as_str() {
                "default_process_types" => {
                    for (name, command) in events.pairs()? {
                        let parsed = name.parse().map_err(|error| events.wrong(&format!("{error}")))?;
                        self.default_process_types.insert(parsed, command);
                    }
                }
                "config_vars" => {
                    let pairs = events.pairs()?;
                    if let Some((name, _)) = pairs.iter().find(|(name, _)| !crate::config_vars::is_name(name))
                    {
                        return Err(events.wrong(&format!("{name:?} cannot be the name of a config var")));
                    }
                    self.config_vars.extend(pairs);
                }
                "addons" => self.addons = events.list()?,
                other => return Err(events.wrong(&format!("there is no key {other:?}"))),
            }
        }
        Ok(())
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null")
}

struct Events<'t> {
    parser: Parser<'t, saphyr_parser::StrInput<'t>>,
    line: usize,
}

impl<'t> Events<'t> {
    fn next(&mut self) -> Result<Event<'t>, ReleaseError> {
        match self.parser.next() {
            None => Ok(Event::StreamEnd),
            Some(Ok((event, span))) => {
                self.line = span.start.line();
                Ok(event)
            }
            Some(Err(error)) => {
                Err(ReleaseError::Yaml { line: error.marker().line(), what: error.info().to_owned() })
            }
        }
    }

    fn wrong(&self, what: &str) -> ReleaseError {
        ReleaseError::Yaml { line: self.line, what: what.to_owned() }
    }

    /// The next key of a mapping; `None` at its end.
    fn key(&mut self) -> Result<Option<String>, ReleaseError> {
        match self.next()? {
            Event::MappingEnd => Ok(None),
            Event::Scalar(text, _, 0, None) => Ok(Some(text.into_owned())),
            _ => Err(self.wrong("expected a name")),
        }
    }

    /// A mapping of texts to texts.
    fn pairs(&mut self) -> Result<BTreeMap<String, String>, ReleaseError> {
        let mut pairs = BTreeMap::new();
        match self.next()? {
            Event::MappingStart(0, None) => {}
            Event::Scalar(text, ..) if is_null(&text) => return Ok(pairs),
            _ => return Err(self.wrong("expected `name: text` lines")),
        }
        while let Some(key) = self.key()? {
            let Event::Scalar(text, _, 0, None) = self.next()? else {
                return Err(self.wrong("expected a text"));
            };
            if text.contains('\0') || pairs.insert(key.clone(), text.into_owned()).is_some() {
                return Err(self.wrong(&format!("{key} is there twice, or has a NUL byte")));
            }
        }
        Ok(pairs)
    }

    /// A list of texts.
    fn list(&mut self) -> Result<Vec<String>, ReleaseError> {
        match self.next()? {
            Event::SequenceStart(0, None) => {}
            Event::Scalar(text, ..) if is_null(&text) => return Ok(vec![]),
            _ => return Err(self.wrong("expected a list")),
        }
        let mut list = vec![];
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(list),
                Event::Scalar(text, _, 0, None) => list.push(text.into_owned()),
                _ => return Err(self.wrong("expected a text")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_read_as_buildpacks_write_it() {
        let text = "---\naddons:\n  - heroku-postgresql:mini\nconfig_vars:\n  LANG: ${LANG:-en_US.UTF-8}\n  \"A\": 'x: y'\n\
                    default_process_types:\n  web: \"bundle exec rails server -p $PORT\"\n  rake: bundle exec rake # remark\n";
        let release = Release::parse(text).unwrap();
        assert_eq!(release.addons, ["heroku-postgresql:mini"]);
        assert_eq!(release.config_vars["A"], "x: y");
        assert_eq!(release.default_process_types["web"], "bundle exec rails server -p $PORT");
        assert_eq!(release.default_process_types["rake"], "bundle exec rake");
        for nothing in
            ["", "---\n", "--- {}\n", "default_process_types:\n", "addons: []\nconfig_vars: {}\n", "# x\n"]
        {
            assert_eq!(Release::parse(nothing), Ok(Release::default()), "{nothing:?}");
        }
    }

    #[test]
    fn what_is_no_release_is_refused_with_its_line() {
        for (text, line) in [
            ("- web", 1),
            ("web: x", 1),
            ("---\ndefault_process_types:\n  web: [a, b]\n", 3),
            ("default_process_types:\n  w b: x\n", 2),
            ("config_vars:\n  1A: x\n", 2),
            ("config_vars: &a\n  A: x\n", 2),
            ("addons: *a\n", 1),
            ("config_vars: !!map {A: x}\n", 1),
            ("addons: [", 2),
        ] {
            match Release::parse(text) {
                Err(ReleaseError::Yaml { line: found, .. }) if found.abs_diff(line) <= 1 => {}
                other => panic!("{text:?}: {other:?}"),
            }
        }
        assert_eq!(Release::parse(&"#".repeat(MAX_RELEASE + 1)), Err(ReleaseError::TooLong));
    }
}
