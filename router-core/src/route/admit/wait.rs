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
mod tests {
    use std::{
        num::NonZeroU32,
        sync::atomic::AtomicBool,
        task::Wake,
        thread::{self, Thread},
        time::{Duration, Instant},
    };

    use busbar_registry::DynoState;
    use fastrand::Rng;

    use super::*;
    use crate::route::{
        affinity::Ticket,
        balance::{Choice, choose, session},
        fixture,
        load::Slot,
    };

    fn one_at_a_time(dynos: usize) -> (Arc<DynoSet>, Arc<App>) {
        fixture::app(dynos, |routing| routing.concurrency_per_dyno = NonZeroU32::new(1))
    }

    fn take(set: &DynoSet) -> Option<Slot> {
        match choose(set, Tried::none(), None, Moment::START, &mut Rng::with_seed(1)) {
            Choice::Taken(slot) => Some(slot),
            _ => None,
        }
    }

    /// A waiter and whether it was woken.
    struct Waiter {
        waiting: Waiting,
        woken: Arc<Flag>,
    }

    #[derive(Default)]
    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, SeqCst);
        }
    }

    impl Waiter {
        fn join(app: &App) -> Self {
            Self::for_one(app, None)
        }
        fn for_one(app: &App, wants: Option<DynoKey>) -> Self {
            Self { waiting: Waiting::join(app, 10, wants).unwrap(), woken: Arc::default() }
        }
        fn has_turn(&mut self) -> bool {
            let waker = Waker::from(Arc::clone(&self.woken));
            self.waiting.poll_turn(&mut Context::from_waker(&waker)).is_ready()
        }
        /// Joined, used the turn a first one has at once, and now waits.
        fn asleep(app: &App) -> Self {
            let mut waiter = Self::join(app);
            while waiter.has_turn() {}
            waiter
        }
        fn woken(&self) -> bool {
            self.woken.0.load(SeqCst)
        }
    }

    #[test]
    fn who_came_first_is_called_first() {
        let (set, app) = one_at_a_time(1);
        let slot = take(&set).unwrap();
        let mut waiters = [Waiter::asleep(&app), Waiter::asleep(&app), Waiter::asleep(&app)];
        drop(slot);
        assert_eq!(waiters.each_ref().map(Waiter::woken), [true, false, false]);
        assert!(waiters[0].has_turn() && !waiters[1].has_turn());
        let slot = take(&set).unwrap();
        let [first, second, third] = waiters;
        first.waiting.served(slot.dyno().key, &set, Moment::START);
        assert!(!second.woken(), "nothing is free for the second yet");
        drop(slot);
        assert!(second.woken() && !third.woken());
    }

    #[test]
    fn a_place_given_back_before_the_waiter_sleeps_is_found() {
        let (set, app) = one_at_a_time(1);
        let slot = take(&set).unwrap();
        let mut waiter = Waiter::join(&app);
        assert!(waiter.has_turn() && take(&set).is_none());
        drop(slot); // after it chose in vain, before it polls again
        assert!(waiter.has_turn());
        assert!(take(&set).is_some());
    }

    #[test]
    fn a_waiter_that_gives_up_hands_its_call_on() {
        let (set, app) = one_at_a_time(1);
        let slot = take(&set).unwrap();
        let (first, mut second, third) = (Waiter::asleep(&app), Waiter::asleep(&app), Waiter::asleep(&app));
        drop(slot);
        assert!(first.woken() && !second.woken());
        drop(first); // called, never polled
        assert!(second.woken() && !third.woken());
        assert!(second.has_turn());
        drop(second); // had its turn, never chose
        assert!(third.woken());
    }

    #[test]
    fn a_sleeping_waiter_that_gives_up_calls_nobody_and_keeps_the_order() {
        let (set, app) = one_at_a_time(1);
        let slot = take(&set).unwrap();
        let (first, second, third) = (Waiter::asleep(&app), Waiter::asleep(&app), Waiter::asleep(&app));
        drop(second);
        assert!(!first.woken() && !third.woken());
        assert_eq!(app.load.waits.len(), 2);
        drop(slot);
        assert!(first.woken() && !third.woken());
    }

    #[test]
    fn a_second_free_place_calls_the_second_waiter() {
        let (set, app) = one_at_a_time(2);
        let slots = [take(&set).unwrap(), take(&set).unwrap()];
        let (first, second, third) = (Waiter::asleep(&app), Waiter::asleep(&app), Waiter::asleep(&app));
        drop(slots);
        assert!(first.woken() && second.woken() && !third.woken());
    }

    #[test]
    fn who_is_served_calls_the_next_when_more_is_free() {
        let (set, app) = one_at_a_time(2);
        set.dynos[1].load.quarantine(Moment::START, Duration::from_secs(5));
        let slot = take(&set).unwrap();
        let (mut first, second) = (Waiter::asleep(&app), Waiter::asleep(&app));
        drop(slot);
        assert!(first.has_turn());
        let slot = take(&set).unwrap();
        let later = Moment::START + Duration::from_secs(6); // web.2 left quarantine, and nobody was called for that
        first.waiting.served(slot.dyno().key, &set, later);
        assert!(second.woken());
    }

    #[test]
    fn the_queue_is_bounded() {
        let (_set, app) = one_at_a_time(1);
        let first = Waiting::join(&app, 1, None).unwrap();
        assert_eq!(Waiting::join(&app, 1, None).unwrap_err(), Refused::BacklogTooDeep);
        drop(first);
        assert!(Waiting::join(&app, 1, None).is_ok());
        assert!(Waiting::join(&app, 0, None).is_err());
    }

    #[test]
    fn a_new_dyno_calls_everybody() {
        let (_table, mut publisher) = fixture::published(0, |_| {});
        let app = Arc::clone(publisher.app(&"shop".parse().unwrap()).unwrap());
        let (first, second) = (Waiter::asleep(&app), Waiter::asleep(&app));
        publisher.put_dyno(fixture::dyno_record("shop", 1, 1, DynoState::Up));
        assert!(first.woken() && second.woken());
    }

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    /// Waits for the turn on this thread; only a lost wake reaches the deadline.
    fn wait(waiting: &mut Waiting) {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let deadline = Instant::now() + Duration::from_secs(60);
        while waiting.poll_turn(&mut Context::from_waker(&waker)).is_pending() {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "a wake was lost");
            thread::park_timeout(left);
        }
    }

    /// One request; `wants` only that dyno, if there is one.
    fn request(app: &App, wants: Option<Ticket>, rng: &mut Rng) -> Option<Slot> {
        let mut waiting: Option<Waiting> = None;
        loop {
            if let Some(waiting) = &mut waiting {
                wait(waiting);
                if rng.u8(..) < 8 {
                    return None; // the client went away just now
                }
            }
            let set = app.set();
            let overtake = waiting.is_none() && !app.load.waits.is_empty();
            let wanted = wants.and_then(|ticket| session::find(&set, ticket, Tried::none(), Moment::START));
            let slot = match wanted {
                _ if overtake => None,
                Some(dyno) => match session::place_at(&set, dyno) {
                    Choice::Taken(slot) => Some(slot),
                    _ => None,
                },
                None => take(&set),
            };
            match slot {
                Some(slot) => {
                    if let Some(waiting) = waiting {
                        waiting.served(slot.dyno().key, &set, Moment::START);
                    }
                    return Some(slot);
                }
                None if waiting.is_none() => {
                    let key = wanted.map(|dyno| dyno.key);
                    waiting = Some(Waiting::join(app, 100, key).unwrap());
                }
                None => {}
            }
        }
    }

    /// Threads that request, hold and give back; each of them must come to its end.
    fn race(wants: impl Fn(&DynoSet, &mut Rng) -> Option<Ticket> + Sync) {
        let (set, app) = one_at_a_time(2);
        thread::scope(|scope| {
            for seed in 0..8 {
                let (app, set, wants) = (&app, &set, &wants);
                scope.spawn(move || {
                    let mut rng = Rng::with_seed(seed);
                    for _ in 0..3_000 {
                        let slot = request(app, wants(set, &mut rng), &mut rng);
                        if rng.bool() {
                            thread::yield_now();
                        }
                        drop(slot);
                    }
                });
            }
        });
        assert_eq!(app.load.waits.len(), 0);
        assert!(set.dynos.iter().all(|dyno| dyno.load.in_flight() == 0));
    }

    #[test]
    fn no_wake_is_lost_among_threads() {
        race(|_, _| None);
    }

    #[test]
    fn no_wake_is_lost_when_some_want_a_certain_dyno() {
        race(|set, rng| rng.bool().then(|| set.dynos[rng.usize(..2)].ticket));
    }

    #[test]
    fn a_place_goes_to_the_first_who_can_use_it() {
        let (set, app) = one_at_a_time(2);
        let slots = [take(&set).unwrap(), take(&set).unwrap()];
        let [here, there] = slots.each_ref().map(|slot| Some(slot.dyno().key));
        let mut picky = Waiter::for_one(&app, there);
        while picky.has_turn() {}
        let (any, late) = (Waiter::asleep(&app), Waiter::for_one(&app, here));
        let [slot, other] = slots;
        drop(slot);
        assert_eq!([&picky, &any, &late].map(Waiter::woken), [false, true, false]);
        drop(other);
        assert!(picky.woken());
    }

    #[test]
    fn who_was_called_for_one_dyno_and_took_another_hands_the_call_on() {
        let (set, app) = one_at_a_time(3);
        let mut slots: Vec<_> = (0..3).map(|_| take(&set).unwrap()).collect();
        slots.sort_by_key(|slot| slot.dyno().key);
        let [wanted, taken] = [1, 2].map(|at| set.dynos[at].key);
        let mut any = Waiter::asleep(&app);
        let mut picky = Waiter::for_one(&app, Some(wanted));
        while picky.has_turn() {}
        drop(slots.remove(1));
        assert!(any.has_turn() && !picky.woken());
        drop(slots.remove(0)); // free as well, but not what the picky one wants
        assert!(!picky.woken());
        any.waiting.served(taken, &set, Moment::START);
        assert!(picky.woken());
    }

    #[test]
    fn who_wants_a_certain_dyno_looks_once_on_joining_whoever_waits() {
        let (set, app) = one_at_a_time(1);
        let _slot = take(&set).unwrap();
        let _any = Waiter::asleep(&app);
        let mut picky = Waiter::for_one(&app, Some(set.dynos[0].key));
        assert!(picky.has_turn() && !picky.has_turn());
        assert!(!Waiter::join(&app).has_turn());
    }

    #[test]
    fn who_can_use_any_dyno_looks_on_joining_behind_those_who_cannot() {
        let (set, app) = one_at_a_time(2);
        let [one, _other] = [take(&set).unwrap(), take(&set).unwrap()];
        let mut picky = Waiter::for_one(&app, Some(one.dyno().key));
        while picky.has_turn() {}
        let mut any = Waiter::join(&app);
        assert!(any.has_turn() && !any.has_turn());
    }

    #[test]
    fn who_gives_up_wanting_one_dyno_looks_at_once() {
        let (set, app) = one_at_a_time(2);
        let [one, _other] = [take(&set).unwrap(), take(&set).unwrap()];
        let mut waiter = Waiter::for_one(&app, Some(one.dyno().key));
        while waiter.has_turn() {}
        waiter.waiting.want(Some(one.dyno().key));
        assert!(!waiter.has_turn());
        waiter.waiting.want(None);
        assert!(waiter.has_turn() && !waiter.has_turn());
    }

    #[test]
    fn who_has_tried_the_only_free_dyno_passes_its_turn_on() {
        let (set, app) = one_at_a_time(2);
        let [_busy, free] = [take(&set).unwrap(), take(&set).unwrap()];
        let (mut first, second, third) = (Waiter::asleep(&app), Waiter::asleep(&app), Waiter::asleep(&app));
        drop(free);
        assert!(first.has_turn());
        first.waiting.pass_on(&set, Moment::START); // that dyno has refused it before
        assert!(second.woken() && !third.woken());
        second.waiting.pass_on(&set, Moment::START);
        assert!(third.woken() && !first.has_turn());
    }

    #[test]
    fn when_the_first_leaves_while_a_dyno_is_in_quarantine_the_next_one_learns_until_when() {
        let (set, app) = one_at_a_time(2);
        let slots = [take(&set).unwrap(), take(&set).unwrap()];
        let (mut first, mut second, third) =
            (Waiter::asleep(&app), Waiter::asleep(&app), Waiter::asleep(&app));
        assert!(first.waiting.is_first() && !second.waiting.is_first());
        slots[1].dyno().load.quarantine(Moment::START, Duration::from_secs(5));
        drop(slots);
        assert!(first.has_turn() && second.has_turn()); // called for each place, the quarantined one in vain
        let slot = take(&set).unwrap();
        first.waiting.served(slot.dyno().key, &set, Moment::START);
        assert!(second.has_turn() && second.waiting.is_first() && !third.woken());
    }
}
