//! A log line as it goes over the admin API, and which of them somebody wants.

use busbar_registry::DynoName;
use dyno_runtime::{Source, Speaker};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How many lines of an app are kept.
pub(crate) const KEPT_LINES: usize = dyno_runtime::logs::HISTORY;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogLine {
    /// When it was said.
    pub(crate) at: Timestamp,
    /// `app`: its own output; `heroku`: the platform's, as Heroku calls it.
    pub(crate) source: String,
    /// `web.1`, `router`, `api`.
    pub(crate) dyno: String,
    /// Without its end. Bytes that are no UTF-8 are replaced.
    pub(crate) text: String,
}

impl From<&dyno_runtime::LogLine> for LogLine {
    fn from(line: &dyno_runtime::LogLine) -> Self {
        let source = match line.source {
            Source::App => "app",
            Source::Heroku => "heroku",
        };
        Self {
            at: Timestamp::try_from(line.at).unwrap_or_default(),
            source: source.to_owned(),
            dyno: match &line.speaker {
                Speaker::Dyno(dyno) => dyno.to_string(),
                Speaker::Router => "router".to_owned(),
                Speaker::Api => "api".to_owned(),
                Speaker::Logplex => "logplex".to_owned(),
            },
            text: String::from_utf8_lossy(&line.text).into_owned(),
        }
    }
}

/// Which lines somebody wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LogFilter {
    /// `web.1`, or `web` for all dynos of that type, or `router`; `None`: every line.
    pub(crate) dyno: Option<String>,
}

impl LogFilter {
    /// Whether `line` is wanted.
    pub(crate) fn wants(&self, line: &dyno_runtime::LogLine) -> bool {
        let Some(wanted) = self.dyno.as_deref() else { return true };
        match &line.speaker {
            Speaker::Dyno(DynoName { process_type, index }) => match wanted.rsplit_once('.') {
                None => process_type.as_str() == wanted,
                Some((of, number)) => process_type.as_str() == of && number.parse() == Ok(*index),
            },
            Speaker::Router => wanted == "router",
            Speaker::Api => wanted == "api",
            // Whatever is wanted: some of that may have been lost.
            Speaker::Logplex => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_a_dyno_a_process_type_or_the_router() {
        let line = |speaker| dyno_runtime::LogLine::heroku(speaker, "x");
        let all = ["web.1", "web.11", "worker.1"].map(|dyno| line(Speaker::Dyno(dyno.parse().unwrap())));
        let lines: Vec<_> = all.into_iter().chain([line(Speaker::Router), line(Speaker::Api)]).collect();
        let wanted = |dyno: Option<&str>| {
            let filter = LogFilter { dyno: dyno.map(str::to_owned) };
            lines
                .iter()
                .filter(|line| filter.wants(line))
                .map(|line| LogLine::from(line).dyno)
                .collect::<Vec<_>>()
        };
        assert_eq!(wanted(Some("web.1")), ["web.1"]);
        assert_eq!(wanted(Some("web")), ["web.1", "web.11"]);
        assert_eq!(wanted(Some("router")), ["router"]);
        assert!(wanted(Some("we")).is_empty());
        assert_eq!(wanted(None).len(), 5);
    }
}
