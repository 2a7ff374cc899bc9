//! Models of what all workers share, run through every interleaving by loom:
//! `RUSTFLAGS="--cfg busbar_loom" cargo test -p router-core --test loom --release`.
//!
//! - Limits: `admit` and `choose` never let in one too many, and every count returns to zero.
//! - Publish and retire: whoever has an old set counts where it counts, whoever takes a new one gets no retired dyno.
//! - The queue: no wake is lost (loom would report a deadlock), no place is given twice, whoever leaves hands its call on.
//!
//! What stands for arc-swap here, and what loom takes for sequential consistency: `src/sync.rs`. Every interleaving with at most
//! two, three or four preemptions is tried (two threads are preempted in vain hardly ever more often).
#![cfg(busbar_loom)]

use std::{num::NonZeroU32, sync::Arc};

use fastrand::Rng;
use loom::{
    future::block_on,
    model::Builder,
    sync::atomic::{AtomicU32, Ordering::SeqCst},
    thread,
};
use router_core::{
    registry::{AppName, AppRecord, DynoRecord, DynoState, Generation, Routing, WebFormation},
    route::{
        Moment,
        admit::{Refused, Waiting, admit},
        app::{App, DynoSet},
        balance::{Choice, choose},
        load::Slot,
        retry::Tried,
        table::{Publisher, RouteTable},
    },
};

fn model(preemptions: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 50_000;
    builder.check(run);
}

fn name() -> AppName {
    "shop".parse().unwrap()
}

fn dyno(n: u32, generation: u64) -> DynoRecord {
    let address = ([127, 0, 0, 1], 5000 + u16::try_from(n).unwrap()).into();
    DynoRecord::up(name(), format!("web.{n}").parse().unwrap(), address, Generation(generation))
}

/// The app `shop` with `web.1` to `web.n`.
fn shop(n: u32, routing: impl FnOnce(&mut Routing)) -> (Publisher, Arc<App>) {
    let (_table, mut publisher) = RouteTable::new();
    let mut record = AppRecord::new(name(), []);
    record.web = WebFormation { quantity: 1, starting: 1, crashed: 0 };
    routing(&mut record.routing);
    publisher.put_app(record);
    for n in 1..=n {
        publisher.put_dyno(dyno(n, n.into()));
    }
    let app = Arc::clone(publisher.app(&name()).unwrap());
    (publisher, app)
}

fn one_at_a_time(routing: &mut Routing) {
    routing.concurrency_per_dyno = NonZeroU32::new(1);
}

fn take(set: &DynoSet) -> Option<Slot> {
    match choose(set, Tried::none(), None, Moment::START, &mut Rng::with_seed(1)) {
        Choice::Taken(slot) => Some(slot),
        _ => None,
    }
}

/// A place at a dyno, waited for as `proxy/connect.rs` does.
fn served(app: &App) -> Slot {
    let mut waiting: Option<Waiting> = None;
    loop {
        let set = app.set();
        let may_choose = waiting.is_some() || app.load.waits.is_empty();
        if may_choose && let Some(slot) = take(&set) {
            if let Some(place) = waiting {
                place.served(slot.dyno().key, &set, Moment::START);
            }
            return slot;
        }
        drop(set);
        let mut place = waiting.unwrap_or_else(|| Waiting::join(app, 10, None).unwrap());
        block_on(place.turn());
        waiting = Some(place);
    }
}

fn join<T>(threads: [thread::JoinHandle<T>; 2]) -> [T; 2] {
    threads.map(|thread| thread.join().unwrap())
}

/// How many are inside; never more than `most`.
struct Room {
    inside: AtomicU32,
    most: u32,
}

impl Room {
    fn of(most: u32) -> Arc<Self> {
        Arc::new(Self { inside: AtomicU32::new(0), most })
    }
    fn visit(&self) {
        assert!(self.inside.fetch_add(1, SeqCst) < self.most, "one too many");
        thread::yield_now();
        self.inside.fetch_sub(1, SeqCst);
    }
}

#[test]
fn racing_requests_never_exceed_the_limit_of_an_app() {
    model(4, || {
        let (_publisher, app) = shop(1, |routing| routing.request_limit = NonZeroU32::new(1));
        let room = Room::of(1);
        let request = {
            let (app, room) = (Arc::clone(&app), Arc::clone(&room));
            move || match admit(&app, &app.set()) {
                Ok(_admission) => {
                    room.visit();
                    true
                }
                Err(why) => {
                    assert_eq!(why, Refused::RequestLimit);
                    false
                }
            }
        };
        let others = [thread::spawn(request.clone()), thread::spawn(request.clone())];
        let mine = request();
        let admitted = join(others);
        assert!(mine || admitted.contains(&true), "somebody gets in");
        assert_eq!(app.load.in_flight(), 0);
    });
}

#[test]
fn racing_requests_never_exceed_the_concurrency_of_a_dyno() {
    model(2, || {
        let (_publisher, app) = shop(2, one_at_a_time);
        let room = Room::of(2);
        let request = {
            let (app, room) = (Arc::clone(&app), Arc::clone(&room));
            move || {
                let slot = take(&app.set());
                if slot.is_some() {
                    room.visit();
                }
                slot.is_some()
            }
        };
        let others = [thread::spawn(request.clone()), thread::spawn(request.clone())];
        request();
        join(others);
        assert!(app.set().dynos.iter().all(|dyno| dyno.load.in_flight() == 0));
    });
}

#[test]
fn a_request_with_an_old_set_counts_at_the_retired_dyno_until_it_ends() {
    model(3, || {
        let (mut publisher, app) = shop(1, |_| {});
        let retired = Arc::clone(&app.set().dynos[0]);
        let requests = [(); 2].map(|()| {
            let (app, retired) = (Arc::clone(&app), Arc::clone(&retired));
            thread::spawn(move || {
                let set = app.set();
                thread::yield_now(); // here it may be retired
                let slot = take(&set).unwrap();
                assert!(slot.dyno().load.in_flight() >= 1);
                let is_old = Arc::ptr_eq(slot.dyno(), &retired);
                assert_eq!(is_old, slot.dyno().generation == Generation(1));
                assert_eq!(is_old, Arc::ptr_eq(&set.dynos[0], &retired));
            })
        });
        // The same name and address, a new process behind it.
        publisher.put_dyno(dyno(1, 9));
        let set = app.set();
        let fresh = take(&set).unwrap();
        assert_eq!(fresh.dyno().generation, Generation(9), "a retired dyno gets no new request");
        join(requests);
        assert_eq!(retired.load.in_flight(), 0, "it is drained");
        assert_eq!(fresh.dyno().load.in_flight(), 1);
        drop(fresh);
        assert_eq!(set.dynos[0].load.in_flight(), 0);
    });
}

#[test]
fn a_dyno_that_drains_is_seen_drained_exactly_when_its_last_request_has_ended() {
    model(3, || {
        let (mut publisher, app) = shop(1, |_| {});
        let draining = Arc::clone(&app.set().dynos[0]);
        let slot = take(&app.set()).unwrap();
        let ended = Arc::new(AtomicU32::new(0));
        let request = {
            let ended = Arc::clone(&ended);
            thread::spawn(move || {
                ended.store(1, SeqCst);
                drop(slot);
            })
        };
        publisher.put_dyno(DynoRecord { state: DynoState::Draining, ..dyno(1, 1) });
        assert!(app.set().dynos.is_empty());
        let same = publisher.dyno(&name(), &draining.name, Generation(1)).unwrap();
        assert!(Arc::ptr_eq(same, &draining), "it counts where it always did");
        while draining.load.in_flight() > 0 {
            thread::yield_now();
        }
        // Giving the place back is a release, so whoever then looks sees what came before it.
        loom::sync::atomic::fence(SeqCst);
        assert_eq!(ended.load(SeqCst), 1, "drained before its request had ended");
        request.join().unwrap();
        assert_eq!(draining.load.in_flight(), 0);
    });
}

#[test]
fn no_wake_is_lost_and_no_place_is_given_twice() {
    model(3, || {
        let (_publisher, app) = shop(1, one_at_a_time);
        let room = Room::of(1);
        let request = {
            let (app, room) = (Arc::clone(&app), Arc::clone(&room));
            move || {
                let _slot = served(&app);
                room.visit();
            }
        };
        let others = [thread::spawn(request.clone()), thread::spawn(request.clone())];
        join(others);
        assert_eq!((app.load.waits.len(), app.set().dynos[0].load.in_flight()), (0, 0));
    });
}

#[test]
fn a_place_given_back_while_two_join_serves_both() {
    model(3, || {
        let (_publisher, app) = shop(1, one_at_a_time);
        let slot = take(&app.set()).unwrap();
        let others = [(); 2].map(|()| {
            let app = Arc::clone(&app);
            thread::spawn(move || drop(served(&app)))
        });
        drop(slot);
        join(others);
        assert_eq!((app.load.waits.len(), app.set().dynos[0].load.in_flight()), (0, 0));
    });
}

#[test]
fn who_leaves_the_queue_at_any_moment_hands_its_call_on() {
    model(3, || {
        let (_publisher, app) = shop(1, one_at_a_time);
        let slot = take(&app.set()).unwrap();
        let leaver = Waiting::join(&app, 10, None).unwrap();
        let other = {
            let app = Arc::clone(&app);
            thread::spawn(move || drop(served(&app)))
        };
        let giver = thread::spawn(move || drop(slot));
        drop(leaver); // called or not, with its turn unused
        giver.join().unwrap();
        other.join().unwrap();
        assert_eq!(app.load.waits.len(), 0);
    });
}

#[test]
fn a_dyno_that_is_published_while_a_request_joins_is_found() {
    model(4, || {
        let (mut publisher, app) = shop(0, |_| {});
        let request = {
            let app = Arc::clone(&app);
            thread::spawn(move || assert_eq!(served(&app).dyno().generation, Generation(1)))
        };
        publisher.put_dyno(dyno(1, 1));
        request.join().unwrap();
        assert_eq!(app.load.waits.len(), 0);
    });
}
