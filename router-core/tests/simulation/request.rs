//! One request's way, as `proxy/` goes it.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker},
};

use router_core::route::{
    Fault, Moment, RequestClock,
    admit::{self, Admission, Refused, Verdict, Waiting, admit},
    affinity::Ticket,
    app::{App, DynoSet},
    balance::{Choice, choose, session},
    deadline::Hold,
    dyno::{Dyno, DynoKey},
    eject,
    load::Slot,
    retry::{Attempts, ConnectFailure, Next},
};

use crate::world::{Event, Nature, World};

/// A request that was let in.
pub(crate) struct Request {
    pub(crate) app: Arc<App>,
    _admission: Admission,
    pub(crate) clock: RequestClock,
    began: Moment,
    /// As at the beginning.
    hold: std::time::Duration,
    pub(crate) attempts: Attempts,
    ticket: Option<Ticket>,
    /// Which connects failed so far.
    refused: bool,
    timed_out: bool,
    /// What was scheduled for an earlier phase is void.
    version: u64,
    pub(crate) phase: Phase,
}

pub(crate) enum Phase {
    Deciding,
    Waiting { place: Waiting, hold: Hold, until: Moment, wants: Option<DynoKey> },
    Connecting { slot: Slot, set: Arc<DynoSet> },
    Exchange { slot: Slot, begun: bool },
}

struct Bell {
    request: u64,
    woken: Arc<Mutex<BTreeSet<u64>>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.woken.lock().unwrap().insert(self.request);
    }
}

impl World {
    /// A request for that app comes. The last one of all is nobody's.
    pub(crate) fn begin(&mut self, id: u64, app: usize) {
        let found = self.table.find(&format!("app-{app}.example"));
        assert_eq!(found.is_some(), self.expected(app).is_some(), "the host of app-{app}");
        let Some(app) = found else { return self.over(id, Some(Fault::UnknownHost)) };
        let set = app.set();
        if set.maintenance {
            return self.over(id, Some(Fault::Maintenance));
        }
        let (before, dynos) = (app.load.in_flight(), u32::try_from(set.dynos.len()).unwrap());
        let backlog = set.routing.in_flight_per_dyno * dynos;
        let limit = set.routing.request_limit.map_or(u32::MAX, |limit| limit.get());
        let admission = match admit(&app, &set) {
            Ok(admission) => admission,
            Err(why) => {
                match why {
                    Refused::BacklogTooDeep => assert!(dynos > 0 && before >= backlog),
                    Refused::RequestLimit => assert!(before >= limit),
                    Refused::NoWebProcesses => assert!(dynos == 0 && set.web.quantity == 0),
                    Refused::Crashed => assert!(dynos == 0 && set.web.crashed >= set.web.quantity),
                }
                return self.over(id, Some(fault_of(why)));
            }
        };
        assert!(before < limit && (dynos == 0 || before < backlog), "one too many was let in");
        let named = set.dynos.get(self.rng.usize(..=set.dynos.len()));
        let ticket = named.filter(|_| set.routing.session_affinity).map(|dyno| dyno.ticket);
        let request = Request {
            clock: RequestClock::new(&set.routing, self.now),
            began: self.now,
            hold: set.routing.hold_timeout_ms.duration(),
            attempts: Attempts::default(),
            ticket,
            refused: false,
            timed_out: false,
            version: 0,
            phase: Phase::Deciding,
            _admission: admission,
            app,
        };
        self.look(id, request, None);
    }

    /// Looks for a dyno until there is one, or something to wait for, or an end.
    fn look(&mut self, id: u64, mut request: Request, mut place: Option<Waiting>) {
        for _ in 0..1000 {
            let set = request.app.set();
            let tried = request.attempts.tried();
            let wanted = request.ticket.and_then(|ticket| session::find(&set, ticket, tried, self.now));
            let wants = wanted.map(|dyno| dyno.key);
            let overtakes = place.is_none() && !request.app.load.waits.is_empty();
            let choice = if overtakes && set.routing.concurrency_per_dyno.is_some() {
                Choice::AllBusy { until: Moment::NEVER }
            } else if let Some(dyno) = wanted {
                session::place_at(&set, dyno)
            } else {
                choose(&set, tried, Some(id % 7), self.now, &mut self.rng)
            };
            let (hold, until) = match choice {
                Choice::Taken(slot) => return self.taken(id, request, slot, set, place),
                Choice::AllTried => {
                    let last = request.attempts.last().expect("it has tried");
                    return self.end(id, request, Some(connect_fault(last)));
                }
                Choice::AllBusy { until } => (Hold::Busy, until),
                Choice::AllQuarantined { until } => (Hold::Quarantined, until),
                Choice::NoneUp => match admit::verdict(&set) {
                    Verdict::Refused(why) => return self.end(id, request, Some(fault_of(why))),
                    Verdict::WaitForBoot | Verdict::Up => (Hold::Booting, Moment::NEVER),
                },
            };
            let mut mine = match place.take() {
                Some(mine) => {
                    mine.want(wants);
                    mine
                }
                None => match Waiting::join(&request.app, set.routing.queue_limit, wants) {
                    Ok(mine) => mine,
                    Err(why) => {
                        assert!(request.app.load.waits.len() >= set.routing.queue_limit);
                        return self.end(id, request, Some(fault_of(why)));
                    }
                },
            };
            if !request.attempts.tried().is_empty() {
                mine.pass_on(&set, self.now);
            }
            request.clock.held(hold);
            let looks = hold != Hold::Busy || until == Moment::NEVER || mine.is_first();
            let until = if looks { until } else { Moment::NEVER };
            if self.has_turn(id, &mut mine) {
                place = Some(mine);
                continue;
            }
            if let Some(fault) = request.clock.expired(self.now) {
                request.phase = Phase::Waiting { place: mine, hold, until, wants };
                return self.expire(id, request, fault);
            }
            if until <= self.now {
                place = Some(mine);
                continue;
            }
            let who = wants.map(|key| Box::clone(&self.processes[&key].dyno.label));
            self.note(format_args!("{id} waits, {hold:?}, for {who:?} until {until:?}"));
            request.phase = Phase::Waiting { place: mine, hold, until, wants };
            return self.park(id, request);
        }
        panic!("{id} turns in a circle");
    }

    fn has_turn(&self, id: u64, place: &mut Waiting) -> bool {
        let waker = Waker::from(Arc::new(Bell { request: id, woken: Arc::clone(&self.woken) }));
        matches!(place.poll_turn(&mut Context::from_waker(&waker)), Poll::Ready(()))
    }

    fn taken(
        &mut self,
        id: u64,
        mut request: Request,
        slot: Slot,
        set: Arc<DynoSet>,
        place: Option<Waiting>,
    ) {
        let (now, key) = (self.now, slot.dyno().key);
        if let Some(place) = place {
            place.served(key, &set, now);
        }
        let process = self.processes.get_mut(&key).expect("it was published");
        assert!(process.is_up, "{:?} is retired and gets a new request", process.dyno);
        assert!(!request.attempts.tried().contains(key), "it was tried before");
        assert_eq!(slot.dyno().load.quarantined(now), None, "it is in quarantine");
        process.places += 1;
        let cap = set.routing.concurrency_per_dyno;
        assert!(cap.is_none_or(|cap| process.places <= cap.get()), "one too many at {:?}", process.dyno);
        let takes = (process.nature != Nature::Unreachable).then(|| process.takes(&mut self.rng) / 10);
        self.note(format_args!("{id} goes to {:?}", slot.dyno()));
        request.clock.connecting(now);
        request.phase = Phase::Connecting { slot, set };
        request.version += 1;
        if let Some(takes) = takes {
            self.at(now + takes, Event::Dyno { request: id, version: request.version });
        }
        self.park_with(id, request);
    }

    /// A new phase begins.
    fn park(&mut self, id: u64, mut request: Request) {
        request.version += 1;
        self.park_with(id, request);
    }

    fn park_with(&mut self, id: u64, request: Request) {
        let until = match request.phase {
            Phase::Waiting { until, .. } => until,
            _ => Moment::NEVER,
        };
        self.at(request.clock.deadline().min(until), Event::Timer { request: id, version: request.version });
        self.requests.insert(id, request);
    }

    /// Somebody called it.
    pub(crate) fn woken_up(&mut self, id: u64) {
        let Some(mut request) = self.requests.remove(&id) else { return };
        match request.phase {
            Phase::Waiting { mut place, hold, until, wants } => {
                if self.has_turn(id, &mut place) {
                    request.phase = Phase::Deciding;
                    self.look(id, request, Some(place));
                } else {
                    request.phase = Phase::Waiting { place, hold, until, wants };
                    self.requests.insert(id, request);
                }
            }
            // It waits no more.
            _ => drop(self.requests.insert(id, request)),
        }
    }

    pub(crate) fn timer(&mut self, id: u64, version: u64) {
        let Some(mut request) = self.requests.remove(&id) else { return };
        if request.version != version {
            self.requests.insert(id, request);
        } else if let Some(fault) = request.clock.expired(self.now) {
            self.expire(id, request, fault);
        } else {
            match request.phase {
                Phase::Waiting { place, until, .. } if until <= self.now => {
                    request.phase = Phase::Deciding;
                    self.look(id, request, Some(place));
                }
                _ => self.park_with(id, request),
            }
        }
    }

    /// A wait took too long.
    fn expire(&mut self, id: u64, mut request: Request, fault: Fault) {
        assert!(request.clock.deadline() <= self.now);
        let is_total = fault == Fault::RequestTimeout;
        match (&request.phase, fault) {
            (Phase::Waiting { hold, .. }, fault) if !is_total => {
                assert_eq!(fault, hold.fault());
                assert!(self.now >= request.began + request.hold, "held too short");
            }
            (Phase::Connecting { .. }, Fault::ConnectTimeout) => {
                let Phase::Connecting { slot, set } = std::mem::replace(&mut request.phase, Phase::Deciding)
                else {
                    unreachable!("it was connecting");
                };
                return self.connect_failed(id, request, slot, &set, ConnectFailure::TimedOut);
            }
            (Phase::Exchange { begun: true, .. }, Fault::IdleConnection)
            | (
                Phase::Waiting { .. } | Phase::Connecting { .. } | Phase::Exchange { .. },
                Fault::RequestTimeout,
            ) => {}
            (_, fault) => panic!("{fault:?} does not fit"),
        }
        self.end(id, request, Some(fault));
    }

    /// Its dyno does what it is like.
    pub(crate) fn dyno_acts(&mut self, id: u64, version: u64) {
        let Some(mut request) = self.requests.remove(&id) else { return };
        if request.version != version {
            self.requests.insert(id, request);
            return;
        }
        match request.phase {
            Phase::Connecting { slot, set } => {
                request.phase = Phase::Deciding;
                match self.nature(&slot) {
                    Nature::Refuses => {
                        self.connect_failed(id, request, slot, &set, ConnectFailure::Refused);
                    }
                    // It has become so since; the timer decides.
                    Nature::Unreachable => {
                        request.phase = Phase::Connecting { slot, set };
                        self.requests.insert(id, request);
                    }
                    _ => {
                        slot.dyno().load.reached();
                        request.clock.connected(self.now);
                        request.clock.request_sent(self.now);
                        request.phase = Phase::Exchange { slot, begun: false };
                        self.wait_for_dyno(id, request);
                    }
                }
            }
            Phase::Exchange { slot, begun } => {
                let nature = self.nature(&slot);
                request.phase = Phase::Exchange { slot, begun };
                match nature {
                    Nature::Closes if !begun => self.end(id, request, Some(Fault::ClosedWithoutResponse)),
                    Nature::BreaksOff | Nature::Closes if begun => {
                        self.end(id, request, Some(Fault::ServerRequestInterrupted));
                    }
                    Nature::Silent if !begun => drop(self.requests.insert(id, request)),
                    Nature::Stalls | Nature::Silent if begun => drop(self.requests.insert(id, request)),
                    _ if begun => self.end(id, request, None),
                    _ => {
                        request.clock.first_byte(self.now);
                        let Phase::Exchange { begun, .. } = &mut request.phase else {
                            unreachable!("see above")
                        };
                        *begun = true;
                        self.wait_for_dyno(id, request);
                    }
                }
            }
            Phase::Waiting { .. } | Phase::Deciding => unreachable!("it has no dyno"),
        }
    }

    fn nature(&self, slot: &Slot) -> Nature {
        self.processes[&slot.dyno().key].nature
    }

    /// Something is expected of the dyno.
    fn wait_for_dyno(&mut self, id: u64, mut request: Request) {
        let Phase::Exchange { slot, .. } = &request.phase else { unreachable!("it has a dyno") };
        let takes = self.processes[&slot.dyno().key].takes(&mut self.rng);
        request.version += 1;
        self.at(self.now + takes, Event::Dyno { request: id, version: request.version });
        self.park_with(id, request);
    }

    fn connect_failed(
        &mut self,
        id: u64,
        mut request: Request,
        slot: Slot,
        set: &DynoSet,
        how: ConnectFailure,
    ) {
        let (dyno, now) = (Arc::clone(slot.dyno()), self.now);
        self.note(format_args!("{id} fails to connect to {dyno:?}: {how:?}"));
        match how {
            ConnectFailure::Refused => request.refused = true,
            ConnectFailure::TimedOut => request.timed_out = true,
            // Nobody here speaks anything.
            ConnectFailure::NoHttp2 | ConnectFailure::Tls => unreachable!("{how:?}"),
        }
        dyno.load.quarantine(now, set.routing.quarantine_ms.duration());
        self.failed(set, &dyno);
        let next = request.attempts.failed(set, &dyno, how, now);
        self.give_back(slot);
        match next {
            Next::TryAnother => self.look(id, request, None),
            Next::GiveUp(how) => self.end(id, request, Some(connect_fault(how))),
        }
    }

    /// The dyno has failed a request.
    fn failed(&mut self, set: &DynoSet, dyno: &Dyno) {
        eject::failed(set, dyno, self.now);
        let away = dyno.load.quarantined(self.now).max(dyno.load.ejected(self.now));
        let process = self.processes.get_mut(&dyno.key).unwrap();
        process.sick_until = process.sick_until.max(away.unwrap_or_default());
    }

    fn give_back(&mut self, slot: Slot) {
        self.processes.get_mut(&slot.dyno().key).unwrap().places -= 1;
        drop(slot);
    }

    pub(crate) fn leave(&mut self, id: u64) {
        if let Some(request) = self.requests.remove(&id) {
            self.end(id, request, Some(Fault::ClientInterrupted));
        }
    }

    /// That process died.
    pub(crate) fn cut_off(&mut self, key: DynoKey) {
        let at_it = |request: &Request| match &request.phase {
            Phase::Exchange { slot, begun } if slot.dyno().key == key => Some(*begun),
            _ => None,
        };
        let cut: Vec<_> =
            self.requests.iter().filter_map(|(id, request)| Some((*id, at_it(request)?))).collect();
        for (id, begun) in cut {
            let fault = if begun { Fault::ServerRequestInterrupted } else { Fault::ClosedWithoutResponse };
            if let Some(request) = self.requests.remove(&id) {
                self.end(id, request, Some(fault));
            }
        }
    }

    /// The request is over: with a response, or with a fault that must fit what it met.
    fn end(&mut self, id: u64, mut request: Request, fault: Option<Fault>) {
        match fault {
            Some(Fault::ConnectRefused) => assert!(request.refused),
            Some(Fault::ConnectTimeout) => assert!(request.timed_out),
            None => assert!(matches!(request.phase, Phase::Exchange { begun: true, .. })),
            _ => {}
        }
        match std::mem::replace(&mut request.phase, Phase::Deciding) {
            Phase::Exchange { slot, begun } => {
                self.judge(&request.app, slot.dyno(), begun, fault);
                self.give_back(slot);
            }
            Phase::Connecting { slot, .. } => self.give_back(slot),
            Phase::Waiting { place, .. } => drop(place),
            Phase::Deciding => {}
        }
        drop(request);
        self.over(id, fault);
    }

    /// What the request has shown of its dyno.
    fn judge(&mut self, app: &App, dyno: &Dyno, begun: bool, fault: Option<Fault>) {
        let set = app.set();
        if set.routing.eject_after.is_none() {
        } else if begun {
            dyno.load.answered_well();
        } else if matches!(fault, Some(Fault::RequestTimeout | Fault::ClosedWithoutResponse)) {
            self.failed(&set, dyno);
        }
    }

    fn over(&mut self, id: u64, fault: Option<Fault>) {
        let end: &dyn fmt::Debug = match &fault {
            Some(fault) => fault,
            None => &format_args!("answered"),
        };
        let end = format!("{end:?}");
        self.note(format_args!("{id} is over: {end}"));
        assert!(!self.requests.contains_key(&id), "{id} is over and goes on");
        self.count(&end);
    }
}

const fn connect_fault(how: ConnectFailure) -> Fault {
    match how {
        ConnectFailure::TimedOut => Fault::ConnectTimeout,
        ConnectFailure::Refused => Fault::ConnectRefused,
        ConnectFailure::NoHttp2 | ConnectFailure::Tls => Fault::PlatformError, // which is expected nowhere
    }
}

const fn fault_of(why: Refused) -> Fault {
    match why {
        Refused::NoWebProcesses => Fault::NoWebProcesses,
        Refused::Crashed => Fault::AppCrashed,
        Refused::BacklogTooDeep => Fault::BacklogTooDeep,
        Refused::RequestLimit => Fault::RequestLimit,
    }
}
