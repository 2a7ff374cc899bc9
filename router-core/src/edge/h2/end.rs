//! How a connection ends, and why.
//!
//! - [`End`]: its last word.
//! - [`Phase`]: open, leaving (GOAWAY was said, streams go on), condemned (nothing goes on). What is due when.

use std::time::Duration;

use h2::Reason;

use super::guard::Abuse;
use crate::{edge::h1::COURTESY, observe::counters::Closed, route::Moment, worker::Worker};

/// How long a client may take to be told that its connection is closed.
const LAST_WORD: Duration = Duration::from_secs(2);

/// The end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) why: Closed,
    /// The client was told something that it should be able to read.
    pub(super) lingers: bool,
}

impl End {
    /// It is dropped.
    pub(super) const fn now(why: Closed) -> Self {
        Self { why, lingers: false }
    }

    /// What an error of h2's means; `last_words` is the end of what it wrote.
    pub(super) fn of_error(error: &h2::Error, left: Closed, last_words: &[u8]) -> Self {
        if error.is_io() || error.is_remote() {
            return Self::now(left);
        }
        // Only the GOAWAY itself says which of h2's bounds was passed.
        let known = CALM.iter().find(|(said, _)| last_words.ends_with(said.as_bytes()));
        let why = match error.reason() {
            Some(Reason::COMPRESSION_ERROR) => Closed::Http2HeaderList,
            Some(Reason::ENHANCE_YOUR_CALM) => known.map_or(Closed::Http2Protocol, |(_, why)| *why),
            _ => Closed::Http2Protocol,
        };
        Self { why, lingers: true }
    }
}

/// What h2 says when a client passes one of its own bounds.
const CALM: [(&str, Closed); 5] = [
    ("too_many_resets", Closed::Http2Resets),
    ("too_many_internal_resets", Closed::Http2StreamErrors),
    ("too_many_continuations", Closed::Http2Continuations),
    ("header_list_way_too_large", Closed::Http2HeaderList),
    ("too_many_data_frames", Closed::Http2EmptyData),
];

impl From<Abuse> for Closed {
    fn from(abuse: Abuse) -> Self {
        match abuse {
            Abuse::Resets => Self::Http2Resets,
            Abuse::Settings => Self::Http2Settings,
            Abuse::Pings => Self::Http2Pings,
            Abuse::Priorities => Self::Http2Priorities,
            Abuse::WindowUpdates => Self::Http2WindowUpdates,
            Abuse::EmptyData => Self::Http2EmptyData,
            Abuse::Continuations => Self::Http2Continuations,
        }
    }
}

/// How far a connection got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Leaving,
    Condemned,
}

/// How far a connection got, and since when.
#[derive(Debug)]
pub(super) struct Phase {
    state: State,
    /// Since it left the state before.
    since: Moment,
    /// Once it is not open any more.
    why: Closed,
    /// Since when no stream is open.
    idle: Option<Moment>,
    /// Since when a head is on its way.
    head: Option<Moment>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// Say GOAWAY, and let the streams finish.
    Leave,
    /// Say GOAWAY for this reason, and let nothing go on.
    Condemn(Reason),
    /// Drop it.
    Drop,
    /// Wait until then.
    Wait(Moment),
}

/// What is seen of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight {
    pub(super) streams: usize,
    pub(super) within_head: bool,
    pub(super) abuse: Option<Abuse>,
}

impl Phase {
    pub(super) const fn new(now: Moment) -> Self {
        Self { state: State::Open, since: now, why: Closed::ClientLeft, idle: Some(now), head: None }
    }

    /// Whether new streams are refused: the client has been told for long that none are wanted.
    pub(super) fn refuses(&self, now: Moment) -> bool {
        match self.state {
            State::Open => false,
            State::Leaving => now >= self.since + COURTESY,
            State::Condemned => true,
        }
    }

    /// The next deed.
    pub(super) fn step(&mut self, worker: &Worker, sight: Sight) -> Deed {
        let (now, options) = (worker.now(), &worker.options);
        self.idle = if sight.streams > 0 { None } else { self.idle.or(Some(now)) };
        self.head = if sight.within_head { self.head.or(Some(now)) } else { None };
        if let Some(abuse) = sight.abuse
            && self.state != State::Condemned
        {
            return self.condemn(abuse.into(), Reason::ENHANCE_YOUR_CALM, now);
        }
        let at = match self.state {
            State::Open => {
                let idle_until = self.idle.map(|idle| idle + options.keepalive_timeout);
                let head_until = self.head.map(|head| head + options.head_timeout);
                if worker.drain.is_draining() {
                    let why = if sight.streams > 0 { Closed::DrainAnswered } else { Closed::DrainIdle };
                    return self.leave(why, now);
                }
                if head_until.is_some_and(|until| now >= until) {
                    return self.condemn(Closed::Http2SlowHead, Reason::ENHANCE_YOUR_CALM, now);
                }
                if idle_until.is_some_and(|until| now >= until) {
                    return self.leave(Closed::Idle, now);
                }
                idle_until.into_iter().chain(head_until).min().unwrap_or(Moment::NEVER)
            }
            State::Leaving if sight.streams > 0 => Moment::NEVER,
            State::Leaving if worker.is_cut() => {
                return self.condemn(Closed::DrainCut, Reason::NO_ERROR, now);
            }
            State::Leaving if now >= self.since + COURTESY => {
                return self.condemn(self.why, Reason::NO_ERROR, now);
            }
            State::Leaving => self.since + COURTESY,
            State::Condemned if now >= self.since + LAST_WORD => return Deed::Drop,
            State::Condemned => self.since + LAST_WORD,
        };
        Deed::Wait(at)
    }

    fn leave(&mut self, why: Closed, now: Moment) -> Deed {
        (self.state, self.since, self.why) = (State::Leaving, now, why);
        Deed::Leave
    }

    fn condemn(&mut self, why: Closed, reason: Reason, now: Moment) -> Deed {
        (self.state, self.since, self.why) = (State::Condemned, now, why);
        Deed::Condemn(reason)
    }

    /// h2 is done with it, or has failed.
    pub(super) fn ended(
        &self,
        worker: &Worker,
        error: Option<&h2::Error>,
        streams: usize,
        last_words: &[u8],
    ) -> End {
        let left = match self.state {
            _ if worker.is_cut() => Closed::DrainCut,
            State::Open if streams > 0 => Closed::Broken,
            _ => self.why,
        };
        match (self.state, error) {
            (State::Condemned | State::Leaving, _) => End { why: left, lingers: true },
            (State::Open, Some(error)) => End::of_error(error, left, last_words),
            (State::Open, None) => End::now(left),
        }
    }

    /// It is to be dropped as it is.
    pub(super) fn dropped(&self, worker: &Worker, streams: usize) -> End {
        End { lingers: false, ..self.ended(worker, None, streams, &[]) }
    }
}
