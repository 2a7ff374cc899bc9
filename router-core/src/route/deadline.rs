//! How long each phase of a request may take, and which fault it is when it takes longer.
//!
//! - [`RequestClock`]: told what happens, it says when to look again and what has expired.
//! - `Pace`: whether the client is fast enough, by the `min_rate` of its app.
//! - [`Hold`]: why a request waits for a dyno. [`Party`]: whose turn it is.

use busbar_registry::{Millis, Routing};

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
/// | request or response under way, the client's turn | `min_rate_period_ms` of such turns in which fewer bytes moved than `min_rate` asks for | H28 |
/// | all of the above | `total_timeout_ms` from its beginning | H12 |
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
    hold: Millis,
    connect: Millis,
    first_byte: Millis,
    idle: Millis,
    /// When the whole request must be over.
    end: Moment,
    upload_pace: Pace,
    download_pace: Pace,
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

/// Whether the client is fast enough: within each `period` of its own turns, `quota` bytes must move. Only what it is
/// waited for counts, so a slow dyno does not make a client slow; what came fast earlier does not count for later.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Zero: any pace will do.
    quota: u64,
    period: Millis,
    /// Bytes that must still move in this period.
    owed: u64,
    /// How much of this period is over, up to the beginning of the client's present turn, as a moment since its start.
    waited: Moment,
    /// All bytes that had moved when that turn began.
    moved: u64,
}

impl Pace {
    fn new(routing: &Routing) -> Self {
        let period = routing.min_rate_period_ms;
        let quota = u64::from(routing.min_rate).saturating_mul(period.0).div_ceil(1000);
        Self { quota, period, owed: quota, waited: Moment::START, moved: 0 }
    }

    /// Another connection to a dyno, where counting begins anew.
    fn restart(&mut self) {
        self.moved = 0;
    }

    /// A turn that began with `window` is over: `moved` bytes have moved by now.
    fn turned(&mut self, window: Option<Window>, moved: u64, now: Moment) {
        if self.quota == 0 {
            return;
        }
        if let Some(Window { turn: Party::Client, since }) = window {
            self.waited += now.since(since);
        }
        let came = moved.saturating_sub(self.moved);
        self.moved = moved;
        if came >= self.owed {
            (self.owed, self.waited) = (self.quota, Moment::START);
        } else {
            self.owed -= came;
        }
    }

    /// When the client's turn that began `since` will have been too slow.
    fn deadline(&self, since: Moment) -> Moment {
        if self.quota == 0 {
            return Moment::NEVER;
        }
        since + (Moment::START + self.period.duration()).since(self.waited)
    }
}

impl RequestClock {
    /// A clock for a request whose head was complete at `now`. No time runs until a wait is announced.
    pub fn new(routing: &Routing, now: Moment) -> Self {
        Self {
            began: now,
            hold: routing.hold_timeout_ms,
            connect: routing.connect_timeout_ms,
            first_byte: routing.first_byte_timeout_ms,
            idle: routing.idle_timeout_ms,
            end: routing.total_timeout_ms.map_or(Moment::NEVER, |total| now + total.duration()),
            upload_pace: Pace::new(routing),
            download_pace: Pace::new(routing),
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
        self.upload_pace.restart();
        self.phase = Phase::Exchange { upload, download: Download::NotBegun { sent: None } };
    }

    /// It becomes `turn`'s turn in the request's direction: the client's when its next piece is waited for, the
    /// dyno's when a piece is there for it to take, and again whenever it took part of one. `moved`: all bytes of the
    /// request that have moved by now.
    pub fn upload_waits_for(&mut self, turn: Party, moved: u64, now: Moment) {
        if let Phase::Exchange { upload: Some(window), .. } = &mut self.phase {
            self.upload_pace.turned(Some(*window), moved, now);
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
        if let Phase::Exchange { download, .. } = &mut self.phase {
            *download = Download::Begun(Window { turn: Party::Dyno, since: now });
        }
    }

    /// It becomes `turn`'s turn in the response's direction: the dyno's when its next piece is waited for, the
    /// client's when a piece is there for it to take, and again whenever it took part of one. `moved`: all bytes the
    /// client has taken by now.
    pub fn download_waits_for(&mut self, turn: Party, moved: u64, now: Moment) {
        if let Phase::Exchange { download, .. } = &mut self.phase {
            let before = match download {
                Download::Begun(window) => Some(*window),
                Download::NotBegun { .. } => None,
            };
            self.download_pace.turned(before, moved, now);
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
        let (deadline, fault) = self.of_phase()?;
        let has_an_end = !matches!(self.phase, Phase::Tunnel(_));
        Some(if has_an_end && self.end < deadline {
            (self.end, Fault::RequestTimeout)
        } else {
            (deadline, fault)
        })
    }

    fn of_phase(&self) -> Option<(Moment, Fault)> {
        match self.phase {
            Phase::Deciding => None,
            Phase::Held(hold) => Some((self.began + self.hold.duration(), hold.fault())),
            Phase::Connecting(since) => Some((since + self.connect.duration(), Fault::ConnectTimeout)),
            Phase::Tunnel(since) => Some((since + self.idle.duration(), Fault::IdleConnection)),
            Phase::Exchange { upload, download } => {
                let (silence, response) = match download {
                    Download::NotBegun { sent } => (
                        Fault::RequestTimeout,
                        sent.map(|sent| (sent + self.first_byte.duration(), Fault::RequestTimeout)),
                    ),
                    Download::Begun(window) => (
                        Fault::IdleConnection,
                        Some(self.window(window, &self.download_pace, Fault::IdleConnection)),
                    ),
                };
                let request = upload.map(|window| self.window(window, &self.upload_pace, silence));
                request.into_iter().chain(response).min_by_key(|(deadline, _)| *deadline)
            }
        }
    }

    fn window(&self, window: Window, pace: &Pace, dyno_silent: Fault) -> (Moment, Fault) {
        let idle = window.since + self.idle.duration();
        match window.turn {
            Party::Client => (idle.min(pace.deadline(window.since)), Fault::ClientIdle),
            Party::Dyno => (idle, dyno_silent),
        }
    }
}

#[cfg(test)]
mod tests;
