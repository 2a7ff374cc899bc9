//! How much of what a dyno writes gets into the log. Pure.
//!
//! In each [`WINDOW`] a stream may write [`WINDOW_LINES`] lines or [`WINDOW_BYTES`] bytes: 5,000 lines or 5 MB a second.
//! What is more is read, counted and dropped, whole lines only, and announced once a second (L10). Dropping costs a
//! hundredth of what a line costs that somebody may read.

use std::time::{Duration, SystemTime};

use super::{Lines, MAX_LINE};

/// The time in which lines and bytes are counted.
pub const WINDOW: Duration = Duration::from_millis(100);
/// So many lines pass in a window. Fewer than a tail may be behind.
pub const WINDOW_LINES: u64 = 500;
/// So many bytes pass in a window, and what is read together with the last of them.
pub const WINDOW_BYTES: u64 = 512 * 1024;

const ANNOUNCE: Duration = Duration::from_secs(1);

/// How much of one stream passes.
#[derive(Debug, Default)]
pub struct Flow {
    window: Duration,
    lines: u64,
    bytes: u64,
    /// The beginning of a line was dropped, so its end will be too; so many bytes of it since the last one counted.
    in_line: Option<usize>,
    dropped: Option<Dropped>,
}

#[derive(Debug)]
struct Dropped {
    messages: u64,
    since: SystemTime,
    began: Duration,
}

/// A moment, by two clocks: since any fixed moment, and on the wall.
pub type Moment = (Duration, SystemTime);

impl Flow {
    /// The part of `bytes` that is to be fed to `lines` now.
    pub fn pass<'a>(&mut self, now: Moment, mut bytes: &'a [u8], lines: &mut Lines) -> &'a [u8] {
        if now.0.saturating_sub(self.window) >= WINDOW {
            (self.window, self.lines, self.bytes) = (now.0, 0, 0);
        }
        if self.lines >= WINDOW_LINES || self.bytes >= WINDOW_BYTES {
            if lines.has_begun() {
                self.in_line = Some(lines.forget());
            }
            self.swallow(now, bytes);
            return &[];
        }
        if self.in_line.is_some() {
            let end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
            let (head, tail) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
            self.swallow(now, head);
            bytes = tail;
        }
        let left = usize::try_from(WINDOW_LINES - self.lines).unwrap_or(usize::MAX);
        let last = memchr::memchr_iter(b'\n', bytes).nth(left.saturating_sub(1));
        let end = last.map_or(bytes.len(), |last| last + 1);
        let (head, tail) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
        self.swallow(now, tail);
        self.bytes += head.len() as u64;
        head
    }

    /// A line came of what passed.
    pub fn count_line(&mut self) {
        self.lines += 1;
    }

    /// When something is to be told ([`Flow::told`]), if anything is.
    pub fn tells_in(&self, now: Duration) -> Option<Duration> {
        self.dropped.as_ref().map(|dropped| (dropped.began + ANNOUNCE).saturating_sub(now))
    }

    /// So many messages were dropped since then, if that is to be told now.
    pub fn told(&mut self, now: Duration) -> Option<(u64, SystemTime)> {
        self.tells_in(now).filter(Duration::is_zero).and_then(|_| self.take())
    }

    /// The same at the end.
    pub fn finish(mut self) -> Option<(u64, SystemTime)> {
        if let (Some(_), Some(dropped)) = (self.in_line, &mut self.dropped) {
            dropped.messages += 1;
        }
        self.take()
    }

    fn take(&mut self) -> Option<(u64, SystemTime)> {
        self.dropped
            .take()
            .filter(|dropped| dropped.messages > 0)
            .map(|dropped| (dropped.messages, dropped.since))
    }

    fn swallow(&mut self, (now, at): Moment, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let ends = memchr::memchr_iter(b'\n', bytes).count();
        let tail = memchr::memrchr(b'\n', bytes).map_or(bytes.len(), |end| bytes.len() - end - 1);
        let partial = if ends == 0 { self.in_line.unwrap_or(0) + tail } else { tail };
        // A line without an end would have been several.
        let messages = ends + partial / MAX_LINE;
        self.in_line = (partial > 0).then_some(partial % MAX_LINE);
        let dropped = self.dropped.get_or_insert(Dropped { messages: 0, since: at, began: now });
        dropped.messages += messages as u64;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds each piece at its time in milliseconds; the lines that passed, and how many were told to be missing.
    fn run(pieces: &[(u64, Vec<u8>)]) -> (Vec<Vec<u8>>, u64) {
        let (mut flow, mut lines, mut passed, mut missing) = (Flow::default(), Lines::default(), vec![], 0);
        for (ms, piece) in pieces {
            let now = Duration::from_millis(*ms);
            let bytes = flow.pass((now, SystemTime::UNIX_EPOCH + now), piece, &mut lines);
            lines.feed(bytes, |line| {
                flow.count_line();
                passed.push(line.to_vec());
            });
            missing += flow.told(now).map_or(0, |(messages, _)| messages);
        }
        lines.finish(|line| passed.push(line.to_vec()));
        (passed, missing + flow.finish().map_or(0, |(messages, _)| messages))
    }

    fn numbered(from: usize, to: usize) -> Vec<u8> {
        (from..to).flat_map(|n| format!("line {n}\n").into_bytes()).collect()
    }

    #[test]
    fn what_a_dyno_ordinarily_writes_passes_whole() {
        let pieces: Vec<_> = (0..100).map(|n| (n * 100, numbered(0, 400))).collect();
        let (passed, missing) = run(&pieces);
        assert_eq!((passed.len(), missing), (40_000, 0));
        assert_eq!(passed[39_999], b"line 399");
    }

    #[test]
    fn a_flood_is_dropped_until_the_window_ends_and_counted() {
        let (passed, missing) =
            run(&[(0, numbered(0, 600)), (50, numbered(600, 5000)), (120, numbered(5000, 5001))]);
        assert_eq!((passed.len(), missing), (501, 4500));
        assert_eq!(passed.last().unwrap(), b"line 5000");
    }

    #[test]
    fn what_is_missing_is_told_once_a_second_with_since_when() {
        let mut flow = Flow::default();
        let mut lines = Lines::default();
        let at = |ms| (Duration::from_millis(ms), SystemTime::UNIX_EPOCH + Duration::from_millis(ms));
        let bytes = vec![b'x'; WINDOW_BYTES as usize];
        assert_eq!(flow.pass(at(0), &bytes, &mut lines).len(), bytes.len());
        assert_eq!((flow.told(at(0).0), flow.tells_in(at(0).0)), (None, None));
        assert_eq!(flow.pass(at(20), b"a\nb\n", &mut lines), b"");
        assert_eq!(flow.tells_in(at(520).0), Some(Duration::from_millis(500)));
        assert_eq!(flow.told(at(520).0), None);
        assert_eq!(flow.told(at(1020).0), Some((2, at(20).1)));
        assert_eq!(flow.told(at(9000).0), None);
    }

    #[test]
    fn a_line_without_an_end_is_several() {
        let big = vec![b'x'; 10 * MAX_LINE];
        let (passed, missing) =
            run(&[(0, numbered(0, 500)), (1, big.clone()), (2, big), (3, b"\nnext\n".to_vec())]);
        assert_eq!((passed.len(), missing), (500, 22));
    }

    proptest! {
        #[test]
        fn every_line_is_there_whole_or_counted(
            cuts in prop::collection::vec((0u64..60, 1usize..9000), 1..60),
            long in prop::collection::vec(0usize..4000, 1..50),
        ) {
            let mut whole = vec![];
            for (n, more) in long.iter().cycle().take(2000).enumerate() {
                whole.extend(format!("{n}:").into_bytes());
                whole.extend(vec![b'x'; more % 40]);
                whole.push(b'\n');
            }
            let (mut at, mut rest, mut pieces) = (0, &whole[..], vec![]);
            for (later, n) in cuts.into_iter().cycle() {
                if rest.is_empty() { break }
                let (head, tail) = rest.split_at(n.min(rest.len()));
                at += later;
                pieces.push((at, head.to_vec()));
                rest = tail;
            }
            let (passed, missing) = run(&pieces);
            prop_assert_eq!(passed.len() as u64 + missing, 2000);
            let all: std::collections::HashSet<&[u8]> = whole.split(|b| *b == b'\n').collect();
            prop_assert!(passed.iter().all(|line| all.contains(&line[..])), "no line is a part of one");
        }
    }
}
