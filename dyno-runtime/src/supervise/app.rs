//! One app: decides which of its dynos run. It never waits for a dyno; dynos send it events.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::SystemTime,
};

use busbar_registry::{DynoName, ProcessType, WebFormation};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};

use super::{
    DynoStatus, House, RuntimeError, Which,
    dyno::{self, Event, News, Plan},
};
use crate::{
    cgroup::{Cgroup, Limits},
    definition::AppDefinition,
    formation::{Formation, ScaleChange, Step, reconcile},
    life::{Exit, Phase, Say, Why},
    logs::{LogLine, Logs, Speaker},
    register::report_web,
    restart::CrashRecord,
    size::Size,
};

/// What an app can be told.
pub(super) enum Command {
    Deploy(Arc<AppDefinition>, oneshot::Sender<()>),
    Scale(Vec<ScaleChange>, oneshot::Sender<Result<Formation, RuntimeError>>),
    Restart(Which, oneshot::Sender<Result<(), RuntimeError>>),
    Ps(oneshot::Sender<Vec<DynoStatus>>),
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
    events: mpsc::Sender<Event>,
    from_dynos: mpsc::Receiver<Event>,
    web: watch::Sender<WebFormation>,
    reporter: JoinHandle<()>,
}

/// One dyno of the formation, over all its lives.
#[derive(Debug, Default)]
struct Slot {
    /// Its present life; none while it waits for its restart.
    generation: Option<u64>,
    record: CrashRecord,
    crashes: u32,
    crashed_at: Option<SystemTime>,
    restart_at: Option<Instant>,
    last_exit: Option<Exit>,
}

/// One life of a dyno.
struct Live {
    dyno: DynoName,
    command: String,
    limits: Limits,
    orders: mpsc::Sender<Why>,
    phase: Phase,
    draining: bool,
    registered: bool,
    since: SystemTime,
    pid: Option<i32>,
    port: Option<u16>,
    cgroup: Option<Cgroup>,
}

impl Actor {
    pub(super) fn new(house: Arc<House>, logs: Arc<Logs>, definition: Arc<AppDefinition>) -> Self {
        let (events, from_dynos) = mpsc::channel(256);
        let (web, changes) = watch::channel(WebFormation::default());
        let reporter =
            tokio::spawn(report_web(Arc::clone(&house.registry.0), definition.name.clone(), changes));
        let formation = Formation::default();
        let (slots, lives) = (BTreeMap::new(), BTreeMap::new());
        Self { house, logs, definition, formation, slots, lives, events, from_dynos, web, reporter }
    }

    /// Obeys until nobody can command it any more; then stops all dynos and returns when none is left.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            let due = self.slots.values().filter_map(|slot| slot.restart_at).min();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => break,
                },
                Some(event) = self.from_dynos.recv() => self.hear(event),
                () = at(due) => self.start_those_due(),
            }
            self.report();
        }
        self.stop().await;
    }

    fn obey(&mut self, command: Command) {
        // Who asked may have gone away; it is done all the same.
        match command {
            Command::Deploy(definition, reply) => {
                self.deploy(definition);
                let _ = reply.send(());
            }
            Command::Scale(changes, reply) => {
                let _ = reply.send(self.scale(&changes));
            }
            Command::Restart(which, reply) => {
                let _ = reply.send(self.restart(&which));
            }
            Command::Ps(reply) => {
                let _ = reply.send(self.ps());
            }
        }
    }

    fn deploy(&mut self, definition: Arc<AppDefinition>) {
        let old: Vec<DynoName> = self.slots.keys().cloned().collect();
        self.formation = definition.formation.clone();
        self.definition = definition;
        self.adjust();
        for dyno in old {
            self.replace(&dyno);
        }
    }

    fn scale(&mut self, changes: &[ScaleChange]) -> Result<Formation, RuntimeError> {
        let next = self.formation.changed(changes)?;
        next.check_against(&self.definition.procfile)?;
        let before = std::mem::replace(&mut self.formation, next.clone());
        self.adjust();
        for (process_type, _) in next.iter().filter(|(t, share)| before.size(t) != share.size) {
            self.resize(process_type);
        }
        Ok(next)
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
            if !updated {
                refused.push((*generation, live.dyno.clone()));
            }
        }
        for (generation, dyno) in refused {
            if self.slots.get(&dyno).is_some_and(|slot| slot.generation == Some(generation)) {
                self.replace(&dyno);
            }
        }
    }

    /// What a dyno of this type may use: what its size says, and the app's limits where that says nothing.
    fn limits(&self, process_type: &ProcessType) -> Limits {
        let size = self.formation.size(process_type).map(Size::limits).unwrap_or_default();
        size.or(self.definition.limits)
    }

    fn restart(&mut self, which: &Which) -> Result<(), RuntimeError> {
        let chosen: Vec<DynoName> = self.slots.keys().filter(|dyno| which.has(dyno)).cloned().collect();
        if chosen.is_empty() && *which != Which::All {
            return Err(RuntimeError::NoSuchDyno { app: self.definition.name.clone(), which: which.clone() });
        }
        for dyno in &chosen {
            self.replace(dyno);
        }
        Ok(())
    }

    /// Makes the slots those of the formation.
    fn adjust(&mut self) {
        let running: BTreeSet<DynoName> = self.slots.keys().cloned().collect();
        for step in reconcile(&self.formation, &running) {
            match step {
                Step::Stop(dyno) => {
                    let slot = self.slots.remove(&dyno);
                    self.tell(slot.and_then(|slot| slot.generation), Why::Down);
                }
                Step::Start(dyno) => {
                    self.slots.insert(dyno.clone(), Slot::default());
                    self.start(&dyno);
                }
            }
        }
    }

    /// A new dyno in place of the present one, with a clean record. One that was scaled away stays away.
    fn replace(&mut self, dyno: &DynoName) {
        let Some(slot) = self.slots.get_mut(dyno) else { return };
        let old = std::mem::take(slot);
        match old.generation {
            Some(generation) => self.tell(Some(generation), Why::Restart),
            None => self.say(dyno, Say::Restarting),
        }
        self.start(dyno);
    }

    fn start(&mut self, dyno: &DynoName) {
        let Some(command) = self.definition.procfile.command(&dyno.process_type).map(str::to_owned) else {
            return;
        };
        let generation = self.house.generations.fetch_add(1, Ordering::Relaxed);
        let (orders, from) = mpsc::channel(2);
        let limits = self.limits(&dyno.process_type);
        let definition = Arc::clone(&self.definition);
        let plan = Plan { dyno: dyno.clone(), generation, command, limits, definition };
        let live = Live {
            dyno: dyno.clone(),
            command: plan.command.clone(),
            limits,
            orders,
            phase: Phase::Created,
            draining: false,
            registered: false,
            since: SystemTime::now(),
            pid: None,
            port: None,
            cgroup: None,
        };
        self.lives.insert(generation, live);
        if let Some(slot) = self.slots.get_mut(dyno) {
            slot.generation = Some(generation);
            slot.restart_at = None;
        }
        tokio::spawn(dyno::run(
            Arc::clone(&self.house),
            Arc::clone(&self.logs),
            plan,
            from,
            self.events.clone(),
        ));
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
        self.start(dyno);
    }

    fn tell(&self, generation: Option<u64>, why: Why) {
        if let Some(live) = generation.and_then(|generation| self.lives.get(&generation)) {
            // A life obeys its first order only, so a full queue loses nothing.
            let _told_already = live.orders.try_send(why);
        }
    }

    fn hear(&mut self, Event { generation, news }: Event) {
        match news {
            News::Changed { phase, draining, pid, port, cgroup } => {
                if let Some(live) = self.lives.get_mut(&generation) {
                    if live.phase != phase {
                        live.since = SystemTime::now();
                    }
                    (live.phase, live.draining, live.pid, live.port, live.cgroup) =
                        (phase, draining, pid, port, cgroup);
                }
            }
            News::Registered => {
                if let Some(live) = self.lives.get_mut(&generation) {
                    live.registered = true;
                }
            }
            News::Ended { up_for, exit } => {
                let Some(Live { dyno, .. }) = self.lives.remove(&generation) else { return };
                let Some(slot) = self.slots.get_mut(&dyno).filter(|slot| slot.generation == Some(generation))
                else {
                    return;
                };
                // It is still wanted: whatever it was, that was a crash.
                let (record, wait) = slot.record.crashed(&self.definition.restart, up_for, fastrand::f64());
                let now = SystemTime::now();
                let crashes = slot.crashes.saturating_add(1);
                *slot = Slot {
                    generation: None,
                    record,
                    crashes,
                    crashed_at: Some(now),
                    restart_at: None,
                    last_exit: exit,
                };
                if wait.is_zero() {
                    self.start_again(&dyno);
                } else {
                    slot.restart_at = Some(Instant::now() + wait);
                }
            }
        }
    }

    fn ps(&self) -> Vec<DynoStatus> {
        let living = self.lives.values().map(|live| {
            let slot = self.slots.get(&live.dyno);
            DynoStatus {
                dyno: live.dyno.clone(),
                phase: live.phase,
                since: live.since,
                command: live.command.clone(),
                pid: live.pid,
                port: live.port,
                memory: live
                    .cgroup
                    .as_ref()
                    .and_then(|cgroup| cgroup.control().memory())
                    .map(|memory| memory.used()),
                quota: live.limits.memory,
                crashes: slot.map_or(0, |slot| slot.crashes),
                last_exit: slot.and_then(|slot| slot.last_exit),
            }
        });
        let waiting =
            self.slots.iter().filter(|(_, slot)| slot.generation.is_none()).map(|(dyno, slot)| DynoStatus {
                dyno: dyno.clone(),
                phase: Phase::Crashed,
                since: slot.crashed_at.unwrap_or_else(SystemTime::now),
                command: self.definition.procfile.command(&dyno.process_type).unwrap_or_default().to_owned(),
                pid: None,
                port: None,
                memory: None,
                quota: self.limits(&dyno.process_type).memory,
                crashes: slot.crashes,
                last_exit: slot.last_exit,
            });
        let mut all: Vec<DynoStatus> = living.chain(waiting).collect();
        all.sort_by(|a, b| a.dyno.cmp(&b.dyno));
        all
    }

    /// Tells the registry what it cannot see by itself, when that has changed. A dyno that is up counts as starting
    /// until it is registered: at each moment a router sees the one or the other.
    fn report(&self) {
        let web = self.slots.iter().filter(|(dyno, _)| dyno.process_type.is_web());
        let lives = web.map(|(_, slot)| slot.generation.and_then(|generation| self.lives.get(&generation)));
        let mut now = WebFormation::default();
        for live in lives {
            now.quantity += 1;
            match live.map(|live| (live.phase, live.registered)) {
                Some((Phase::Created | Phase::Starting, _) | (Phase::Up, false)) => now.starting += 1,
                Some((Phase::Crashed, _)) | None => now.crashed += 1,
                Some((Phase::Up, true) | (Phase::Stopping | Phase::Down, _)) => {}
            }
        }
        self.web.send_if_modified(|last| std::mem::replace(last, now) != now);
    }

    /// Web dynos first: what their last requests need should still be there.
    async fn stop(mut self) {
        self.slots.clear();
        self.report();
        self.tell_all(|live| live.dyno.process_type.is_web());
        let mut others_told = false;
        while !self.lives.is_empty() {
            let serving = |live: &Live| {
                live.dyno.process_type.is_web() && (live.phase != Phase::Stopping || live.draining)
            };
            if !others_told && !self.lives.values().any(serving) {
                others_told = true;
                self.tell_all(|_| true);
            }
            let Some(event) = self.from_dynos.recv().await else { break };
            self.hear(event);
        }
        drop(self.web);
        // Each call to the registry is bounded, and there is at most one more.
        let _reported = self.reporter.await;
    }

    fn tell_all(&self, which: impl Fn(&Live) -> bool) {
        for (generation, _) in self.lives.iter().filter(|(_, live)| which(live)) {
            self.tell(Some(*generation), Why::Down);
        }
    }

    fn say(&self, dyno: &DynoName, say: Say) {
        self.logs.push(LogLine::heroku(Speaker::Dyno(dyno.clone()), say.to_string()));
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
