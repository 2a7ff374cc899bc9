//! What dynos write, and what the runtime says about them.
//!
//! - [`LogLine`]: one line; its `Display` is the form of `heroku logs`.
//! - [`Logs`]: the log of one app: the last [`HISTORY`] lines, and any number of [`Tail`]s.
//! - `carry`: what a dyno writes goes there, and is not lost with a runtime.
//! - [`Lines`]: bytes → lines, with a cap per line (pure). [`Flow`]: how much of them, and what was dropped (pure).
//!
//! A dyno never waits for a reader: what is written is read at once. A dyno that writes more than [`Flow`] lets through
//! loses lines, and the log says how many (L10), so that it takes neither the machine nor the others' place. The
//! history forgets its oldest line; a tail that is too slow loses lines, and is told how many (L11, as on Heroku).
//!
//! Bounds: at most [`HISTORY`] + [`TAIL`] lines of [`MAX_LINE`] bytes are kept for one app, 25 MB if every line is full.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use busbar_registry::DynoName;
use bytes::Bytes;
use tokio::sync::broadcast;

pub(crate) use self::carry::carry;
pub use self::flow::Flow;

mod carry;
pub mod flow;

/// How many lines of an app are remembered (Heroku's value).
pub const HISTORY: usize = 1500;
/// How many lines a tail may be behind before it loses some.
pub const TAIL: usize = 1024;
/// A longer line is split (Heroku's value).
pub const MAX_LINE: usize = 10_000;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The app.
    App,
    /// The platform.
    Heroku,
}

/// About what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Speaker {
    /// A dyno.
    Dyno(DynoName),
    /// The router.
    Router,
    /// Whoever changes the app.
    Api,
    /// Whoever carries the log to one reader, about that alone. As on Heroku.
    Logplex,
}

/// Where it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or a line of the platform.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of an app's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it was read.
    pub at: SystemTime,
    /// Who speaks.
    pub source: Source,
    /// About what.
    pub speaker: Speaker,
    /// Where it was written.
    pub stream: Stream,
    /// What, without its line end. Any bytes.
    pub text: Bytes,
}

impl LogLine {
    /// A line of the platform about `speaker`.
    pub fn heroku(speaker: Speaker, text: impl Into<String>) -> Self {
        let text = Bytes::from(text.into());
        Self { at: SystemTime::now(), source: Source::Heroku, speaker, stream: Stream::Stdout, text }
    }

    /// `Error L10 (output buffer overflow): 7 messages dropped since 2013-04-24T01:30:26+00:00.`
    pub fn dropped(speaker: Speaker, messages: u64, since: SystemTime) -> Self {
        let since = jiff::Timestamp::try_from(since).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%S");
        let text =
            format!("Error L10 (output buffer overflow): {messages} messages dropped since {since}+00:00.");
        Self::heroku(speaker, text)
    }

    /// Writes the line as it is, bytes and all, with a line end.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_to(&self, out: &mut impl io::Write) -> io::Result<()> {
        write!(out, "{}", Head(self))?;
        out.write_all(&self.text)?;
        out.write_all(b"\n")
    }
}

/// `2010-09-16T15:13:46.677020+00:00 app[web.1]: `
struct Head<'a>(&'a LogLine);

impl fmt::Display for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LogLine { at, source, speaker, .. } = self.0;
        let at = jiff::Timestamp::try_from(*at).unwrap_or_default();
        let source = match source {
            Source::App => "app",
            Source::Heroku => "heroku",
        };
        write!(f, "{}+00:00 {source}[", at.strftime("%Y-%m-%dT%H:%M:%S%.6f"))?;
        match speaker {
            Speaker::Dyno(dyno) => write!(f, "{dyno}]: "),
            Speaker::Router => f.write_str("router]: "),
            Speaker::Api => f.write_str("api]: "),
            Speaker::Logplex => f.write_str("logplex]: "),
        }
    }
}

impl fmt::Display for LogLine {
    /// `2010-09-16T15:13:46.677020+00:00 app[web.1]: text`; bytes that are no UTF-8 are replaced.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Head(self), String::from_utf8_lossy(&self.text))
    }
}

/// The log of one app.
#[derive(Debug)]
pub struct Logs {
    history: Mutex<VecDeque<LogLine>>,
    tails: broadcast::Sender<LogLine>,
}

/// The lines from now on.
#[derive(Debug)]
pub struct Tail(broadcast::Receiver<LogLine>);

impl Default for Logs {
    fn default() -> Self {
        Self { history: Mutex::default(), tails: broadcast::Sender::new(TAIL) }
    }
}

impl Logs {
    /// Adds a line. Never waits for a reader.
    pub fn push(&self, line: LogLine) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        if history.len() >= HISTORY {
            history.pop_front();
        }
        history.push_back(line.clone());
        // Under the same lock, so that a new tail neither misses nor repeats a line.
        let _nobody_listens = self.tails.send(line);
    }

    /// The last `most` lines, oldest first, and those that follow.
    pub fn last(&self, most: usize) -> (Vec<LogLine>, Tail) {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let skipped = history.len().saturating_sub(most);
        (history.iter().skip(skipped).cloned().collect(), Tail(self.tails.subscribe()))
    }
}

impl Tail {
    /// The next line; `None` when the app is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<LogLine> {
        match self.0.recv().await {
            Ok(line) => Some(line),
            Err(broadcast::error::RecvError::Closed) => None,
            Err(broadcast::error::RecvError::Lagged(lost)) => {
                let text =
                    format!("Error L11 (Tail buffer overflow) -> This tail session dropped {lost} messages");
                Some(LogLine::heroku(Speaker::Logplex, text))
            }
        }
    }
}

/// Cuts a stream of bytes into lines of at most [`MAX_LINE`] bytes. Nothing is lost; a longer line becomes several.
#[derive(Debug, Default)]
pub struct Lines {
    /// The beginning of a line whose end has not come; at most [`MAX_LINE`] bytes.
    rest: Vec<u8>,
}

impl Lines {
    /// Takes bytes, and gives each line that they complete, without its end (`\n` or `\r\n`).
    pub fn feed(&mut self, mut bytes: &[u8], mut line: impl FnMut(Bytes)) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (head, tail) = bytes.split_at(end);
            self.fill(head, &mut line);
            let text = self.rest.strip_suffix(b"\r").unwrap_or(&self.rest);
            line(Bytes::copy_from_slice(text));
            self.rest.clear();
            bytes = tail.get(1..).unwrap_or_default();
        }
        self.fill(bytes, &mut line);
    }

    /// Forgets a line that has begun; gives its length.
    pub fn forget(&mut self) -> usize {
        std::mem::take(&mut self.rest).len()
    }

    /// Whether the beginning of a line waits for its end.
    pub fn has_begun(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Gives the last line if its end never came.
    pub fn finish(self, mut line: impl FnMut(Bytes)) {
        if !self.rest.is_empty() {
            line(Bytes::from(self.rest));
        }
    }

    fn fill(&mut self, mut bytes: &[u8], line: &mut impl FnMut(Bytes)) {
        while self.rest.len() + bytes.len() > MAX_LINE {
            let (head, tail) = bytes.split_at(MAX_LINE - self.rest.len());
            self.rest.extend_from_slice(head);
            line(Bytes::copy_from_slice(&self.rest));
            self.rest.clear();
            bytes = tail;
        }
        self.rest.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn web_1() -> Speaker {
        Speaker::Dyno("web.1".parse().unwrap())
    }

    fn cut(chunks: &[&[u8]]) -> Vec<Bytes> {
        let (mut lines, mut out) = (Lines::default(), vec![]);
        for chunk in chunks {
            lines.feed(chunk, |line| out.push(line));
        }
        lines.finish(|line| out.push(line));
        out
    }

    #[test]
    fn a_line_is_written_as_heroku_logs_writes_it() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_284_650_026_677_020);
        let line =
            LogLine { at, source: Source::App, speaker: web_1(), stream: Stream::Stdout, text: "hi".into() };
        assert_eq!(line.to_string(), "2010-09-16T15:13:46.677020+00:00 app[web.1]: hi");
        let heroku = LogLine { at, ..LogLine::heroku(Speaker::Router, "at=info") };
        assert_eq!(heroku.to_string(), "2010-09-16T15:13:46.677020+00:00 heroku[router]: at=info");
    }

    #[test]
    fn a_line_that_comes_in_pieces_is_one_and_a_last_line_needs_no_end() {
        assert_eq!(cut(&[b"a", b"b\nc\r\n", b"\n", b"d"]), ["ab", "c", "", "d"]);
    }

    #[test]
    fn a_line_of_exactly_the_cap_is_one_line() {
        let mut line = vec![b'x'; MAX_LINE];
        line.push(b'\n');
        assert_eq!(cut(&[&line]).len(), 1);
    }

    #[tokio::test]
    async fn a_tail_that_is_too_slow_is_told_how_much_it_lost() {
        let logs = Logs::default();
        let (_, mut tail) = logs.last(0);
        for n in 0..TAIL + 7 {
            logs.push(LogLine::heroku(web_1(), n.to_string()));
        }
        let told = tail.next().await.unwrap();
        assert!(told.to_string().contains(" heroku[logplex]: Error L11 (Tail buffer overflow)"), "{told}");
        assert!(told.to_string().ends_with("dropped 7 messages"), "{told}");
        assert_eq!(tail.next().await.unwrap().text, "7");
    }

    #[test]
    fn the_history_is_bounded_and_keeps_the_newest() {
        let logs = Logs::default();
        for n in 0..HISTORY + 10 {
            logs.push(LogLine::heroku(web_1(), n.to_string()));
        }
        let (all, _) = logs.last(usize::MAX);
        assert_eq!((all.len(), &all[0].text[..]), (HISTORY, &b"10"[..]));
        assert_eq!(logs.last(2).0.len(), 2);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_line_is_too_long_however_it_is_cut(
            parts in prop::collection::vec((any::<u8>(), 0usize..9000), 0..8),
            chunk in 1usize..20_000,
        ) {
            let parts: Vec<Vec<u8>> = parts.into_iter().map(|(b, n)| vec![if b == b'\n' || b == b'\r' { b'x' } else { b }; n * 4]).collect();
            let whole = parts.join(&b'\n');
            let lines = cut(&whole.chunks(chunk).collect::<Vec<_>>());
            prop_assert!(lines.iter().all(|line| line.len() <= MAX_LINE));
            prop_assert_eq!(&lines, &cut(&[&whole]), "how it is cut does not matter");
            let without_ends: Vec<u8> = whole.iter().copied().filter(|b| *b != b'\n').collect();
            prop_assert_eq!(lines.concat(), without_ends);
        }
    }
}
