//! What is counted.
//!
//! - [`Tally`]: counts and histograms of a stretch of time; they add up.
//! - [`Mishap`]: what can become of a request instead of an answer.
//!
//! A latency is recorded for each good answer, and for each request that was given up (timed out, or unfinished at the end)
//! with the time it had waited: a lower bound, so that what never answered cannot look fast by being left out. Refusals and
//! answers with a status from 400 are errors and not in the histogram: failing fast is not being fast.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Nanoseconds that are told apart, and the longest that is recorded: an hour.
const RANGE: (u64, u64) = (100, 3_600_000_000_000);
/// Most kinds of error that are kept apart; statuses are the only ones there can be many of.
const KINDS: usize = 32;

/// What became of a request instead of a good answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// No connection: refused, unreachable.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The connection broke: reset, or closed before the answer began.
    Broken,
    /// The connection closed in the middle of the answer.
    CutShort,
    /// What came back is not the protocol.
    Garbled,
    /// No answer within the timeout.
    TimedOut,
    /// Not answered, or not even sent, when the run ended.
    Unfinished,
    /// An answer with a status from 400.
    Status(u16),
}

impl Mishap {
    /// Its name in results.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Connect => "connect".into(),
            Self::Tls => "tls".into(),
            Self::Broken => "broken".into(),
            Self::CutShort => "cut short".into(),
            Self::Garbled => "garbled".into(),
            Self::TimedOut => "timed out".into(),
            Self::Unfinished => "unfinished".into(),
            Self::Status(status) => format!("status {status}"),
        }
    }
}

/// A good answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answered {
    pub(super) status: u16,
    /// Bytes read, heads and framing included where they are seen.
    pub(super) bytes_in: u64,
    /// Bytes sent.
    pub(super) bytes_out: u64,
}

/// Counts of a stretch of time.
#[derive(Debug, Clone)]
pub struct Tally {
    /// From when a request was due to the last byte of its answer, nanoseconds.
    pub latency: Histogram<u64>,
    /// From when it was really sent; empty in a closed loop, where that is the same.
    pub service: Histogram<u64>,
    /// Good answers.
    pub ok: u64,
    /// What went wrong, how often.
    pub errors: Vec<(Mishap, u64)>,
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Connections made.
    pub connections: u64,
    /// When the last good answer came.
    pub last_ok: Option<Instant>,
}

impl Tally {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            latency: histogram(),
            service: histogram(),
            ok: 0,
            errors: Vec::new(),
            bytes_in: 0,
            bytes_out: 0,
            connections: 0,
            last_ok: None,
        }
    }

    /// How many requests had an error instead of a good answer.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.iter().map(|(_, count)| count).sum()
    }

    /// How many requests got an answer, good or not.
    #[must_use]
    pub fn answered(&self) -> u64 {
        let bad = self.errors.iter().filter(|(mishap, _)| matches!(mishap, Mishap::Status(_)));
        self.ok + bad.map(|(_, count)| count).sum::<u64>()
    }

    /// Counts what became of one request. `service` is given in an open loop only.
    pub(super) fn note(
        &mut self,
        outcome: Result<Answered, Mishap>,
        latency: Duration,
        service: Option<Duration>,
    ) {
        let counts_as_time = match outcome {
            Ok(answered) => {
                self.bytes_in += answered.bytes_in;
                self.bytes_out += answered.bytes_out;
                if answered.status < 400 {
                    self.ok += 1;
                    true
                } else {
                    self.fail(Mishap::Status(answered.status), 1);
                    false
                }
            }
            Err(mishap) => {
                self.fail(mishap, 1);
                matches!(mishap, Mishap::TimedOut | Mishap::Unfinished)
            }
        };
        if counts_as_time {
            self.latency.saturating_record(nanos(latency));
            if let Some(service) = service {
                self.service.saturating_record(nanos(service));
            }
        }
    }

    fn fail(&mut self, mishap: Mishap, times: u64) {
        if let Some((_, count)) = self.errors.iter_mut().find(|(known, _)| *known == mishap) {
            *count += times;
        } else if self.errors.len() < KINDS {
            self.errors.push((mishap, times));
        } else if let Some((_, count)) = self.errors.last_mut() {
            *count += times; // a server with more statuses than there are: the total stays right
        }
    }

    /// Adds what another has counted.
    pub fn add(&mut self, other: &Self) {
        let _same_bounds = self.latency.add(&other.latency);
        let _same_bounds = self.service.add(&other.service);
        self.ok += other.ok;
        for (mishap, count) in &other.errors {
            self.fail(*mishap, *count);
        }
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.connections += other.connections;
        self.last_ok = self.last_ok.max(other.last_ok);
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(clippy::expect_used, reason = "the bounds are constants that are right, as every test shows")]
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(RANGE.0, RANGE.1, 3).expect("the bounds are right")
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: Result<Answered, Mishap> = Ok(Answered { status: 200, bytes_in: 1, bytes_out: 1 });

    #[test]
    fn failing_fast_is_not_being_fast() {
        let mut tally = Tally::new();
        tally.note(OK, Duration::from_millis(10), None);
        for _ in 0..1000 {
            let busy = Answered { status: 503, bytes_in: 1, bytes_out: 1 };
            tally.note(Ok(busy), Duration::from_micros(10), None);
            tally.note(Err(Mishap::Connect), Duration::from_micros(10), None);
        }
        assert_eq!((tally.ok, tally.failed(), tally.answered()), (1, 2000, 1001));
        assert_eq!((tally.latency.len(), tally.latency.min() / 1_000_000), (1, 9));
    }

    #[test]
    fn what_was_given_up_counts_with_the_time_it_waited() {
        let mut tally = Tally::new();
        tally.note(Err(Mishap::TimedOut), Duration::from_secs(30), Some(Duration::from_secs(1)));
        assert_eq!(tally.latency.max() / 1_000_000_000, 30);
        assert_eq!(tally.service.max() / 1_000_000_000, 1);
    }

    #[test]
    fn no_error_is_lost_when_there_are_too_many_kinds() {
        let mut tally = Tally::new();
        for status in 400..500 {
            tally.note(Ok(Answered { status, bytes_in: 0, bytes_out: 0 }), Duration::ZERO, None);
        }
        let mut twice = tally.clone();
        twice.add(&tally);
        assert_eq!((tally.failed(), twice.failed(), tally.errors.len()), (100, 200, KINDS));
    }
}
