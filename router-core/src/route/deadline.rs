//! How long each phase of a request may take, and which fault it is when it takes longer.
//!
//! - [`RequestClock`]: told what happens, it says when to look again and what has expired.
//! - [`Hold`]: why a request waits for a dyno. [`Party`]: whose turn it is.

use std::time::Duration;

use busbar_registry::Routing;

use super::{Fault, Moment};

/// Why a request waits for a dyno; it decides the fault if it waits in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// No dyno is up yet (H20).
    Booting,
    /// Every dyno is in quarantine (H34).
    Quarantined,
    /// Every dyno has as many requests as it may (H11).
    Busy,
}

impl Hold {
    /// The fault at the end of the wait.
    pub const fn fault(self) -> Fault {
        match self {
            Self::Booting => Fault::BootTimeout,
            Self::Quarantined => Fault::AllQuarantined,
            Self::Busy => Fault::BacklogTooDeep,
        }
    }
}

/// Who must move next for one direction of a request to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party {
    /// The client must send a piece of the request, or take a piece of the response.
    Client,
    /// The dyno must take a piece of the request, or send a piece of the response.
    Dyno,
}

/// The clock of one request, set by the app's [`Routing`].
///
/// | phase | lasts at most | then |
/// |---|---|---|
/// | held for a dyno, all waits of the request together | `hold_timeout_ms` from its beginning | [`Hold::fault`] |
/// | one connect | `connect_timeout_ms` | H19 |
/// | request under way, the client's turn | `idle_timeout_ms` since it became its turn | H28 |
/// | request under way, the dyno's turn | the same | H12; H15 once the response has begun |
/// | whole request sent, no byte of the response | `first_byte_timeout_ms` since it was sent | H12 |
/// | response under way | `idle_timeout_ms` since the last piece moved | H15, the client's turn: H28 |
/// | upgraded connection | `idle_timeout_ms` since anything moved either way | H15 |
///
/// Request and response have windows of their own, because a dyno may answer while the request still comes in.
/// A call that does not fit the phase changes nothing.
///
/// ```
/// use std::time::Duration;
/// use router_core::route::{Fault, Moment, RequestClock};
/// let (start, mut clock) = (Moment::START, RequestClock::new(&Default::default(), Moment::START));
/// clock.connecting(start);
/// clock.connected(start);
/// clock.request_sent(start);
/// assert_eq!(clock.deadline(), start + Duration::from_secs(30));
/// assert_eq!(clock.expired(start + Duration::from_secs(30)), Some(Fault::RequestTimeout));
/// ```
#[derive(Debug, Clone)]
pub struct RequestClock {
    began: Moment,
    hold: Duration,
    connect: Duration,
    first_byte: Duration,
    idle: Duration,
    phase: Phase,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Deciding,
    Held(Hold),
    Connecting(Moment),
    Exchange { upload: Option<Window>, download: Download },
    Tunnel(Moment),
}

#[derive(Debug, Clone, Copy)]
enum Download {
    NotBegun { sent: Option<Moment> },
    Begun(Window),
}

#[derive(Debug, Clone, Copy)]
struct Window {
    turn: Party,
    since: Moment,
}

impl RequestClock {
    /// A clock for a request whose head was complete at `now`. No time runs until a wait is announced.
    pub fn new(routing: &Routing, now: Moment) -> Self {
        Self {
            began: now,
            hold: routing.hold_timeout_ms.duration(),
            connect: routing.connect_timeout_ms.duration(),
            first_byte: routing.first_byte_timeout_ms.duration(),
            idle: routing.idle_timeout_ms.duration(),
            phase: Phase::Deciding,
        }
    }

    /// The request waits for a dyno. Its time runs from its beginning, however often it waits and for what.
    pub fn held(&mut self, hold: Hold) {
        self.phase = Phase::Held(hold);
    }

    /// A connect to a dyno begins; the first one or another try.
    pub fn connecting(&mut self, now: Moment) {
        self.phase = Phase::Connecting(now);
    }

    /// There is a connection, new or reused: the dyno may take the head.
    pub fn connected(&mut self, now: Moment) {
        let upload = Some(Window { turn: Party::Dyno, since: now });
        self.phase = Phase::Exchange { upload, download: Download::NotBegun { sent: None } };
    }

    /// It becomes `turn`'s turn in the request's direction: the client's when its next piece is waited for, the
    /// dyno's when a piece is there for it to take, and again whenever it took part of one.
    pub fn upload_waits_for(&mut self, turn: Party, now: Moment) {
        if let Phase::Exchange { upload: Some(window), .. } = &mut self.phase {
            *window = Window { turn, since: now };
        }
    }

    /// The whole request was sent. The time to the first byte runs from here, unless that byte came before.
    pub fn request_sent(&mut self, now: Moment) {
        if let Phase::Exchange { upload, download } = &mut self.phase
            && upload.take().is_some()
            && let Download::NotBegun { sent } = download
        {
            *sent = Some(now);
        }
    }

    /// The first byte of the response came; the dyno's turn goes on.
    pub fn first_byte(&mut self, now: Moment) {
        self.download_waits_for(Party::Dyno, now);
    }

    /// It becomes `turn`'s turn in the response's direction: the dyno's when its next piece is waited for, the
    /// client's when a piece is there for it to take, and again whenever it took part of one.
    pub fn download_waits_for(&mut self, turn: Party, now: Moment) {
        if let Phase::Exchange { download, .. } = &mut self.phase {
            *download = Download::Begun(Window { turn, since: now });
        }
    }

    /// The connection was upgraded, or a byte moved on an upgraded one, either way.
    pub fn tunnel_moved(&mut self, now: Moment) {
        if matches!(self.phase, Phase::Exchange { .. } | Phase::Tunnel(_)) {
            self.phase = Phase::Tunnel(now);
        }
    }

    /// When to ask [`expired`](Self::expired) next; [`Moment::NEVER`] if nothing is waited for. A later call may
    /// give a later moment, never (but for a new phase) an earlier one, so a timer need not be moved for each piece:
    /// let it fire, then ask.
    pub fn deadline(&self) -> Moment {
        self.next().map_or(Moment::NEVER, |(deadline, _)| deadline)
    }

    /// The fault that ends the request at `now`, if a wait took too long.
    pub fn expired(&self, now: Moment) -> Option<Fault> {
        self.next().filter(|(deadline, _)| *deadline <= now).map(|(_, fault)| fault)
    }

    fn next(&self) -> Option<(Moment, Fault)> {
        match self.phase {
            Phase::Deciding => None,
            Phase::Held(hold) => Some((self.began + self.hold, hold.fault())),
            Phase::Connecting(since) => Some((since + self.connect, Fault::ConnectTimeout)),
            Phase::Tunnel(since) => Some((since + self.idle, Fault::IdleConnection)),
            Phase::Exchange { upload, download } => {
                let (silence, response) = match download {
                    Download::NotBegun { sent } => (
                        Fault::RequestTimeout,
                        sent.map(|sent| (sent + self.first_byte, Fault::RequestTimeout)),
                    ),
                    Download::Begun(window) => {
                        (Fault::IdleConnection, Some(self.window(window, Fault::IdleConnection)))
                    }
                };
                let request = upload.map(|window| self.window(window, silence));
                request.into_iter().chain(response).min_by_key(|(deadline, _)| *deadline)
            }
        }
    }

    fn window(&self, window: Window, dyno_silent: Fault) -> (Moment, Fault) {
        let fault = match window.turn {
            Party::Client => Fault::ClientIdle,
            Party::Dyno => dyno_silent,
        };
        (window.since + self.idle, fault)
    }
}

#[cfg(test)]
mod tests;
