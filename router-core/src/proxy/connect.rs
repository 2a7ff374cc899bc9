//! A dyno, chosen, and a connection to it, kept or new. Waits where waiting helps: for a dyno that boots, one that
//! leaves quarantine, one that is free.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use busbar_registry::Balance;

use super::{Call, Client, Request, record::Record, select::Selected};
use crate::{
    io::Socket,
    route::{
        Fault, Moment, RequestClock,
        admit::{self, Refused, Verdict, Waiting},
        affinity::SetCookie,
        app::DynoSet,
        balance::{Choice, choose, rendezvous, session},
        deadline::Hold,
        dyno::{Dyno, DynoKey},
        eject,
        load::Slot,
        retry::{Attempts, ConnectFailure, Next},
    },
    upstream::dial::dial,
    worker::{Worker, sweep::Timer},
};

/// Whether a kept connection will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    Any,
    /// A kept one has just turned out to be closed.
    New,
}

/// A connection to a dyno, and the request's place there.
pub(super) struct Line {
    pub(super) stream: Box<Socket>,
    pub(super) slot: Slot,
    pub(super) reused: bool,
    /// The client is to be told which dyno it is.
    sets_cookie: bool,
}

impl Line {
    /// What the client is given along with the response.
    pub(super) fn cookie(&self, secure: bool) -> Option<SetCookie> {
        self.sets_cookie.then(|| SetCookie { ticket: self.slot.dyno().ticket, secure })
    }
}

/// Gets a connection to a dyno for this request, or the fault for why there is none.
pub(super) async fn connect<C: Client>(
    call: &mut Call<'_, C>,
    selected: &Selected,
    clock: &mut RequestClock,
    record: &mut Record,
    freshness: Freshness,
) -> Result<Line, Fault> {
    let (worker, timer) = (call.worker, call.timer);
    let (mut attempts, mut waiting) = (Attempts::default(), None);
    if selected.routing.concurrency_per_dyno.is_some() {
        record.waited(Duration::ZERO);
    }
    loop {
        let set = selected.app.set();
        let wait = match look(worker, selected, &call.request, &set, &attempts, waiting.is_some())? {
            Ok(slot) => {
                if let Some(place) = waiting.take() {
                    Waiting::served(place, slot.dyno().key, &set, worker.now());
                }
                match reach(worker, timer, slot, clock, record, freshness).await {
                    Ok(line) => {
                        return Ok(Line {
                            sets_cookie: selected.affinity.sets_cookie(line.slot.dyno()),
                            ..line
                        });
                    }
                    // The whole request took too long: that is not the dyno's fault.
                    Err(_) if clock.expired(worker.now()) == Some(Fault::RequestTimeout) => {
                        return Err(Fault::RequestTimeout);
                    }
                    Err((slot, how)) => failed(worker, &set, &slot, how, &mut attempts)?,
                }
                continue;
            }
            Err(wait) => wait,
        };
        let place = queue(worker, selected, &set, waiting.take(), &wait, &attempts)?;
        drop(set);
        let since = worker.now();
        let waited = wait_on(call, clock, place, wait).await;
        record.waited(worker.now().since(since));
        waiting = Some(waited?);
    }
}

/// Looks for a place at a dyno: the place, or what to wait for, or the fault when waiting does not help. `waits` says whether
/// the request has a place in the queue.
fn look(
    worker: &Worker,
    selected: &Selected,
    request: &Request<'_>,
    set: &DynoSet,
    attempts: &Attempts,
    waits: bool,
) -> Result<Result<Slot, Wait>, Fault> {
    let wanted = selected.affinity.ticket;
    let wanted = wanted.and_then(|ticket| session::find(set, ticket, attempts.tried(), worker.now()));
    let wait = |hold, until| Ok(Err(Wait { hold, until, wants: wanted.map(|dyno| dyno.key) }));
    match pick(worker, selected, request, set, wanted, attempts, waits) {
        Choice::Taken(slot) => Ok(Ok(slot)),
        Choice::AllTried => Err(fault_of(attempts.last())),
        Choice::AllBusy { until } => wait(Hold::Busy, until),
        Choice::AllQuarantined { until } => wait(Hold::Quarantined, until),
        Choice::NoneUp => match admit::verdict(set) {
            Verdict::Refused(why) => Err(refused(why)),
            Verdict::WaitForBoot | Verdict::Up => wait(Hold::Booting, Moment::NEVER),
        },
    }
}

/// Joins the queue, or stays in it after looking in vain.
fn queue(
    worker: &Worker,
    selected: &Selected,
    set: &DynoSet,
    place: Option<Waiting>,
    wait: &Wait,
    attempts: &Attempts,
) -> Result<Waiting, Fault> {
    let place = match place {
        Some(place) => {
            place.want(wait.wants);
            place
        }
        None => Waiting::join(&selected.app, set.routing.queue_limit, wait.wants).map_err(refused)?,
    };
    if !attempts.tried().is_empty() {
        place.pass_on(set, worker.now());
    }
    Ok(place)
}

fn pick(
    worker: &Worker,
    selected: &Selected,
    request: &Request<'_>,
    set: &DynoSet,
    wanted: Option<&Arc<Dyno>>,
    attempts: &Attempts,
    waits: bool,
) -> Choice {
    // Nobody overtakes those who wait for a free dyno.
    if !waits && set.routing.concurrency_per_dyno.is_some() && !selected.app.load.waits.is_empty() {
        return Choice::AllBusy { until: Moment::NEVER };
    }
    if let Some(dyno) = wanted {
        return session::place_at(set, dyno);
    }
    let sticky = request.arrival.client.filter(|_| set.routing.balance == Balance::Rendezvous);
    let key = sticky.map(|client| rendezvous::key(&octets(client)));
    choose(set, attempts.tried(), key, worker.now(), &mut worker.random.borrow_mut())
}

fn octets(client: std::net::IpAddr) -> [u8; 16] {
    match client {
        std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        std::net::IpAddr::V6(v6) => v6.octets(),
    }
}

/// A kept connection to the dyno, or a new one.
async fn reach(
    worker: &Worker,
    timer: &Timer,
    slot: Slot,
    clock: &mut RequestClock,
    record: &mut Record,
    freshness: Freshness,
) -> Result<Line, (Slot, ConnectFailure)> {
    let dyno = slot.dyno();
    let began = worker.now();
    if freshness == Freshness::Any
        && let Some(stream) = worker.pool.take(dyno.key)
    {
        worker.counters.reused.add(1);
        record.reached(dyno, Duration::ZERO, began);
        return Ok(Line { stream, slot, reused: true, sets_cookie: false });
    }
    clock.connecting(began);
    worker.counters.dials.add(1);
    let dialled = dial(worker, timer, &dyno.address, clock.deadline()).await;
    let now = worker.now();
    record.reached(dyno, now.since(began), now);
    match dialled {
        Ok(stream) => {
            dyno.load.reached();
            Ok(Line { stream, slot, reused: false, sets_cookie: false })
        }
        Err(how) => Err((slot, how)),
    }
}

/// Leaves the dyno alone for a while, and says whether to try another one.
fn failed(
    worker: &Worker,
    set: &DynoSet,
    slot: &Slot,
    how: ConnectFailure,
    attempts: &mut Attempts,
) -> Result<(), Fault> {
    let (dyno, now) = (slot.dyno(), worker.now());
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
        Some(ConnectFailure::Refused) | None => Fault::ConnectRefused,
    }
}

/// The fault for a request that is not let in.
pub(super) const fn refused(why: Refused) -> Fault {
    match why {
        Refused::NoWebProcesses => Fault::NoWebProcesses,
        Refused::Crashed => Fault::AppCrashed,
        Refused::BacklogTooDeep => Fault::BacklogTooDeep,
        Refused::RequestLimit => Fault::RequestLimit,
    }
}

struct Wait {
    hold: Hold,
    /// Worth looking again then, called or not.
    until: Moment,
    /// No other dyno will do.
    wants: Option<DynoKey>,
}

/// Waits for a turn in the queue; the fault when that takes too long, or the client leaves.
async fn wait_on<C: Client>(
    call: &mut Call<'_, C>,
    clock: &mut RequestClock,
    mut place: Waiting,
    wait: Wait,
) -> Result<Waiting, Fault> {
    clock.held(wait.hold);
    // When a quarantine ends, the first in the queue looks; who comes after it is called.
    let looks = wait.hold != Hold::Busy || wait.until == Moment::NEVER || place.is_first();
    let until = if looks { wait.until } else { Moment::NEVER };
    poll_fn(|cx| {
        if place.poll_turn(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        if call.client.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Fault::ClientInterrupted));
        }
        let now = call.worker.now();
        match clock.expired(now) {
            Some(fault) => Poll::Ready(Err(fault)),
            None if call.worker.is_cut() => Poll::Ready(Err(Fault::ForcedClose)),
            None if until <= now => Poll::Ready(Ok(())),
            None => {
                call.timer.set(cx, clock.deadline().min(until));
                Poll::Pending
            }
        }
    })
    .await?;
    Ok(place)
}
