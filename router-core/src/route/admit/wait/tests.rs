//! The queue alone, and under threads that come, leave and take places at the same time.

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
    let (mut first, mut second, third) = (Waiter::asleep(&app), Waiter::asleep(&app), Waiter::asleep(&app));
    assert!(first.waiting.is_first() && !second.waiting.is_first());
    slots[1].dyno().load.quarantine(Moment::START, Duration::from_secs(5));
    drop(slots);
    assert!(first.has_turn() && second.has_turn()); // called for each place, the quarantined one in vain
    let slot = take(&set).unwrap();
    first.waiting.served(slot.dyno().key, &set, Moment::START);
    assert!(second.has_turn() && second.waiting.is_first() && !third.woken());
}
