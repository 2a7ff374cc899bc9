//! How a connection ends, and why.
//!
//! - [`End`]: its last word.
//! - [`Phase`]: open, leaving (GOAWAY was said, streams go on), condemned (nothing goes on). What is due when.
//! - [`Rest`]: how long a client is waited for that has not taken all of responses whose streams are over.

use std::time::Duration;

use h2::Reason;

use super::guard::Abuse;
use crate::{
    edge::h1::{
        COURTESY,
        linger::{Patience, UNTAKEN},
    },
    observe::counters::Closed,
    route::Moment,
    worker::Worker,
};

/// How long a client may take to be told that its connection is closed.
const LAST_WORD: Duration = Duration::from_secs(2);

/// The end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) why: Closed,
    /// The client was told something that it should be able to read; for how long.
    pub(super) lingers: Option<Patience>,
}

impl End {
    /// It is dropped.
    pub(super) const fn now(why: Closed) -> Self {
        Self { why, lingers: None }
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
        Self { why, lingers: Some(Patience::Brief) }
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
    rest: Rest,
    /// When it was last given some of a response.
    gave: Option<Moment>,
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
    /// Something of responses is not sent yet; their streams may be over.
    pub(super) owes: bool,
    /// How many bytes were sent so far.
    pub(super) sent: u64,
    /// Some of a response was given to h2 since the last time.
    pub(super) gave: bool,
    pub(super) within_head: bool,
    pub(super) abuse: Option<Abuse>,
}

impl Phase {
    pub(super) const fn new(now: Moment) -> Self {
        Self {
            state: State::Open,
            since: now,
            why: Closed::ClientLeft,
            idle: Some(now),
            head: None,
            rest: Rest { still: None },
            gave: None,
        }
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
        self.gave = if sight.gave { Some(now) } else { self.gave };
        let rest_until = self.rest.until(sight.owes, sight.sent, now);
        let is_busy = sight.streams > 0 || rest_until.is_some();
        self.idle = if is_busy { None } else { self.idle.or(Some(now)) };
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
                if worker.is_draining() {
                    let why = if is_busy { Closed::DrainAnswered } else { Closed::DrainIdle };
                    return self.leave(why, now);
                }
                if head_until.is_some_and(|until| now >= until) {
                    return self.condemn(Closed::Http2SlowHead, Reason::ENHANCE_YOUR_CALM, now);
                }
                if idle_until.is_some_and(|until| now >= until) {
                    return self.leave(Closed::Idle, now);
                }
                idle_until.into_iter().chain(head_until).chain(rest_until).min().unwrap_or(Moment::NEVER)
            }
            State::Leaving if sight.streams > 0 => Moment::NEVER,
            State::Leaving if worker.is_cut() => {
                return self.condemn(Closed::DrainCut, Reason::NO_ERROR, now);
            }
            State::Leaving if rest_until.is_none() && now >= self.since + COURTESY => {
                return self.condemn(self.why, Reason::NO_ERROR, now);
            }
            State::Leaving => rest_until.unwrap_or(self.since + COURTESY),
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
            State::Open if streams > 0 || self.rest.is_there() => Closed::Broken,
            _ => self.why,
        };
        match (self.state, error) {
            (State::Condemned | State::Leaving, _) => {
                End { why: left, lingers: Some(self.patience(worker.now())) }
            }
            (State::Open, Some(error)) => End::of_error(error, left, last_words),
            (State::Open, None) => End::now(left),
        }
    }

    /// How long the client may take to close it too, which broke no rule. Responses of just now may still be in the socket; then
    /// it says that it has taken some of them, by WINDOW_UPDATE, and a socket that was closed would answer with a reset, which
    /// costs the rest.
    fn patience(&self, now: Moment) -> Patience {
        let in_order = matches!(self.why, Closed::Idle | Closed::DrainIdle | Closed::DrainAnswered);
        let lately = self.gave.is_some_and(|gave| now < gave + UNTAKEN);
        if in_order && lately { Patience::Long } else { Patience::Brief }
    }

    /// It is to be dropped as it is.
    pub(super) fn dropped(&self, worker: &Worker, streams: usize) -> End {
        End { lingers: None, ..self.ended(worker, None, streams, &[]) }
    }
}

/// What the client has yet to take of responses.
#[derive(Debug, Default)]
struct Rest {
    /// Since when it takes nothing, and how many bytes were sent until then.
    still: Option<(Moment, u64)>,
}

impl Rest {
    /// Until when the client is waited for; `None`: there is nothing left, or it has taken none of it for too long.
    fn until(&mut self, owes: bool, sent: u64, now: Moment) -> Option<Moment> {
        self.still = owes.then(|| self.still.filter(|(_, before)| *before == sent).unwrap_or((now, sent)));
        self.still.map(|(since, _)| since + UNTAKEN).filter(|until| now < *until)
    }

    /// Whether there was something when it was last asked.
    const fn is_there(&self) -> bool {
        self.still.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_response_is_waited_for_while_the_client_takes_some_of_it() {
        let (mut rest, at) = (Rest::default(), |seconds: u64| Moment::from_micros(seconds * 1_000_000));
        assert_eq!(rest.until(false, 10, at(1)), None);
        assert_eq!(rest.until(true, 10, at(2)), Some(at(57)));
        assert_eq!(rest.until(true, 10, at(50)), Some(at(57)), "nothing was taken");
        assert_eq!(rest.until(true, 11, at(56)), Some(at(111)), "a byte was");
        assert_eq!(rest.until(true, 11, at(111)), None, "it has waited long enough");
        assert!(rest.is_there());
        assert_eq!(rest.until(true, 12, at(112)), Some(at(167)));
        assert_eq!(rest.until(false, 13, at(113)), None);
        assert!(!rest.is_there());
    }
}
