//! A dyno, chosen, and a connection to it, kept or new. Waits where waiting helps: for a dyno that boots, one that
//! leaves quarantine, one that is free.

use std::{future::poll_fn, task::Poll, time::Duration};

use busbar_registry::Balance;

use super::{Call, Client, Request, record::Record, select::Selected};
use crate::{
    io::Socket,
    route::{
        Fault, Moment, RequestClock,
        admit::{self, Refused, Verdict, Waiting},
        app::DynoSet,
        balance::{Choice, choose, rendezvous},
        deadline::Hold,
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
    loop {
        let set = selected.app.set();
        let wait = match pick(worker, selected, &call.request, &set, &attempts, waiting.is_some()) {
            Choice::Taken(slot) => {
                if let Some(place) = waiting.take() {
                    Waiting::served(place, &set, worker.now());
                }
                match reach(worker, timer, slot, clock, record, freshness).await {
                    Ok(line) => return Ok(line),
                    // The whole request took too long: that is not the dyno's fault.
                    Err(_) if clock.expired(worker.now()) == Some(Fault::RequestTimeout) => {
                        return Err(Fault::RequestTimeout);
                    }
                    Err((slot, how)) => failed(worker, &set, &slot, how, &mut attempts)?,
                }
                continue;
            }
            Choice::AllTried => return Err(fault_of(attempts.last())),
            Choice::AllBusy => Wait { hold: Hold::Busy, until: Moment::NEVER },
            Choice::AllQuarantined { until } => Wait { hold: Hold::Quarantined, until },
            Choice::NoneUp => match admit::verdict(&set) {
                Verdict::Refused(why) => return Err(refused(why)),
                Verdict::WaitForBoot | Verdict::Up => Wait { hold: Hold::Booting, until: Moment::NEVER },
            },
        };
        let place = match waiting.take() {
            Some(place) => place,
            None => Waiting::join(&selected.app, set.routing.queue_limit).map_err(refused)?,
        };
        waiting = Some(wait_on(call, clock, place, wait).await?);
    }
}

fn pick(
    worker: &Worker,
    selected: &Selected,
    request: &Request<'_>,
    set: &DynoSet,
    attempts: &Attempts,
    waits: bool,
) -> Choice {
    // Nobody overtakes those who wait for a free dyno.
    if !waits && set.routing.concurrency_per_dyno.is_some() && !selected.app.load.waits.is_empty() {
        return Choice::AllBusy;
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
        return Ok(Line { stream, slot, reused: true });
    }
    clock.connecting(began);
    worker.counters.dials.add(1);
    let dialled = dial(worker, timer, &dyno.address, clock.deadline()).await;
    let now = worker.now();
    record.reached(dyno, now.since(began), now);
    match dialled {
        Ok(stream) => {
            dyno.load.reached();
            Ok(Line { stream, slot, reused: false })
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
    slot.dyno().load.quarantine(worker.now(), set.routing.quarantine_ms.duration());
    match attempts.failed(set, slot.dyno(), how) {
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
}

/// Waits for a turn in the queue; the fault when that takes too long, or the client leaves.
async fn wait_on<C: Client>(
    call: &mut Call<'_, C>,
    clock: &mut RequestClock,
    mut place: Waiting,
    wait: Wait,
) -> Result<Waiting, Fault> {
    clock.held(wait.hold);
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
            None if wait.until <= now => Poll::Ready(Ok(())),
            None => {
                call.timer.set(cx, clock.deadline().min(wait.until));
                Poll::Pending
            }
        }
    })
    .await?;
    Ok(place)
}
