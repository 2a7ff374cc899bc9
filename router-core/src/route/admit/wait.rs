//! The queue of requests that wait for a dyno: first come, first served, bounded, cancel safe.
//!
//! - [`Waiting`]: one request's place in it; a future-like thing without a runtime.
//! - [`WaitList`]: an app's queue. While it is empty it costs one atomic load per finished request.
//!
//! # No wake is lost
//!
//! *A place given back while somebody waits calls somebody.* `Slot::drop` does `in_flight -= 1` (S1), then reads `waiting`
//! (S2); joining does `waiting += 1` (J1), then a fence (J2), and only then is the dyno chosen, reading `in_flight` (J3).
//! S1, S2, J1, J2 are sequentially consistent, so they have one order. If J3 does not see S1, then J2 is before S1 in
//! it, hence J1 before S2: the drop sees the waiter and calls it. The publisher's new set is S1 in the same way
//! (swap, fence, read), with the set in place of the count.
//!
//! *A call is not lost in a waiter.* `called` stays set until [`Waiting::poll_turn`] consumes it under the lock, and a call
//! between a turn that failed and the next poll finds `called` unset, sets it, and that poll is ready at once. A waiter
//! that leaves with a turn or a call in hand calls the next one; one that got its place does so when there is more to
//! get ([`Waiting::served`]). So while there is both a free place and a waiter, some waiter is called or has its turn.
//!
//! *Exception:* a dyno that merely leaves quarantine calls nobody. Its place is found by the next waiter called.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::SeqCst, fence},
    },
    task::{Context, Poll, Waker},
};

use super::Refused;
use crate::route::{
    Moment,
    app::{App, DynoSet},
    balance::Field,
    load::AppLoad,
    retry::Tried,
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
    /// It may choose a dyno, and does not know yet.
    called: bool,
    waker: Option<Waker>,
}

impl Place {
    /// Calls it; gives the waker to wake once the lock is free.
    fn call(&mut self) -> Option<Waker> {
        self.called = true;
        self.waker.take()
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

    /// Calls the first one that is not called yet.
    pub(in crate::route) fn call_next(&self) {
        if self.is_empty() {
            return;
        }
        let waker = self.lock().places.iter_mut().find(|place| !place.called).and_then(Place::call);
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
        let wakers: Vec<_> = self.lock().places.iter_mut().filter_map(Place::call).collect();
        wakers.into_iter().for_each(Waker::wake);
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
    on_turn: bool,
}

impl Waiting {
    /// Joins the end of the app's queue. If that is also its beginning, the first turn is at once, because what was
    /// found before may no longer hold.
    ///
    /// # Errors
    /// [`Refused::BacklogTooDeep`] when `limit` requests wait already.
    pub fn join(app: &App, limit: u32) -> Result<Self, Refused> {
        let load = Arc::clone(&app.load);
        let ticket = {
            let mut queue = load.waits.lock();
            let waiting = queue.places.len();
            if u32::try_from(waiting).is_ok_and(|waiting| waiting >= limit) {
                return Err(Refused::BacklogTooDeep);
            }
            let ticket = queue.next_ticket;
            queue.next_ticket += 1;
            queue.places.push_back(Place { ticket, called: waiting == 0, waker: None });
            load.waits.waiting.fetch_add(1, SeqCst);
            ticket
        };
        fence(SeqCst);
        Ok(Self { load, ticket, on_turn: false })
    }

    /// Ready when it is this request's turn to choose; each turn is told once. Polling again means that choosing found
    /// nothing.
    pub fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // Cloned, and its predecessor dropped, outside the lock: a waker's code is somebody else's.
        let mut waker = Some(context.waker().clone());
        let mut queue = self.load.waits.lock();
        let place = queue.find(self.ticket).and_then(|at| queue.places.get_mut(at));
        self.on_turn = place.is_none_or(|place| {
            std::mem::swap(&mut place.waker, &mut waker);
            std::mem::take(&mut place.called)
        });
        drop(queue);
        if self.on_turn { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The same as a future.
    ///
    /// # Cancel safety
    /// A dropped call changes nothing: the place in the queue, and a turn not yet told, stay.
    pub async fn turn(&mut self) {
        poll_fn(|context| self.poll_turn(context)).await;
    }

    /// It got a place at a dyno of `set`. Leaves the queue, and calls the next one only if there is more to get, which
    /// saves a vain wake for each request of a full app.
    pub fn served(mut self, set: &DynoSet, now: Moment) {
        let called = self.leave();
        self.on_turn = false;
        if called || (!self.load.waits.is_empty() && Field::new(set, Tried::none(), now).any_free()) {
            self.load.waits.call_next();
        }
    }

    /// Leaves the queue, once; says whether it takes a call along.
    fn leave(&mut self) -> bool {
        let mut queue = self.load.waits.lock();
        let place = queue.find(self.ticket).and_then(|at| queue.places.remove(at));
        if place.is_some() {
            self.load.waits.waiting.fetch_sub(1, SeqCst);
        }
        drop(queue);
        place.is_some_and(|place| place.called)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.leave() || self.on_turn {
            self.load.waits.call_next();
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
        balance::{Choice, choose},
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
            Self { waiting: Waiting::join(app, 10).unwrap(), woken: Arc::default() }
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
        first.waiting.served(&set, Moment::START);
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
        let _slot = take(&set).unwrap();
        let later = Moment::START + Duration::from_secs(6); // web.2 left quarantine, and nobody was called for that
        first.waiting.served(&set, later);
        assert!(second.woken());
    }

    #[test]
    fn the_queue_is_bounded() {
        let (_set, app) = one_at_a_time(1);
        let first = Waiting::join(&app, 1).unwrap();
        assert_eq!(Waiting::join(&app, 1).unwrap_err(), Refused::BacklogTooDeep);
        drop(first);
        assert!(Waiting::join(&app, 1).is_ok());
        assert!(Waiting::join(&app, 0).is_err());
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

    fn request(app: &App, rng: &mut Rng) -> Option<Slot> {
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
            let choice = if overtake {
                Choice::AllBusy
            } else {
                choose(&set, Tried::none(), None, Moment::START, rng)
            };
            match choice {
                Choice::Taken(slot) => {
                    if let Some(waiting) = waiting {
                        waiting.served(&set, Moment::START);
                    }
                    return Some(slot);
                }
                Choice::AllBusy if waiting.is_none() => waiting = Some(Waiting::join(app, 100).unwrap()),
                Choice::AllBusy => {}
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn no_wake_is_lost_among_threads() {
        let (set, app) = one_at_a_time(2);
        thread::scope(|scope| {
            for seed in 0..8 {
                let app = &app;
                scope.spawn(move || {
                    let mut rng = Rng::with_seed(seed);
                    for _ in 0..3_000 {
                        let slot = request(app, &mut rng);
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
}
