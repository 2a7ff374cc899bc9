//! Time, events, what is published, and the faults.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    fmt,
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use router_core::{
    registry::{
        AppName, AppRecord, Balance, DynoRecord, DynoState, Generation, Millis, Routing, WebFormation,
    },
    route::{
        Moment,
        app::App,
        dyno::{Dyno, DynoKey},
        table::{Applied, Publisher, RouteTable, TableReader},
    },
};

use crate::request::Request;

/// How long clients come and things break; then all that is under way comes to its end.
const ACTIVE: Duration = Duration::from_secs(20);
pub(crate) const APPS: usize = 3;
const MOST_DYNOS: u32 = 5;

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A request comes.
    Arrival,
    /// Something changes that nobody asked for.
    Churn,
    /// The time of a request is up, or it may look again.
    Timer { request: u64, version: u64 },
    /// The dyno of a request does something.
    Dyno { request: u64, version: u64 },
    /// Its client leaves.
    Leave { request: u64 },
}

/// What a dyno's process is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    Well,
    /// Answers nothing.
    Silent,
    /// Closes without a byte.
    Closes,
    /// Closes in mid-response.
    BreaksOff,
    /// Stops in mid-response.
    Stalls,
    /// Refuses connections.
    Refuses,
    /// Takes no connection.
    Unreachable,
}

/// A process that was registered at some time.
pub(crate) struct Process {
    pub(crate) dyno: Arc<Dyno>,
    pub(crate) nature: Nature,
    /// Requests that have a place there.
    pub(crate) places: u32,
    /// The latest moment until which the router leaves it alone for what it did.
    pub(crate) sick_until: Moment,
    /// In the published set of its app.
    pub(crate) is_up: bool,
    typical: Duration,
}

impl Process {
    /// How long it takes for one thing.
    pub(crate) fn takes(&self, rng: &mut Rng) -> Duration {
        self.typical.mul_f64(0.5 + rng.f64())
    }
}

/// An app as the registry has it.
struct Known {
    record: AppRecord,
    /// By number; whether it is up, or drains.
    dynos: BTreeMap<u32, DynoRecord>,
    is_published: bool,
}

/// Everything there is.
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: Moment,
    events: BinaryHeap<Reverse<(Moment, u64, Event)>>,
    scheduled: u64,
    publisher: Publisher,
    pub(crate) table: TableReader,
    known: Vec<Known>,
    generation: u64,
    pub(crate) processes: BTreeMap<DynoKey, Process>,
    /// All that were ever published.
    pub(crate) apps: Vec<Arc<App>>,
    pub(crate) requests: BTreeMap<u64, Request>,
    next_request: u64,
    pub(crate) woken: Arc<Mutex<BTreeSet<u64>>>,
    ends: BTreeMap<String, u32>,
    trace: u64,
    aloud: bool,
}

impl World {
    pub(crate) fn new(seed: u64, aloud: bool) -> Self {
        let (table, publisher) = RouteTable::new();
        let mut world = Self {
            rng: Rng::with_seed(seed),
            now: Moment::from_micros(1),
            events: BinaryHeap::new(),
            scheduled: 0,
            publisher,
            table: table.reader(),
            known: Vec::new(),
            generation: 0,
            processes: BTreeMap::new(),
            apps: Vec::new(),
            requests: BTreeMap::new(),
            next_request: 0,
            woken: Arc::default(),
            ends: BTreeMap::new(),
            trace: 0xcbf2_9ce4_8422_2325,
            aloud,
        };
        for app in 0..APPS {
            let mut record = AppRecord::new(name(app), [format!("app-{app}.example").parse().unwrap()]);
            record.routing = routing(&mut world.rng);
            record.web = WebFormation { quantity: 2, starting: 1, crashed: 0 };
            world.known.push(Known { record, dynos: BTreeMap::new(), is_published: true });
            world.put_app(app);
            (0..world.rng.u32(1..=MOST_DYNOS)).for_each(|n| world.boot(app, n + 1));
        }
        world.at(world.now, Event::Arrival);
        world.at(world.now, Event::Churn);
        world
    }

    /// Runs to the end; a hash of everything that happened, and how often what ended a request.
    pub(crate) fn run(mut self) -> (u64, BTreeMap<String, u32>) {
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            assert!(at >= self.now, "time goes on");
            self.now = at;
            self.happen(event);
            self.wake();
            self.check();
            if self.events.peek().is_none_or(|Reverse((next, ..))| *next > at) {
                self.check_that_nobody_waits_in_vain();
            }
        }
        self.check_that_all_is_over();
        (self.trace, self.ends)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival => {
                let request = self.next_request;
                self.next_request += 1;
                let app = self.rng.usize(..=APPS);
                self.begin(request, app);
                if self.rng.u8(..12) == 0 {
                    self.after(1500, Event::Leave { request });
                }
                // Now and then a rush.
                let pause = if self.rng.u8(..3) == 0 { 300 } else { 5 };
                self.again(pause, Event::Arrival);
            }
            Event::Churn => {
                self.churn();
                self.again(400, Event::Churn);
            }
            Event::Timer { request, version } => self.timer(request, version),
            Event::Dyno { request, version } => self.dyno_acts(request, version),
            Event::Leave { request } => self.leave(request),
        }
    }

    /// Whoever was woken looks, until nobody is.
    fn wake(&mut self) {
        loop {
            let first = self.woken.lock().unwrap().pop_first();
            let Some(request) = first else { return };
            self.woken_up(request);
        }
    }

    pub(crate) fn at(&mut self, when: Moment, event: Event) {
        if when != Moment::NEVER {
            self.scheduled += 1;
            self.events.push(Reverse((when.max(self.now), self.scheduled, event)));
        }
    }

    fn after(&mut self, up_to_ms: u64, event: Event) {
        let micros = self.rng.u64(..up_to_ms * 1000);
        self.at(self.now + Duration::from_micros(micros), event);
    }

    fn again(&mut self, up_to_ms: u64, event: Event) {
        if self.now < Moment::START + ACTIVE {
            self.after(up_to_ms, event);
        }
    }

    /// Takes something into the trace.
    pub(crate) fn note(&mut self, what: fmt::Arguments<'_>) {
        let line = format!("{:?} {what}", self.now);
        if self.aloud {
            eprintln!("{line}");
        }
        for byte in line.bytes() {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(crate) fn count(&mut self, end: &str) {
        *self.ends.entry(end.to_owned()).or_default() += 1;
    }

    /// The dynos that are up, as the registry knows them: what the published set must be.
    pub(crate) fn expected(&self, app: usize) -> Option<Vec<(u32, Generation)>> {
        let known = self.known.get(app).filter(|known| known.is_published)?;
        let up = known.dynos.iter().filter(|(_, dyno)| dyno.state == DynoState::Up);
        Some(up.map(|(n, dyno)| (*n, dyno.generation)).collect())
    }

    pub(crate) fn published(&self, app: usize) -> Option<Arc<App>> {
        self.publisher.app(&name(app)).map(Arc::clone)
    }

    fn churn(&mut self) {
        let (app, n) = (self.rng.usize(..APPS), self.rng.u32(1..=MOST_DYNOS));
        match self.rng.u8(..13) {
            0..=3 => self.boot(app, n),
            4 => self.drain(app, n),
            5 | 6 => self.remove(app, n),
            7 => self.die(app, n),
            8 => self.late_news(app, n),
            9 => self.other_settings(app),
            10 => self.other_formation(app),
            11 => self.all_anew(app),
            _ => self.change_its_nature(app, n),
        }
        self.learn();
    }

    /// A new process, perhaps under the name and at the address of another one.
    fn boot(&mut self, app: usize, n: u32) {
        self.generation += 1;
        let address = ([127, 0, 0, 1], u16::try_from(app).unwrap() * 100 + u16::try_from(n).unwrap()).into();
        let generation = Generation(self.generation);
        let record = DynoRecord::up(name(app), format!("web.{n}").parse().unwrap(), address, generation);
        self.note(format_args!("app-{app} web.{n} boots, {generation}"));
        self.known[app].dynos.insert(n, record.clone());
        if self.known[app].is_published {
            assert_eq!(self.publisher.put_dyno(record), Applied::Published);
        } else {
            assert_eq!(self.publisher.put_dyno(record), Applied::UnknownApp);
        }
        self.learn();
    }

    fn drain(&mut self, app: usize, n: u32) {
        let Some(dyno) = self.known[app].dynos.get_mut(&n) else { return };
        dyno.state = DynoState::Draining;
        let record = dyno.clone();
        self.note(format_args!("app-{app} web.{n} drains"));
        self.publisher.put_dyno(record);
    }

    fn remove(&mut self, app: usize, n: u32) {
        let Some(dyno) = self.known[app].dynos.remove(&n) else { return };
        self.note(format_args!("app-{app} web.{n} is removed"));
        self.publisher.remove_dyno(&dyno.app, &dyno.dyno, dyno.generation);
    }

    /// The process dies; nobody knows yet.
    fn die(&mut self, app: usize, n: u32) {
        let Some(key) = self.key(app, n) else { return };
        self.note(format_args!("app-{app} web.{n} dies"));
        self.processes.get_mut(&key).unwrap().nature = Nature::Refuses;
        self.cut_off(key);
    }

    fn change_its_nature(&mut self, app: usize, n: u32) {
        let Some(key) = self.key(app, n) else { return };
        let nature = nature(&mut self.rng);
        self.note(format_args!("app-{app} web.{n} is {nature:?}"));
        self.processes.get_mut(&key).unwrap().nature = nature;
    }

    fn key(&self, app: usize, n: u32) -> Option<DynoKey> {
        let dyno = self.known[app].dynos.get(&n)?;
        let key = self.publisher.dyno(&dyno.app, &dyno.dyno, dyno.generation)?.key;
        self.processes.contains_key(&key).then_some(key) // if it was ever up
    }

    /// What concerns an older generation changes nothing.
    fn late_news(&mut self, app: usize, n: u32) {
        let Some(dyno) = self.known[app].dynos.get(&n).filter(|_| self.known[app].is_published) else {
            return;
        };
        let old = DynoRecord { generation: Generation(dyno.generation.0 - 1), ..dyno.clone() };
        assert_eq!(self.publisher.remove_dyno(&old.app, &old.dyno, old.generation), Applied::Fenced);
        assert_eq!(self.publisher.put_dyno(old), Applied::Fenced);
    }

    fn other_settings(&mut self, app: usize) {
        self.known[app].record.routing = routing(&mut self.rng);
        self.known[app].record.maintenance = self.rng.u8(..6) == 0;
        self.note(format_args!("app-{app} has other settings"));
        self.put_app(app);
    }

    fn other_formation(&mut self, app: usize) {
        let quantity = self.rng.u32(..4);
        let crashed = self.rng.u32(..=quantity);
        let starting = self.rng.u32(..=quantity - crashed);
        self.known[app].record.web = WebFormation { quantity, starting, crashed };
        self.note(format_args!("app-{app} is to have {quantity}, {starting} start, {crashed} crashed"));
        if self.rng.u8(..3) == 0 {
            (1..=MOST_DYNOS).for_each(|n| self.remove(app, n)); // all of it goes
        }
        self.put_app(app);
    }

    /// The watch was interrupted: everything is published at once, and perhaps the app is gone, or back.
    fn all_anew(&mut self, app: usize) {
        let is_published = &mut self.known[app].is_published;
        *is_published = !*is_published || self.rng.bool();
        self.note(format_args!("all anew"));
        let there = || self.known.iter().filter(|known| known.is_published);
        let records = there().map(|known| known.record.clone()).collect();
        let dynos = there().flat_map(|known| known.dynos.values().cloned()).collect();
        self.publisher.replace_all(records, dynos);
    }

    fn put_app(&mut self, app: usize) {
        if self.known[app].is_published {
            let record = self.known[app].record.clone();
            self.publisher.put_app(record);
        }
        self.learn();
    }

    /// Takes down which apps and dynos are published now.
    fn learn(&mut self) {
        self.processes.values_mut().for_each(|process| process.is_up = false);
        let published: Vec<_> = (0..APPS).filter_map(|app| self.published(app)).collect();
        for app in published {
            if !self.apps.iter().any(|known| Arc::ptr_eq(known, &app)) {
                self.apps.push(Arc::clone(&app));
            }
            for dyno in &app.set().dynos {
                let rng = &mut self.rng;
                let process = self.processes.entry(dyno.key).or_insert_with(|| Process {
                    dyno: Arc::clone(dyno),
                    nature: nature(rng),
                    places: 0,
                    sick_until: Moment::START,
                    is_up: true,
                    typical: Duration::from_millis(rng.u64(1..200)),
                });
                process.is_up = true;
            }
        }
    }
}

fn name(app: usize) -> AppName {
    format!("app-{app}").parse().unwrap()
}

/// Most are well.
fn nature(rng: &mut Rng) -> Nature {
    use Nature::{BreaksOff, Closes, Refuses, Silent, Stalls, Unreachable, Well};
    match rng.usize(..16) {
        0 => Silent,
        1 => Closes,
        2 => BreaksOff,
        3 => Stalls,
        4 | 5 => Refuses,
        6 => Unreachable,
        _ => Well,
    }
}

/// Settings whose limits are reached.
fn routing(rng: &mut Rng) -> Routing {
    let mut maybe = |most| NonZeroU32::new(rng.u32(..=most));
    let (concurrency_per_dyno, eject_after, limit) = (maybe(2), maybe(3), maybe(30));
    let balances = [
        Balance::Least,
        Balance::P2c,
        Balance::PeakEwma,
        Balance::RoundRobin,
        Balance::Random,
        Balance::Rendezvous,
    ];
    Routing {
        balance: balances[rng.usize(..balances.len())],
        session_affinity: rng.bool(),
        slow_start_ms: Millis(rng.u64(..2) * 500),
        concurrency_per_dyno,
        queue_limit: rng.u32(1..20),
        in_flight_per_dyno: rng.u32(2..20),
        request_limit: limit.filter(|_| rng.bool()),
        connect_timeout_ms: Millis(rng.u64(50..400)),
        connect_attempts: rng.u32(..6),
        quarantine_ms: Millis(rng.u64(..1500)),
        eject_after,
        eject_for_ms: Millis(rng.u64(100..1000)),
        eject_at_most_percent: rng.u32(..=100),
        retry_budget_percent: rng.u32(..50),
        retry_budget_per_second: rng.u32(..10),
        first_byte_timeout_ms: Millis(rng.u64(300..1500)),
        idle_timeout_ms: Millis(rng.u64(300..1500)),
        total_timeout_ms: (rng.u8(..4) == 0).then(|| Millis(rng.u64(500..3000))),
        hold_timeout_ms: Millis(rng.u64(100..2000)),
        ..Routing::default()
    }
}
