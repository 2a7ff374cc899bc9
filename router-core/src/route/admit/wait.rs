//! The queue of requests that wait for a dyno: first come, first served, bounded, cancel safe.
//!
//! - [`Waiting`]: one request's place in it; a future-like thing without a runtime.
//! - [`WaitList`]: an app's queue. While it is empty it costs one atomic load per finished request.
//!
//! Most wait for any dyno; one with a cookie (session affinity) *wants* a certain one. There is one queue for both, so that
//! neither starves: a place given back goes to the first who can use it.
//!
//! # No wake is lost
//!
//! *A place given back while somebody waits for it calls somebody.* `Slot::drop` does `in_flight -= 1` (S1), then reads
//! `waiting` (S2); joining does `waiting += 1` (J1), then a fence (J2), and only then is the dyno chosen, reading `in_flight`
//! (J3). S1, S2, J1, J2 are sequentially consistent, so they have one order. If J3 does not see S1, then J2 is before S1 in
//! it, hence J1 before S2: the drop sees the waiter and calls it. The publisher's new set is S1 in the same way
//! (swap, fence, read), with the set in place of the count.
//!
//! *Who joins looks once,* unless somebody before it takes any dyno: that one is called for whatever is given back,
//! and calls the next when there is more. Who has tried some dynos does not take any. Who changes what it wants looks once more.
//!
//! *A call is not lost in a waiter.* A [`Call`] stays until [`Waiting::poll_turn`] takes it under the lock, and a call
//! between a turn that failed and the next poll finds none, is put there, and that poll is ready at once. A waiter that
//! leaves with a call unused hands it on; so does one that was called for one dyno's place and took another's, and one that
//! has tried the only dyno that is free ([`Waiting::pass_on`]). So while there is both a free place and one who can use it, such a one is called or has its turn.
//!
//! *Who wants a dyno learns when that is left alone,* and then takes any: whoever was called for a place there in vain calls the
//! next who wants it.
//!
//! *The end of a quarantine calls nobody.* The first in the queue that waits for any dyno looks for itself then
//! ([`Waiting::is_first`]); when it leaves or wants a certain one, the next such one looks, and so knows when.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    sync::{Arc, PoisonError, atomic::Ordering::SeqCst},
    task::{Context, Poll, Waker},
};

use super::Refused;
use crate::{
    route::{
        Moment,
        app::{App, DynoSet},
        balance::Field,
        dyno::DynoKey,
        load::AppLoad,
        retry::Tried,
    },
    sync::{AtomicU32, Mutex, MutexGuard, fence},
};

/// Who waits for a dyno of one app.
#[derive(Default)]
pub struct WaitList {
    /// How many places the queue has; read without the lock.
    waiting: AtomicU32,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    /// In order of their tickets.
    places: VecDeque<Place>,
    next_ticket: u64,
}

struct Place {
    ticket: u64,
    /// No other dyno will do.
    wants: Option<DynoKey>,
    /// It has tried some dynos, and will not take those.
    is_choosy: bool,
    /// It may choose a dyno, and does not know yet.
    called: Option<Call>,
    waker: Option<Waker>,
}

/// Why one who waits should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    /// A place at this dyno was given back.
    Place(DynoKey),
    /// Anything may be different.
    Look,
}

impl Place {
    /// Calls it; gives the waker to wake once the lock is free.
    fn call(&mut self, call: Call) -> Option<Waker> {
        self.called = Some(call);
        self.waker.take()
    }

    fn can_use(&self, dyno: DynoKey) -> bool {
        self.called.is_none() && self.wants.is_none_or(|wanted| wanted == dyno)
    }
}

impl WaitList {
    /// How many requests wait.
    pub fn len(&self) -> u32 {
        self.waiting.load(SeqCst)
    }

    /// Whether none does. A new request chooses for itself only then; else it [joins](Waiting::join), so that nobody
    /// overtakes those who wait.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls the first one that can use a place at `dyno` and is not called yet.
    pub(in crate::route) fn call_for(&self, dyno: DynoKey) {
        self.call_from(0, dyno);
    }

    /// Calls the first one behind that ticket that wants this very dyno and is not called yet.
    fn call_who_wants(&self, dyno: DynoKey, behind: u64) {
        let fits =
            |place: &&mut Place| place.ticket > behind && place.wants == Some(dyno) && place.called.is_none();
        let waker = self.lock().places.iter_mut().find(fits).and_then(|place| place.call(Call::Place(dyno)));
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The same as [`Self::call_for`] among those with at least that ticket.
    fn call_from(&self, ticket: u64, dyno: DynoKey) {
        if self.is_empty() {
            return;
        }
        let fits = |place: &&mut Place| place.ticket >= ticket && place.can_use(dyno);
        let call = |place: &mut Place| place.call(Call::Place(dyno));
        let waker = self.lock().places.iter_mut().find(fits).and_then(call);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Calls the first one that waits for any dyno, if it is not called yet.
    fn call_first(&self) {
        let call = |place: &mut Place| place.call(Call::Look);
        let mut queue = self.lock();
        let first = queue.places.iter_mut().find(|place| place.wants.is_none());
        let waker = first.filter(|place| place.called.is_none()).and_then(call);
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Calls everybody: the dyno set is another one.
    pub(in crate::route) fn call_all(&self) {
        fence(SeqCst);
        if self.is_empty() {
            return;
        }
        let call = |place: &mut Place| place.call(Call::Look);
        let wakers: Vec<_> = self.lock().places.iter_mut().filter_map(call).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// A call that somebody had no use for.
    fn hand_on(&self, call: Call) {
        match call {
            Call::Place(dyno) => self.call_for(dyno),
            Call::Look => self.call_all(),
        }
    }

    /// The queue is consistent after every statement that could panic, so a poisoned lock is a good one.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for WaitList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WaitList({} waiting)", self.len())
    }
}

impl Queue {
    fn find(&self, ticket: u64) -> Option<usize> {
        self.places.binary_search_by_key(&ticket, |place| place.ticket).ok()
    }

    fn find_mut(&mut self, ticket: u64) -> Option<&mut Place> {
        self.find(ticket).and_then(|at| self.places.get_mut(at))
    }

    /// Whether it is the first one that waits for any dyno.
    fn is_first(&self, ticket: u64) -> bool {
        self.places.iter().find(|place| place.wants.is_none()).is_some_and(|first| first.ticket == ticket)
    }
}

/// One request's place in the queue. Wait for its [turn](Self::turn), take the app's set anew and choose; then either
/// say that it was [served](Self::served), or wait for the next turn: the place in the queue stays.
///
/// Dropping it, at any moment, leaves the queue and hands on a turn that was not used.
#[derive(Debug)]
#[must_use = "dropping it leaves the queue"]
pub struct Waiting {
    load: Arc<AppLoad>,
    ticket: u64,
    turn: Option<Call>,
}

impl Waiting {
    /// Joins the end of the app's queue, for a place at one dyno or at any. If nobody there takes any dyno, the first
    /// turn is at once, because what was found before may no longer hold.
    ///
    /// # Errors
    /// [`Refused::BacklogTooDeep`] when `limit` requests wait already.
    pub fn join(app: &App, limit: u32, wants: Option<DynoKey>) -> Result<Self, Refused> {
        let load = Arc::clone(&app.load);
        let ticket = {
            let mut queue = load.waits.lock();
            if u32::try_from(queue.places.len()).is_ok_and(|waiting| waiting >= limit) {
                return Err(Refused::BacklogTooDeep);
            }
            let takes_any = |place: &Place| place.wants.is_none() && !place.is_choosy;
            let looks = wants.is_some() || !queue.places.iter().any(takes_any);
            let ticket = queue.next_ticket;
            queue.next_ticket += 1;
            let called = looks.then_some(Call::Look);
            queue.places.push_back(Place { ticket, wants, is_choosy: false, called, waker: None });
            load.waits.waiting.fetch_add(1, SeqCst);
            ticket
        };
        fence(SeqCst);
        Ok(Self { load, ticket, turn: None })
    }

    /// It waits for a place at this dyno from now on, or at any; if that is something else than before, its next turn is at
    /// once.
    pub fn want(&self, wants: Option<DynoKey>) {
        let mut queue = self.load.waits.lock();
        let was_first = queue.is_first(self.ticket);
        let Some(place) = queue.find_mut(self.ticket).filter(|place| place.wants != wants) else { return };
        (place.wants, place.called) = (wants, Some(Call::Look));
        drop(queue);
        if was_first {
            self.load.waits.call_first();
        }
    }

    /// It has tried some dynos, and found none of `set` among the others. If there is one for others, who comes after it is
    /// called, and who joins will look.
    pub fn pass_on(&self, set: &DynoSet, now: Moment) {
        if let Some(place) = self.load.waits.lock().find_mut(self.ticket) {
            place.is_choosy = true;
        }
        if let Some(dyno) = Field::new(set, Tried::none(), now).any_free() {
            self.load.waits.call_from(self.ticket + 1, dyno.key);
        }
    }

    /// Whether it waits for any dyno and nobody before it does. Then it looks for itself when a quarantine ends.
    pub fn is_first(&self) -> bool {
        self.load.waits.lock().is_first(self.ticket)
    }

    /// Ready when it is this request's turn to choose; each turn is told once. Polling again means that choosing found
    /// nothing.
    pub fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // Cloned, and its predecessor dropped, outside the lock: a waker's code is somebody else's.
        let mut waker = Some(context.waker().clone());
        let vain = self.turn.take();
        let mut queue = self.load.waits.lock();
        self.turn = match queue.find_mut(self.ticket) {
            Some(place) => {
                std::mem::swap(&mut place.waker, &mut waker);
                place.called.take()
            }
            None => Some(Call::Look),
        };
        drop(queue);
        if let Some(Call::Place(dyno)) = vain {
            self.load.waits.call_who_wants(dyno, self.ticket);
        }
        if self.turn.is_some() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The same as a future.
    ///
    /// # Cancel safety
    /// A dropped call changes nothing: the place in the queue, and a turn not yet told, stay.
    pub async fn turn(&mut self) {
        poll_fn(|context| self.poll_turn(context)).await;
    }

    /// It got a place at `taken`, a dyno of `set`. Leaves the queue, and calls the next one only if there is more to get,
    /// which saves a vain wake for each request of a full app.
    pub fn served(mut self, taken: DynoKey, set: &DynoSet, now: Moment) {
        let called = self.leave().0;
        let turn = self.turn.take().filter(|turn| *turn != Call::Place(taken) && *turn != Call::Look);
        let waits = &self.load.waits;
        if waits.is_empty() {
            return;
        }
        turn.into_iter().chain(called).for_each(|call| waits.hand_on(call));
        let field = Field::new(set, Tried::none(), now);
        match field.any_free() {
            Some(dyno) => waits.call_for(dyno.key),
            None if field.any_away() => waits.call_first(),
            None => {}
        }
    }

    /// Leaves the queue, once; gives the call it takes along, and whether it was the first.
    fn leave(&mut self) -> (Option<Call>, bool) {
        let mut queue = self.load.waits.lock();
        let Some(at) = queue.find(self.ticket) else { return (None, false) };
        let first = queue.is_first(self.ticket);
        let place = queue.places.remove(at);
        self.load.waits.waiting.fetch_sub(1, SeqCst);
        drop(queue);
        (place.and_then(|place| place.called), first)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let (called, first) = self.leave();
        called.into_iter().chain(self.turn.take()).for_each(|call| self.load.waits.hand_on(call));
        if first {
            self.load.waits.call_first();
        }
    }
}

#[cfg(test)]
mod tests;
