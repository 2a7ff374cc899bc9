//! One router: `router_core::route` behind the order of calls in which the proxy makes them.
//!
//! - [`Router`]: its own table, its own view of every dyno's load.
//! - [`Request`]: a request on its way, with what it holds of the router.
//! - [`Placed`]: what came of looking for a dyno.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Wake},
    time::Duration,
};

use busbar_registry::{
    Address, AppRecord, DynoRecord, DynoState, Generation, NameError, Routing, WebFormation,
};
use fastrand::Rng;
use router_core::route::{
    Moment,
    admit::{Admission, Waiting, admit},
    app::App,
    balance::{Choice, choose},
    load::Slot,
    retry::{Attempts, ConnectFailure, Next},
    table::{Publisher, RouteTable, TableReader},
};

use super::Policy;

const HOST: &str = "app.example";
/// Dyno number 0 is here, the next one at the next address.
const FIRST: u32 = 0x0a00_0000;

/// One router.
pub(super) struct Router {
    table: TableReader,
    _publisher: Publisher,
    rng: Rng,
    /// Requests that wait in its queue, by their number.
    waiting: HashMap<u64, Box<Request>>,
    called: Arc<Called>,
}

/// A request on its way.
pub(super) struct Request {
    pub(super) number: u64,
    pub(super) router: usize,
    pub(super) arrived: Moment,
    /// What a dyno in good health needs for it.
    pub(super) service: Duration,
    /// Its place at the dyno, and since when it has it.
    pub(super) at: Option<(Slot, Moment)>,
    attempts: Attempts,
    waits: Option<Waiting>,
    admission: Admission,
}

/// What came of looking for a dyno.
pub(super) enum Placed {
    /// It is on its way to that dyno.
    At(usize, Box<Request>),
    /// It waits to be called, and looks again at the moment if there is one.
    Waits(Option<Moment>),
    /// All dynos it may try refused it.
    Failed,
}

impl Router {
    /// A router that knows `dynos` dynos of one app.
    ///
    /// # Errors
    /// None that happens: the names are well formed.
    pub(super) fn new(policy: Policy, dynos: u32, seed: u64) -> Result<Self, NameError> {
        let (table, mut publisher) = RouteTable::new();
        let records = (0..dynos).map(dyno_record).collect::<Result<_, _>>()?;
        publisher.replace_all(vec![app_record(policy.routing(), dynos)?], records);
        Ok(Self {
            table: table.reader(),
            _publisher: publisher,
            rng: Rng::with_seed(seed),
            waiting: HashMap::new(),
            called: Arc::default(),
        })
    }

    /// A request comes; `None` when it is not let in.
    pub(super) fn admit(
        &mut self,
        (router, number): (usize, u64),
        service: Duration,
        now: Moment,
    ) -> Option<Box<Request>> {
        let app = self.table.find(HOST)?;
        let admission = app.with_set(|set| admit(&app, set)).ok()?;
        let attempts = Attempts::default();
        Some(Box::new(Request {
            number,
            router,
            arrived: now,
            service,
            at: None,
            attempts,
            waits: None,
            admission,
        }))
    }

    /// Looks for a dyno, as the proxy does (`proxy/connect.rs`): choose; connect, or leave the dyno alone and try another
    /// one; else wait in the queue.
    pub(super) fn place(
        &mut self,
        mut request: Box<Request>,
        now: Moment,
        accepts: impl Fn(usize) -> bool,
    ) -> Placed {
        let app = Arc::clone(request.admission.app());
        loop {
            let set = app.set();
            let choice = self.choose(&app, &request, now);
            let all_away = matches!(choice, Choice::AllQuarantined { .. });
            let until = match choice {
                Choice::Taken(slot) => {
                    if let Some(place) = request.waits.take() {
                        place.served(slot.dyno().key, &set, now);
                    }
                    let dyno = slot.dyno();
                    let number = number(&dyno.address);
                    if accepts(number) {
                        dyno.load.reached();
                        request.at = Some((slot, now));
                        return Placed::At(number, request);
                    }
                    dyno.load.quarantine(now, set.routing.quarantine_ms.duration());
                    match request.attempts.failed(&set, dyno, ConnectFailure::Refused, now) {
                        Next::TryAnother => continue,
                        Next::GiveUp(_) => return Placed::Failed,
                    }
                }
                Choice::AllTried => return Placed::Failed,
                Choice::AllQuarantined { until } => Some(until),
                Choice::AllBusy { until } => Some(until).filter(|until| *until != Moment::NEVER),
                Choice::NoneUp => None,
            };
            if request.waits.is_none() {
                let Ok(place) = Waiting::join(&app, set.routing.queue_limit, None) else {
                    return Placed::Failed;
                };
                request.waits = Some(place);
            }
            // When a quarantine ends, the first in the queue looks; who comes after it is called.
            let until = until.filter(|_| all_away || request.waits.as_ref().is_some_and(Waiting::is_first));
            let waker = Arc::new(Call { number: request.number, called: Arc::clone(&self.called) }).into();
            let mut context = Context::from_waker(&waker);
            if let Some(Poll::Pending) = request.waits.as_mut().map(|place| place.poll_turn(&mut context)) {
                self.waiting.insert(request.number, request);
                return Placed::Waits(until);
            }
        }
    }

    fn choose(&mut self, app: &App, request: &Request, now: Moment) -> Choice {
        app.with_set(|set| {
            // Nobody overtakes those who wait for a free dyno.
            let queued = set.routing.concurrency_per_dyno.is_some() && !app.load.waits.is_empty();
            if queued && request.waits.is_none() {
                return Choice::AllBusy { until: Moment::NEVER };
            }
            choose(set, request.attempts.tried(), None, now, &mut self.rng)
        })
    }

    /// The next waiting request that was called.
    pub(super) fn next_called(&mut self) -> Option<Box<Request>> {
        loop {
            let number = self.called.lock().pop_front()?;
            // One that was placed meanwhile may have been called as well.
            if let Some(request) = self.waiting.remove(&number) {
                return Some(request);
            }
        }
    }

    /// That request, if it still waits.
    pub(super) fn take_waiting(&mut self, number: u64) -> Option<Box<Request>> {
        self.waiting.remove(&number)
    }

    /// How many requests wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many requests the router itself counts, at the app and at its dynos.
    #[cfg(test)]
    pub(super) fn counted(&mut self) -> (u32, u32) {
        let Some(app) = self.table.find(HOST) else { return (0, 0) };
        (app.load.in_flight(), app.set().dynos.iter().map(|dyno| dyno.load.in_flight()).sum())
    }
}

impl Request {
    /// The dyno has answered it.
    pub(super) fn answered(&self, now: Moment) {
        if let Some((slot, sent)) = &self.at {
            slot.dyno().load.answered(now.since(*sent), now);
        }
    }
}

/// Numbers of requests that were called.
#[derive(Default)]
struct Called(Mutex<VecDeque<u64>>);

impl Called {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a waiting request leaves in the router's queue.
struct Call {
    number: u64,
    called: Arc<Called>,
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.called.lock().push_back(self.number);
    }
}

fn number(address: &Address) -> usize {
    match address.tcp().map(|address| address.ip()) {
        Some(IpAddr::V4(ip)) => ip.to_bits().wrapping_sub(FIRST) as usize,
        Some(IpAddr::V6(_)) | None => usize::MAX,
    }
}

fn app_record(routing: Routing, dynos: u32) -> Result<AppRecord, NameError> {
    let web = WebFormation { quantity: dynos, ..WebFormation::default() };
    Ok(AppRecord {
        name: "app".parse()?,
        domains: vec![HOST.parse()?],
        catch_all: false,
        maintenance: false,
        routing,
        web,
    })
}

fn dyno_record(number: u32) -> Result<DynoRecord, NameError> {
    Ok(DynoRecord {
        app: "app".parse()?,
        dyno: format!("web.{}", number + 1).parse()?,
        address: (Ipv4Addr::from_bits(FIRST + number), 5000).into(),
        generation: Generation(1),
        state: DynoState::Up,
    })
}
