//! Where a request may go now: to a place at a dyno, or into the queue, or nowhere.
//!
//! - [`Seek::look`]: a [`Found`], or the [`Fault`] when waiting does not help.
//! - [`Wait`]: what to wait for: [`Wait::join`] the queue, [`Wait::look_again`] then.
//! - [`failed`]: a dyno accepted no connection: what follows for it, and whether to look for another one.

use std::net::IpAddr;

use busbar_registry::Balance;
use fastrand::Rng;

use super::{
    Fault, Moment,
    admit::{self, Refused, Verdict, Waiting},
    affinity::Ticket,
    app::{App, DynoSet},
    balance::{Choice, choose, rendezvous, session},
    deadline::Hold,
    dyno::{Dyno, DynoKey},
    eject,
    fault::Mismatch,
    load::Slot,
    retry::{Attempts, ConnectFailure, Next},
};

/// A request that looks for a dyno.
#[derive(Debug, Clone, Copy)]
pub struct Seek<'a> {
    /// Where it was let in.
    pub app: &'a App,
    /// The dyno its cookie names, if the app has session affinity.
    pub ticket: Option<Ticket>,
    /// Who sent it.
    pub client: Option<IpAddr>,
    /// The dynos that did not take it.
    pub attempts: &'a Attempts,
    /// It has a place in the queue already.
    pub waits: bool,
}

/// What a look ended with.
#[derive(Debug)]
pub enum Found {
    /// A place at a dyno, taken.
    Place(Slot),
    /// Nothing now.
    Wait(Wait),
}

/// What to wait for.
#[derive(Debug, Clone, Copy)]
pub struct Wait {
    /// Why.
    pub hold: Hold,
    /// Worth looking again then, called or not.
    until: Moment,
    /// No other dyno will do.
    wants: Option<DynoKey>,
}

impl Seek<'_> {
    /// Looks for a place at a dyno of `set`, which was taken from the app just now.
    ///
    /// # Errors
    /// The fault, when waiting does not help.
    pub fn look(&self, set: &DynoSet, now: Moment, rng: &mut Rng) -> Result<Found, Fault> {
        let wanted = self.ticket.and_then(|ticket| session::find(set, ticket, self.attempts.tried(), now));
        let wait = |hold, until| Ok(Found::Wait(Wait { hold, until, wants: wanted.map(|dyno| dyno.key) }));
        let choice = if self.must_queue(set) {
            Choice::AllBusy { until: Moment::NEVER }
        } else if let Some(dyno) = wanted {
            session::place_at(set, dyno)
        } else {
            let sticky = self.client.filter(|_| set.routing.balance == Balance::Rendezvous);
            let key = sticky.map(|client| rendezvous::key(&octets(client)));
            choose(set, self.attempts.tried(), key, now, rng)
        };
        match choice {
            Choice::Taken(slot) => Ok(Found::Place(slot)),
            Choice::AllTried => Err(fault_of(self.attempts.last())),
            Choice::AllBusy { until } => wait(Hold::Busy, until),
            Choice::AllQuarantined { until } => wait(Hold::Quarantined, until),
            Choice::NoneUp => match admit::verdict(set) {
                Verdict::Refused(why) => Err(why.into()),
                Verdict::WaitForBoot | Verdict::Up => wait(Hold::Booting, Moment::NEVER),
            },
        }
    }

    /// Nobody overtakes those who wait for a free dyno.
    fn must_queue(&self, set: &DynoSet) -> bool {
        !self.waits && set.routing.concurrency_per_dyno.is_some() && !self.app.load.waits.is_empty()
    }
}

fn octets(client: IpAddr) -> [u8; 16] {
    match client {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

impl Wait {
    /// Joins the queue, or stays in it after looking in vain.
    ///
    /// # Errors
    /// H11 when the queue is full.
    pub fn join(
        &self,
        seek: &Seek<'_>,
        set: &DynoSet,
        place: Option<Waiting>,
        now: Moment,
    ) -> Result<Waiting, Fault> {
        let place = match place {
            Some(place) => {
                place.want(self.wants);
                place
            }
            None => Waiting::join(seek.app, set.routing.queue_limit, self.wants)?,
        };
        if !seek.attempts.tried().is_empty() {
            place.pass_on(set, now);
        }
        Ok(place)
    }

    /// When to look again, called or not. When a quarantine ends, the first in the queue looks; who comes after it
    /// is called.
    pub fn look_again(&self, place: &Waiting) -> Moment {
        let looks = self.hold != Hold::Busy || self.until == Moment::NEVER || place.is_first();
        if looks { self.until } else { Moment::NEVER }
    }
}

/// A dyno accepted no connection: it is left alone for a while. Whether another one is to be tried.
///
/// # Errors
/// The fault when none is.
pub fn failed(
    set: &DynoSet,
    dyno: &Dyno,
    how: ConnectFailure,
    attempts: &mut Attempts,
    now: Moment,
) -> Result<(), Fault> {
    dyno.load.quarantine(now, set.routing.quarantine_ms.duration());
    eject::failed(set, dyno, now);
    match attempts.failed(set, dyno, how, now) {
        Next::TryAnother => Ok(()),
        Next::GiveUp(how) => Err(fault_of(Some(how))),
    }
}

const fn fault_of(failure: Option<ConnectFailure>) -> Fault {
    match failure {
        Some(ConnectFailure::TimedOut) => Fault::ConnectTimeout,
        Some(ConnectFailure::NoHttp2) => Fault::DynoMismatch(Mismatch::NoHttp2),
        Some(ConnectFailure::Tls) => Fault::DynoMismatch(Mismatch::Tls),
        Some(ConnectFailure::Refused) | None => Fault::ConnectRefused,
    }
}

impl From<Refused> for Fault {
    fn from(why: Refused) -> Self {
        match why {
            Refused::NoWebProcesses => Self::NoWebProcesses,
            Refused::Crashed => Self::AppCrashed,
            Refused::BacklogTooDeep => Self::BacklogTooDeep,
            Refused::RequestLimit => Self::RequestLimit,
        }
    }
}
