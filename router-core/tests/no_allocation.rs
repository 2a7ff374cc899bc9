//! The path of every request through `route/` allocates nothing, however big the table is.
#![expect(unsafe_code, reason = "a global allocator is an unsafe trait; this one only counts and passes on")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test says what it needs by failing")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    hint::black_box,
};

use busbar_registry::{AppName, AppRecord, Balance, DynoRecord, DynoState, Generation, Routing};
use fastrand::Rng;
use router_core::route::{
    Moment,
    admit::admit,
    balance::{Choice, choose},
    host::Host,
    retry::{Attempts, ConnectFailure},
    table::{Publisher, RouteTable},
};

struct Counting;

thread_local! {
    /// Of this thread only, so that other tests do not count.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator unchanged; counting touches no memory it manages.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the promises of `dealloc`, and the block came from `System`.
        unsafe { System.dealloc(block, layout) }
    }
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the promises of `realloc`, and the block came from `System`.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(deed: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    deed();
    ALLOCATIONS.get() - before
}

const POLICIES: [Balance; 6] = [
    Balance::Least,
    Balance::P2c,
    Balance::PeakEwma,
    Balance::RoundRobin,
    Balance::Random,
    Balance::Rendezvous,
];

/// 5000 apps with an exact and a wildcard domain and three dynos each, all policies among them.
fn big_table() -> (RouteTable, Publisher) {
    let (table, mut publisher) = RouteTable::new();
    let (mut apps, mut dynos) = (Vec::new(), Vec::new());
    for n in 0..5_000_u32 {
        let name: AppName = format!("app-{n}").parse().unwrap();
        let domains = [format!("www.app-{n}.example"), format!("*.app-{n}.example")];
        apps.push(AppRecord {
            name: name.clone(),
            domains: domains.iter().map(|domain| domain.parse().unwrap()).collect(),
            catch_all: n == 0,
            maintenance: false,
            routing: Routing { balance: POLICIES[n as usize % 6], ..Routing::default() },
            web: Default::default(),
        });
        dynos.extend((1..=3).map(|index| DynoRecord {
            app: name.clone(),
            dyno: format!("web.{index}").parse().unwrap(),
            address: ([127, 0, 0, 1], 5000).into(),
            generation: Generation(u64::from(n)),
            state: DynoState::Up,
        }));
    }
    publisher.replace_all(apps, dynos);
    (table, publisher)
}

#[test]
fn host_find_admit_choose_and_finish_allocate_nothing() {
    let (table, _publisher) = big_table();
    let mut reader = table.reader();
    let mut rng = Rng::with_seed(1);
    let spellings: Vec<_> = (0..6_000)
        .flat_map(|n| {
            [format!("WWW.app-{n}.example.:443"), format!("any.APP-{n}.example"), format!("{n}.none")]
        })
        .collect();
    let mut request = |raw: &str| {
        let host = Host::parse(raw.as_bytes()).unwrap();
        let app = reader.find(host.as_str()).unwrap();
        let admission = app.with_set(|set| admit(&app, set)).unwrap();
        let mut attempts = Attempts::default();
        for _ in 0..2 {
            let key = Some(rng.u64(..));
            let choice = app.with_set(|set| choose(set, attempts.tried(), key, Moment::START, &mut rng));
            let Choice::Taken(slot) = choice else { panic!("{choice:?}") };
            black_box(
                app.with_set(|set| attempts.failed(set, slot.dyno(), ConnectFailure::Refused, Moment::START)),
            );
        }
        drop(admission);
    };
    request(&spellings[0]); // arc-swap keeps something per thread
    assert_eq!(allocations(|| spellings.iter().for_each(|raw| request(raw))), 0);
    assert!(allocations(|| drop(black_box(Box::new(1)))) > 0, "the counter counts");
}
