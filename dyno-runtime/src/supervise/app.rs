//! One app: decides which of its dynos run. It never waits for a dyno; dynos send it events.
//!
//! - [`Actor`]: obeys commands, hears dynos, keeps times. [`Slot`]: a dyno of the formation; [`Live`]: one life of it.
//! - [`replace`]: new dynos in place of old ones, a few at a time or with preboot. [`idle`]: none while nobody asks.
//! - [`oneoff`]: dynos that are no part of the formation, and the release command before a deploy.
//! - [`adopt`]: dynos that a killed runtime has left.
//! - [`staged`]: a deploy, and whether it has proved itself.
//! - [`end`]: all its dynos stop, or are left to the next runtime.
//! - [`status`]: what `ps` shows and the registry is told.

mod adopt;
mod end;
mod idle;
mod oneoff;
mod replace;
mod staged;
mod status;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use busbar_registry::{DynoName, ProcessType, WebFormation};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};

pub(super) use self::end::End;
pub use self::oneoff::{Attach, OneOff, Started};
use self::{idle::Idleness, oneoff::Release, staged::Staged};
use super::{
    DynoStatus, House, RuntimeError, Which,
    dyno::{self, Attached, Event, News, Order, Plan},
    state::Stray,
};
use crate::{
    cgroup::{Cgroup, Limits},
    definition::AppDefinition,
    formation::{Formation, ScaleChange, Step, reconcile},
    life::{Exit, Phase, Say, Why},
    logs::{LogLine, Logs, Speaker},
    register::report_web,
    restart::CrashRecord,
    rollout::{Replacement, Rollout},
    size::Size,
};

/// What an app can be told.
pub(super) enum Command {
    Deploy(Arc<AppDefinition>, oneshot::Sender<Result<(), RuntimeError>>),
    Run(OneOff, oneshot::Sender<Result<Started, RuntimeError>>),
    /// End a one-off dyno; whether because nobody is attached to it any more.
    StopOneOff(DynoName, bool),
    Scale(Vec<ScaleChange>, oneshot::Sender<Result<Formation, RuntimeError>>),
    Restart(Which, Option<Replacement>, oneshot::Sender<Result<(), RuntimeError>>),
    Ps(oneshot::Sender<Vec<DynoStatus>>),
    Formation(oneshot::Sender<Formation>),
    End(End),
}

/// The app.
pub(super) struct Actor {
    house: Arc<House>,
    logs: Arc<Logs>,
    definition: Arc<AppDefinition>,
    formation: Formation,
    /// The dynos there should be.
    slots: BTreeMap<DynoName, Slot>,
    /// The dynos there are, by generation: those of the slots, and those that are on their way out.
    lives: BTreeMap<u64, Live>,
    rollout: Rollout,
    /// How, and why, those of the rollout are replaced.
    how: Replacement,
    why: Why,
    idleness: Idleness,
    /// A deploy whose dynos are not all up yet; `definition` and `formation` are those before it.
    staged: Option<Staged>,
    /// Until the first deploy: its dynos are those that a killed runtime has left.
    adopts: bool,
    release: Option<Release>,
    events: mpsc::Sender<Event>,
    from_dynos: mpsc::Receiver<Event>,
    web: watch::Sender<WebFormation>,
    reporter: JoinHandle<()>,
}

/// One dyno of the formation, over all its lives.
#[derive(Debug, Default)]
struct Slot {
    /// Its present life; none while it waits for its restart, or is idle.
    generation: Option<u64>,
    /// The life that takes its place when it is ready (preboot).
    successor: Option<u64>,
    record: CrashRecord,
    crashes: u32,
    crashed_at: Option<SystemTime>,
    restart_at: Option<Instant>,
    idle_since: Option<SystemTime>,
    last_exit: Option<Exit>,
}

/// One life of a dyno.
struct Live {
    dyno: DynoName,
    command: String,
    limits: Limits,
    is_one_off: bool,
    /// A killed runtime made it from another definition.
    outdated: bool,
    /// Who is told how a one-off dyno ended.
    ended: Option<oneshot::Sender<Option<Exit>>>,
    orders: mpsc::Sender<Order>,
    phase: Phase,
    draining: bool,
    registered: bool,
    /// It is held, and `$PORT` accepts.
    booted: bool,
    since: SystemTime,
    cycle_at: Option<Instant>,
    pid: Option<i32>,
    address: Option<SocketAddr>,
    cgroup: Option<Cgroup>,
}

/// What begins.
struct Begin {
    dyno: DynoName,
    command: String,
    limits: Limits,
    definition: Arc<AppDefinition>,
    held: bool,
    task: bool,
    attached: Option<Attached>,
    outlives: bool,
}

impl Actor {
    /// An app that has no dynos but those which a killed runtime has left.
    pub(super) fn new(
        house: Arc<House>,
        logs: Arc<Logs>,
        definition: Arc<AppDefinition>,
        strays: Vec<Stray>,
    ) -> Self {
        let (events, from_dynos) = mpsc::channel(256);
        let (web, changes) = watch::channel(WebFormation::default());
        let reporter =
            tokio::spawn(report_web(Arc::clone(&house.registry.0), definition.name.clone(), changes));
        let mut actor = Self {
            house,
            logs,
            definition,
            formation: Formation::default(),
            slots: BTreeMap::new(),
            lives: BTreeMap::new(),
            rollout: Rollout::default(),
            how: Replacement::default(),
            why: Why::Restart,
            idleness: Idleness::Never,
            staged: None,
            adopts: false,
            release: None,
            events,
            from_dynos,
            web,
            reporter,
        };
        if !strays.is_empty() {
            actor.adopt(strays);
        }
        actor
    }

    /// Obeys until it is to end, or nobody can command it any more; returns when nothing is done with its dynos any more.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let how = loop {
            let restart = self.slots.values().filter_map(|slot| slot.restart_at).min();
            let cycle = self.next_to_cycle().map(|(at, _)| at);
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::End(how)) => break how,
                    Some(command) => self.obey(command),
                    None => break End::Stop,
                },
                Some(event) = self.from_dynos.recv() => self.hear(event),
                () = at(restart) => self.start_those_due(),
                () = at(cycle) => self.cycle(),
                () = self.idleness.turns() => self.turn(),
            }
            self.report();
        };
        // Whoever asks for something now learns at once that it is too late.
        drop(commands);
        self.end(how).await;
    }

    fn obey(&mut self, command: Command) {
        // Who asked may have gone away; it is done all the same.
        match command {
            Command::Deploy(definition, reply) => self.release(definition, reply),
            Command::Run(order, reply) => {
                let _ = reply.send(self.run_one_off(order));
            }
            Command::StopOneOff(dyno, detached) => self.stop_one_off(&dyno, detached),
            Command::Scale(changes, reply) => {
                let _ = reply.send(self.scale(&changes));
            }
            Command::Restart(which, how, reply) => {
                let _ = reply.send(self.restart(&which, how));
            }
            Command::Ps(reply) => {
                let _ = reply.send(self.ps());
            }
            Command::Formation(reply) => {
                let _ = reply.send(self.formation.clone());
            }
            Command::End(_) => {}
        }
    }

    fn deploy_at_once(&mut self, definition: Arc<AppDefinition>) {
        let adopts = std::mem::take(&mut self.adopts);
        let is_old = |slot: &Slot| !adopts || self.is_outdated(slot);
        let old: Vec<DynoName> =
            self.slots.iter().filter(|(_, slot)| is_old(slot)).map(|(dyno, _)| dyno.clone()).collect();
        self.formation = definition.formation.clone();
        self.definition = definition;
        self.adjust();
        self.replace_all(old, self.definition.replacement, Why::Restart);
        if adopts {
            let types: BTreeSet<_> = self.slots.keys().map(|dyno| dyno.process_type.clone()).collect();
            types.iter().for_each(|process_type| self.resize(process_type));
        }
        self.wake();
    }

    /// Whether its dyno is one that a killed runtime made from another definition.
    fn is_outdated(&self, slot: &Slot) -> bool {
        let live = slot.generation.and_then(|generation| self.lives.get(&generation));
        live.is_some_and(|live| live.outdated)
    }

    fn scale(&mut self, changes: &[ScaleChange]) -> Result<Formation, RuntimeError> {
        self.is_deployed()?;
        let next = self.formation.changed(changes)?;
        next.check_against(&self.definition.procfile)?;
        if let Some(staged) = &mut self.staged {
            let formation = staged.formation.changed(changes)?;
            formation.check_against(&staged.definition.procfile)?;
            staged.formation = formation;
        }
        let before = std::mem::replace(&mut self.formation, next.clone());
        self.adjust();
        for (process_type, _) in next.iter().filter(|(t, share)| before.size(t) != share.size) {
            self.resize(process_type);
        }
        if !changes.is_empty() {
            self.wake();
        }
        Ok(next)
    }

    /// Dynos that were adopted stay as they are until a deploy says what there should be.
    fn is_deployed(&self) -> Result<(), RuntimeError> {
        if self.adopts { Err(RuntimeError::UnknownApp(self.definition.name.clone())) } else { Ok(()) }
    }

    /// Lets the dynos of a type have its new limits: at once where the kernel allows it, otherwise by a restart.
    fn resize(&mut self, process_type: &ProcessType) {
        let (limits, limited) = (self.limits(process_type), self.house.site.is_some());
        let mut refused = vec![];
        for (generation, live) in &mut self.lives {
            if live.dyno.process_type != *process_type || live.limits == limits {
                continue;
            }
            live.limits = limits;
            let updated = match &live.cgroup {
                Some(cgroup) => cgroup.control().update(&limits).is_ok(),
                // Its group is being made, with the limits of before.
                None => !limited,
            };
            if updated {
                let _gone = live.orders.try_send(Order::Quota(limits.memory));
            } else {
                refused.push((*generation, live.dyno.clone()));
            }
        }
        for (generation, dyno) in refused {
            if self.slots.get(&dyno).is_some_and(|slot| slot.generation == Some(generation)) {
                self.replace(&dyno, Why::Restart);
            }
        }
    }

    /// What a dyno of this type may use: what its size says, and the app's limits where that says nothing.
    fn limits(&self, process_type: &ProcessType) -> Limits {
        limits(&self.formation, &self.definition, process_type)
    }

    /// Makes the slots those of the formation.
    fn adjust(&mut self) {
        let running: BTreeSet<DynoName> = self.slots.keys().cloned().collect();
        for step in reconcile(&self.formation, &running) {
            match step {
                Step::Stop(dyno) => {
                    self.rollout.forget(&dyno);
                    self.is_not_waited_for(&dyno);
                    let Some(slot) = self.slots.remove(&dyno) else { continue };
                    self.tell(slot.generation, Order::Stop(Why::Down));
                    self.tell(slot.successor, Order::Stop(Why::Down));
                }
                Step::Start(dyno) => {
                    self.slots.insert(dyno.clone(), Slot::default());
                    self.start(&dyno);
                }
            }
        }
        self.advance();
        self.settle();
    }

    /// A new life in this slot.
    fn start(&mut self, dyno: &DynoName) {
        self.start_from(dyno, false);
    }

    /// A new life in this slot; `again`: made of what the one before it was made of.
    fn start_from(&mut self, dyno: &DynoName, again: bool) {
        let Some(generation) = self.begin(dyno, false, again) else { return };
        if let Some(slot) = self.slots.get_mut(dyno) {
            slot.generation = Some(generation);
            (slot.restart_at, slot.idle_since) = (None, None);
        }
    }

    /// A new life; `held`: it is not registered before it is let go.
    fn begin(&mut self, dyno: &DynoName, held: bool, again: bool) -> Option<u64> {
        let (definition, formation) = self.source(dyno, again);
        let begin = Begin {
            dyno: dyno.clone(),
            command: definition.procfile.command(&dyno.process_type)?.to_owned(),
            limits: limits(formation, definition, &dyno.process_type),
            definition: Arc::clone(definition),
            held,
            task: false,
            attached: None,
            outlives: true,
        };
        let generation = self.begin_life(begin);
        self.begun(dyno, generation, again, held);
        Some(generation)
    }

    fn begin_life(&mut self, begin: Begin) -> u64 {
        let Begin { dyno, command, limits, definition, held, task, attached, outlives } = begin;
        let generation = self.house.generations.fetch_add(1, Ordering::Relaxed);
        let (orders, from) = mpsc::channel(8);
        let cycle = definition.cycle;
        let plan = Plan { dyno: dyno.clone(), generation, command, limits, definition, held, task, outlives };
        let live = Live {
            dyno,
            command: plan.command.clone(),
            limits,
            is_one_off: task,
            outdated: false,
            ended: None,
            orders,
            phase: Phase::Created,
            draining: false,
            registered: false,
            booted: false,
            since: SystemTime::now(),
            cycle_at: cycle.filter(|_| !task).map(|period| Instant::now() + with_chance(period)),
            pid: None,
            address: None,
            cgroup: None,
        };
        self.lives.insert(generation, live);
        let (house, logs) = (Arc::clone(&self.house), Arc::clone(&self.logs));
        tokio::spawn(dyno::run(house, logs, plan, attached, from, self.events.clone()));
        generation
    }

    fn start_those_due(&mut self) {
        let now = Instant::now();
        let due = self.slots.iter().filter(|(_, slot)| slot.restart_at.is_some_and(|at| at <= now));
        for dyno in due.map(|(dyno, _)| dyno.clone()).collect::<Vec<_>>() {
            self.start_again(&dyno);
        }
    }

    fn start_again(&mut self, dyno: &DynoName) {
        self.say(dyno, Say::Changed(Phase::Crashed, Phase::Starting));
        self.start_from(dyno, true);
    }

    fn tell(&self, generation: Option<u64>, order: Order) {
        if let Some(live) = generation.and_then(|generation| self.lives.get(&generation)) {
            // A life obeys its first stop only, so a full queue loses nothing.
            let _told_already = live.orders.try_send(order);
        }
    }

    fn hear(&mut self, Event { generation, news }: Event) {
        match news {
            News::Changed { phase, draining, pid, address, cgroup } => {
                let Some(live) = self.lives.get_mut(&generation) else { return };
                if live.phase != phase {
                    live.since = SystemTime::now();
                }
                (live.phase, live.draining, live.pid, live.address, live.cgroup) =
                    (phase, draining, pid, address, cgroup);
                if phase == Phase::Up && !live.dyno.process_type.is_web() {
                    self.is_up(generation);
                }
            }
            News::Registered => {
                if let Some(live) = self.lives.get_mut(&generation) {
                    live.registered = true;
                }
                self.is_up(generation);
            }
            News::Booted => self.is_booted(generation),
            News::Unrouted => self.is_unrouted(generation),
            News::Ended { up_for, exit } => self.has_ended(generation, up_for, exit),
            News::Left => drop(self.lives.remove(&generation)),
        }
    }

    fn has_ended(&mut self, generation: u64, up_for: Duration, exit: Option<Exit>) {
        let Some(Live { dyno, ended, .. }) = self.lives.remove(&generation) else { return };
        let _nobody_asks = ended.map(|ended| ended.send(exit));
        if self.was_release(generation, exit) || self.makes_way(&dyno, generation) {
            return self.advance();
        }
        let Some(slot) = self.slots.get_mut(&dyno).filter(|slot| slot.generation == Some(generation)) else {
            return;
        };
        // It is still wanted: whatever it was, that was a crash.
        let (record, wait) = slot.record.crashed(&self.definition.restart, up_for, fastrand::f64());
        let crashes = slot.crashes.saturating_add(1);
        *slot = Slot {
            record,
            crashes,
            crashed_at: Some(SystemTime::now()),
            restart_at: (!wait.is_zero()).then(|| Instant::now() + wait),
            last_exit: exit,
            ..Slot::default()
        };
        self.did_not_come_up(&dyno, generation);
        if wait.is_zero() {
            self.start_again(&dyno);
        }
        self.advance();
    }

    fn say(&self, dyno: &DynoName, say: Say) {
        self.logs.push(LogLine::heroku(Speaker::Dyno(dyno.clone()), say.to_string()));
    }
}

fn limits(formation: &Formation, definition: &AppDefinition, process_type: &ProcessType) -> Limits {
    formation.size(process_type).map(Size::limits).unwrap_or_default().or(definition.limits)
}

/// Up to 15 % longer, as on Heroku, so that dynos which started together do not end together.
fn with_chance(period: Duration) -> Duration {
    period.mul_f64(1.0 + 0.15 * fastrand::f64())
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
