//! A dyno, chosen, and a connection to it, kept or new. Waits where waiting helps: for a dyno that boots, one that
//! leaves quarantine, one that is free.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use busbar_registry::Routing;

use super::{Call, Client, record::Record, select::Selected};
use crate::{
    route::{
        Fault, Moment, RequestClock,
        admit::Waiting,
        affinity::SetCookie,
        dyno::Dyno,
        load::Slot,
        retry::{Attempts, ConnectFailure},
        seek::{self, Found, Seek, Wait},
    },
    upstream::{dial::dial, link::Link},
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
    pub(super) stream: Link,
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
        let seek = Seek {
            app: &selected.app,
            ticket: selected.affinity.ticket,
            client: call.request.arrival.client,
            attempts: &attempts,
            waits: waiting.is_some(),
        };
        let found = seek.look(&set, worker.now(), &mut worker.random.borrow_mut())?;
        let wait = match found {
            Found::Place(slot) => {
                if let Some(place) = waiting.take() {
                    Waiting::served(place, slot.dyno().key, &set, worker.now());
                }
                match reach(worker, timer, slot, &selected.routing, clock, record, freshness).await {
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
                    // The server is at its end, and the dyno has nothing to do with that.
                    Err(_) if worker.is_cut() => return Err(Fault::ForcedClose),
                    Err((slot, how)) => seek::failed(&set, slot.dyno(), how, &mut attempts, worker.now())?,
                }
                continue;
            }
            Found::Wait(wait) => wait,
        };
        let place = wait.join(&seek, &set, waiting.take(), worker.now())?;
        drop(set);
        let since = worker.now();
        let waited = wait_on(call, clock, place, wait).await;
        record.waited(worker.now().since(since));
        waiting = Some(waited?);
    }
}

/// A kept connection to the dyno, or a new one.
async fn reach(
    worker: &Worker,
    timer: &Timer,
    slot: Slot,
    routing: &Arc<Routing>,
    clock: &mut RequestClock,
    record: &mut Record,
    freshness: Freshness,
) -> Result<Line, (Slot, ConnectFailure)> {
    let dyno = slot.dyno();
    let began = worker.now();
    if let Some(stream) = kept(worker, dyno, routing, freshness) {
        worker.counters.reused.add(1);
        record.reached(dyno, Duration::ZERO, began);
        return Ok(Line { stream, slot, reused: true, sets_cookie: false });
    }
    clock.connecting(began);
    // Large, and rarely needed: no part of every request.
    let dialled = Box::pin(make(worker, timer, dyno, routing, clock.deadline())).await;
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

/// A new way to the dyno.
async fn make(
    worker: &Worker,
    timer: &Timer,
    dyno: &Dyno,
    routing: &Arc<Routing>,
    deadline: Moment,
) -> Result<Link, ConnectFailure> {
    if routing.dyno_protocol.is_http2() {
        return worker.hub.stream(worker, timer, dyno, routing, deadline).await.map(Link::Stream);
    }
    worker.counters.dials.add(1);
    dial(worker, timer, &dyno.address, deadline).await.map(Link::Plain)
}

/// A way to the dyno that is there already.
fn kept(worker: &Worker, dyno: &Dyno, routing: &Arc<Routing>, freshness: Freshness) -> Option<Link> {
    if routing.dyno_protocol.is_http2() {
        // What has turned out to be closed there gives no more streams.
        return worker.hub.stream_now(dyno.key, routing).map(Link::Stream);
    }
    if freshness == Freshness::New {
        return None;
    }
    worker.pool.take(dyno.key)
}

/// Waits for a turn in the queue; the fault when that takes too long, or the client leaves.
async fn wait_on<C: Client>(
    call: &mut Call<'_, C>,
    clock: &mut RequestClock,
    mut place: Waiting,
    wait: Wait,
) -> Result<Waiting, Fault> {
    clock.held(wait.hold);
    let until = wait.look_again(&place);
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
