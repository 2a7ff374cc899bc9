//! What dynos, the runtime and the router say, for whoever listens.
//!
//! - [`LogLine`]: one line and who said it.
//! - [`Logs`]: the last 1500 lines, and whoever follows them. Saying never waits: a follower that is too slow loses
//!   lines, and is told how many.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

/// How many lines are kept: what Heroku keeps. With the longest lines that is 15 MB.
pub(crate) const KEPT_LINES: usize = 1500;
/// How many lines a follower may be behind.
const FOLLOWER_LAG: usize = 4096;
/// A longer line is kept in pieces of this many bytes, as Heroku does.
pub(crate) const LONGEST_LINE: usize = 10_000;

/// Whether the app said it, or the platform about the app. Heroku's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// The app's own output.
    App,
    /// Busbar, in the place of Heroku.
    Heroku,
}

impl Source {
    /// `app` or `heroku`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Heroku => "heroku",
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogLine {
    /// When it was said.
    pub(crate) at: Timestamp,
    /// By whom.
    pub(crate) source: Source,
    /// Of which dyno: `web.1`; or `router`, `api`.
    pub(crate) dyno: String,
    /// Without its end of line.
    pub(crate) text: String,
}

/// The last lines, and whoever follows them.
#[derive(Debug, Clone)]
pub(crate) struct Logs {
    kept: Arc<Mutex<VecDeque<Arc<LogLine>>>>,
    followers: broadcast::Sender<Arc<LogLine>>,
}

/// Which lines somebody wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LogFilter {
    /// `web.1`, or `web` for all dynos of that type; `None`: every line.
    pub(crate) dyno: Option<String>,
}

impl LogFilter {
    /// Whether `line` is wanted.
    pub(crate) fn wants(&self, line: &LogLine) -> bool {
        let Some(wanted) = &self.dyno else { return true };
        line.dyno == *wanted
            || line.dyno.rsplit_once('.').is_some_and(|(process_type, _)| process_type == wanted)
    }
}

impl Logs {
    /// Nothing said yet.
    pub(crate) fn new() -> Self {
        Self { kept: Arc::default(), followers: broadcast::Sender::new(FOLLOWER_LAG) }
    }

    /// Keeps the line and passes it on.
    pub(crate) fn say(&self, at: Timestamp, source: Source, dyno: &str, text: &str) {
        for piece in pieces(text) {
            let line = Arc::new(LogLine { at, source, dyno: dyno.to_owned(), text: piece.to_owned() });
            // Both under one lock: a new follower gets each line either as a kept one or as a new one.
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() >= KEPT_LINES {
                kept.pop_front();
            }
            kept.push_back(Arc::clone(&line));
            let _nobody_follows = self.followers.send(line);
        }
    }

    /// The last `count` lines that `filter` wants, and all lines after them.
    pub(crate) fn follow(&self, count: usize, filter: &LogFilter) -> (Vec<Arc<LogLine>>, Follower) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last: Vec<_> =
            kept.iter().rev().filter(|line| filter.wants(line)).take(count).cloned().collect();
        last.reverse();
        (last, Follower { lines: self.followers.subscribe(), filter: filter.clone() })
    }
}

/// Gets lines as they are said.
#[derive(Debug)]
pub(crate) struct Follower {
    lines: broadcast::Receiver<Arc<LogLine>>,
    filter: LogFilter,
}

/// What a follower gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Followed {
    /// A line.
    Line(Arc<LogLine>),
    /// It was too slow, and this many lines are lost to it.
    Lost(u64),
}

impl Follower {
    /// The next line. `None` when there will be none. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Followed> {
        loop {
            match self.lines.recv().await {
                Ok(line) if self.filter.wants(&line) => return Some(Followed::Line(line)),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(lost)) => return Some(Followed::Lost(lost)),
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// `text` in pieces of at most [`LONGEST_LINE`] bytes, cut between characters.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (piece, more) =
            text.split_at_checked(text.floor_char_boundary(LONGEST_LINE)).unwrap_or((text, ""));
        rest = (!more.is_empty()).then_some(more);
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(logs: &Logs, dyno: &str, text: &str) {
        logs.say(Timestamp::UNIX_EPOCH, Source::App, dyno, text);
    }

    fn texts(lines: &[Arc<LogLine>]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[tokio::test]
    async fn the_last_lines_are_kept_and_new_ones_follow() {
        let logs = Logs::new();
        for n in 0..KEPT_LINES + 10 {
            say(&logs, "web.1", &n.to_string());
        }
        let (last, mut follower) = logs.follow(2, &LogFilter::default());
        assert_eq!(texts(&last), ["1508", "1509"]);
        assert_eq!(logs.follow(usize::MAX, &LogFilter::default()).0.len(), KEPT_LINES);
        say(&logs, "web.1", "next");
        assert!(matches!(follower.next().await, Some(Followed::Line(line)) if line.text == "next"));
    }

    #[tokio::test]
    async fn a_filter_takes_a_dyno_or_a_process_type() {
        let logs = Logs::new();
        for dyno in ["web.1", "web.2", "worker.1", "router"] {
            say(&logs, dyno, dyno);
        }
        let wanted = |dyno: &str| {
            let lines = logs.follow(100, &LogFilter { dyno: Some(dyno.into()) }).0;
            lines.iter().map(|line| line.text.clone()).collect::<Vec<_>>()
        };
        assert_eq!(wanted("web.2"), ["web.2"]);
        assert_eq!(wanted("web"), ["web.1", "web.2"]);
        assert_eq!(wanted("router"), ["router"]);
        assert!(wanted("we").is_empty());
    }

    #[tokio::test]
    async fn a_slow_follower_is_told_what_it_lost() {
        let logs = Logs::new();
        let (_, mut follower) = logs.follow(0, &LogFilter::default());
        for _ in 0..FOLLOWER_LAG + 5 {
            say(&logs, "web.1", "x");
        }
        assert_eq!(follower.next().await, Some(Followed::Lost(5)));
    }

    #[test]
    fn a_long_line_is_kept_in_pieces() {
        let logs = Logs::new();
        say(&logs, "web.1", &"ü".repeat(LONGEST_LINE));
        let (last, _) = logs.follow(10, &LogFilter::default());
        assert_eq!(last.iter().map(|line| line.text.len()).collect::<Vec<_>>(), [LONGEST_LINE, LONGEST_LINE]);
        assert_eq!(pieces("").count(), 1, "an empty line is a line");
    }
}
