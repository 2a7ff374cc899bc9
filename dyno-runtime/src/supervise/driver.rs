//! One life of one dyno: carries out what [`crate::life`] says, and tells it what happens.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use busbar_registry::{Lease, Millis, Registration};
use futures_util::future::BoxFuture;
use rustix::process::Signal;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};

use super::{
    House, KILL_LIMIT,
    dyno::{Body, Event, News, Order, Plan, Teller, discard},
    milestone::Milestone,
    record::{LifeRecord, Record, SinceBoot},
};
use crate::{
    life::{Effect, Exit, Input, Life, Phase, Say, Stage, Why},
    metrics::{Finding, Meter, Reading},
    register::{Membership, accepting},
};

/// How long the last output of a dyno is waited for, once its processes are gone or its first one is.
pub(crate) const OUTPUT_LIMIT: Duration = Duration::from_millis(200);

/// The same, of a dyno whose output may have waited for long.
const BACKLOG_LIMIT: Duration = Duration::from_secs(2);

/// What the driver hears.
enum Happened {
    Input(Input),
    Order(Order),
    /// It has this lease now.
    Registered(Option<Lease>),
    Unrouted,
    /// It is time for a reading.
    Reading,
    /// It is to go on without this runtime.
    Left,
}

/// How a driver begins.
#[derive(Default)]
enum First {
    /// With a dyno that was just launched.
    #[default]
    Launched,
    /// With one that lived before, for which this is to be done.
    GoOn(Vec<Effect>),
}

/// Between the machine and [`Life`].
pub(super) struct Driver<'a> {
    house: &'a House,
    plan: &'a Plan,
    teller: Teller,
    body: Body,
    orders: mpsc::Receiver<Order>,
    events: mpsc::Sender<Event>,
    life: Life,
    /// What the next runtime would go on with.
    written: LifeRecord,
    first: First,
    meter: Meter,
    next_reading: Option<Instant>,
    began: Instant,
    up_since: Option<Instant>,
    told: bool,
    /// Another runtime began it.
    adopted: bool,
    exit: Option<Exit>,
    membership: Option<Membership>,
    leases: Option<watch::Receiver<Option<Lease>>>,
    unrouted: Option<BoxFuture<'static, ()>>,
    leaves: watch::Receiver<bool>,
    /// What is waited for, and what it means when it comes.
    awaited: Vec<(Input, BoxFuture<'static, ()>)>,
}

impl<'a> Driver<'a> {
    pub(super) fn new(
        house: &'a House,
        plan: &'a Plan,
        teller: Teller,
        body: Body,
        orders: mpsc::Receiver<Order>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let life = Life::created(body.door.is_some(), plan.definition.times);
        let mut written = LifeRecord::new(
            plan.definition.name.clone(),
            plan.dyno.clone(),
            plan.generation,
            plan.command.clone(),
        );
        written.fingerprint = house.fingerprints.of(&plan.definition, &plan.command, &house.options);
        (written.limits, written.task, written.outlives) = (plan.limits, plan.task, plan.outlives);
        written.address = body.door.as_ref().map(|door| door.address);
        Self::with(house, plan, teller, body, orders, events, life, written)
    }

    /// Goes on with a life that was written down.
    pub(super) fn go_on(
        house: &'a House,
        plan: &'a Plan,
        teller: Teller,
        body: Body,
        written: LifeRecord,
        orders: mpsc::Receiver<Order>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let reached = written.began.until(written.since);
        let age = written.began.age();
        let (life, effects) =
            Life::adopted(body.door.is_some(), plan.definition.times, written.stage, reached, age);
        let mut driver = Self::with(house, plan, teller, body, orders, events, life, written);
        driver.began = driver.began.checked_sub(age).unwrap_or(driver.began);
        driver.up_since = (driver.written.stage != Stage::Starting).then(|| driver.began + reached);
        driver.told = matches!(driver.written.stage, Stage::Draining | Stage::Stopping);
        (driver.adopted, driver.first) = (true, First::GoOn(effects));
        driver
    }

    #[expect(clippy::too_many_arguments, reason = "it is where all of them meet")]
    fn with(
        house: &'a House,
        plan: &'a Plan,
        teller: Teller,
        body: Body,
        orders: mpsc::Receiver<Order>,
        events: mpsc::Sender<Event>,
        life: Life,
        written: LifeRecord,
    ) -> Self {
        let life = if plan.held { life.held() } else { life };
        let life = if plan.task { life.task() } else { life };
        let quota = plan.limits.memory.filter(|_| body.family.cgroup.is_some());
        let metrics = plan.definition.metrics;
        let label = metrics
            .log
            .then(|| format!("source={} dyno=heroku.{}.{}", plan.dyno, plan.definition.name, random_uuid()));
        let meter = Meter::new(quota, metrics.every, label.filter(|_| body.family.cgroup.is_some()));
        let began = Instant::now();
        Self {
            house,
            plan,
            teller,
            body,
            orders,
            events,
            life,
            written,
            first: First::Launched,
            next_reading: meter.period().map(|period| began + period),
            meter,
            began,
            up_since: None,
            told: false,
            adopted: false,
            exit: None,
            membership: None,
            leases: None,
            unrouted: None,
            leaves: house.leaves.subscribe(),
            awaited: vec![],
        }
    }

    pub(super) async fn live(mut self) -> News {
        match std::mem::take(&mut self.first) {
            First::Launched => self.take(Input::Launched).await,
            First::GoOn(effects) => {
                for effect in effects {
                    self.carry_out(effect).await;
                }
                self.tell_app(self.changed()).await;
            }
        }
        while !self.life.has_ended() {
            match self.next().await {
                Happened::Registered(lease) => {
                    self.reach(Milestone::Registered);
                    self.written.lease = lease;
                    self.write_down();
                    self.reach(Milestone::LeaseWritten);
                    self.tell_app(News::Registered).await;
                }
                Happened::Unrouted => self.tell_app(News::Unrouted).await,
                Happened::Order(order) => self.obey(order).await,
                Happened::Reading => self.read().await,
                Happened::Left => {
                    if let Some(membership) = self.membership.take() {
                        membership.leave().await;
                    }
                    return News::Left;
                }
                Happened::Input(input) => self.take(input).await,
            }
        }
        self.end().await
    }

    /// What happens next. An exit comes before anything else that happened at the same time.
    async fn next(&mut self) -> Happened {
        let wake = self.life.wake().map(|wake| self.began + wake);
        tokio::select! {
            biased;
            () = told_to_leave(&mut self.leaves) => Happened::Left,
            () = self.body.process.ended(), if self.exit.is_none() => {
                self.reach(Milestone::Exited);
                let exit = self.body.process.peek();
                self.exit = Some(exit);
                self.last_words().await;
                self.reach(Milestone::Heard);
                if self.body.family.apart {
                    // It holds nothing any more that is not taken, and without it none of the others is left.
                    self.body.process.dismiss().await;
                }
                Happened::Input(Input::Exited(exit))
            }
            order = self.orders.recv(), if !self.told => {
                Happened::Order(order.unwrap_or(Order::Stop(Why::Down)))
            }
            lease = another(&mut self.leases) => Happened::Registered(lease),
            () = once(&mut self.unrouted) => Happened::Unrouted,
            input = first(&mut self.awaited) => Happened::Input(input),
            () = sleep_until(wake.unwrap_or(self.began)), if wake.is_some() => Happened::Input(Input::Time),
            () = sleep_until(self.next_reading.unwrap_or(self.began)), if self.next_reading.is_some() => {
                Happened::Reading
            }
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Stop(why) => {
                self.told = true;
                self.take(Input::Stop(why)).await;
            }
            Order::Go => self.take(Input::Go).await,
            Order::Quota(quota) => {
                self.meter.set_quota(quota.filter(|_| self.body.family.cgroup.is_some()));
                self.next_reading = self.meter.period().map(|period| Instant::now() + period);
            }
        }
    }

    /// Reads what its group says, and says what that means.
    async fn read(&mut self) {
        self.next_reading = None;
        let Some(cgroup) = &self.body.family.cgroup else { return };
        let (group, wants) = (cgroup.control(), self.meter.wants());
        let reading = Reading {
            oom_kills: if wants.oom_kills { group.oom_kills() } else { 0 },
            runnable: if wants.runnable { group.runnable() } else { None },
            memory: if wants.memory { group.memory() } else { None },
        };
        self.next_reading = self.meter.period().map(|period| Instant::now() + period);
        // Of a dyno that is killed now, nothing else is worth saying.
        for finding in self.meter.on(self.began.elapsed(), &reading) {
            match finding {
                Finding::Line(line) => self.teller.heroku(line),
                Finding::OverQuota(memory) => {
                    self.teller.heroku(Say::Running(memory).to_string());
                    self.teller.heroku(Say::OverQuota.to_string());
                }
                Finding::OutOfMemory => return self.out_of_memory().await,
            }
        }
    }

    /// The kernel has killed a process: the most it ever had is what was too much.
    async fn out_of_memory(&mut self) {
        self.next_reading = None;
        let peak = self.body.family.cgroup.as_ref().and_then(|cgroup| cgroup.control().memory_peak());
        self.take(Input::OutOfMemory(self.meter.memory(peak.unwrap_or(0)))).await;
    }

    async fn take(&mut self, input: Input) {
        let before = (self.life.phase(), self.life.is_draining());
        let (life, effects) = self.life.on(self.began.elapsed(), input);
        self.life = life;
        for effect in effects {
            self.carry_out(effect).await;
        }
        let after = (self.life.phase(), self.life.is_draining());
        if after.0 == Phase::Up && before.0 != Phase::Up {
            self.up_since = Some(Instant::now());
        }
        let changed = after != before;
        if changed {
            self.written.since = SinceBoot::now();
        }
        let now = (self.life.stage(), self.life.is_held());
        if now != (Some(self.written.stage), self.written.held) || input == Input::Launched {
            let ends = now.0 == Some(Stage::Stopping);
            let (before, after) = match input {
                Input::Launched => (Some(Milestone::Launched), Some(Milestone::LifeWritten)),
                _ if ends => (Some(Milestone::Terminated), Some(Milestone::StopWritten)),
                _ => (None, None),
            };
            before.into_iter().for_each(|milestone| self.reach(milestone));
            self.write_down();
            after.into_iter().for_each(|milestone| self.reach(milestone));
        }
        // Last: what others see is written down.
        if changed {
            self.tell_app(self.changed()).await;
        }
    }

    /// Writes down where it is in its life, after what had to be done for that was done: if this process dies between the
    /// two, the next one does it again.
    fn write_down(&mut self) {
        // When it is ending, what stands there is as good as anything.
        let Some(stage) = self.life.stage() else { return };
        (self.written.stage, self.written.held) = (stage, self.life.is_held());
        let record = Record::of(&self.body.family, self.body.quarters.as_ref()).living(&self.written);
        if let Err(error) = self.house.state.write(&self.body.key, &record) {
            tracing::warn!(%error, "if this runtime is killed, the next one may not go on with this dyno");
        }
    }

    async fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Say(say) => self.teller.heroku(say.to_string()),
            Effect::Probe => {
                if let Some(address) = self.address() {
                    self.awaited.push((Input::Accepting, Box::pin(accepting(address))));
                }
            }
            Effect::Booted => self.tell_app(News::Booted).await,
            Effect::Register => {
                self.reach(Milestone::Accepted);
                self.register();
            }
            Effect::Drain => {
                let nothing = || -> [BoxFuture<'static, ()>; 2] { [Box::pin(async {}), Box::pin(async {})] };
                let [unrouted, left] = self.membership.as_ref().map_or_else(nothing, Membership::drain);
                self.unrouted = Some(unrouted);
                self.awaited.push((Input::Left, left));
                self.reach(Milestone::Drained);
            }
            Effect::Deregister => {
                if let Some(membership) = &self.membership {
                    membership.end();
                }
                self.reach(Milestone::Deregistered);
            }
            Effect::HangUp => {
                self.body.family.signal(Signal::HUP);
            }
            Effect::Terminate => {
                self.body.family.signal(Signal::TERM);
            }
            Effect::Kill => self.kill().await,
            Effect::AwaitEmpty => {
                let family = self.body.family.clone();
                self.awaited.push((Input::Empty, Box::pin(async move { family.gone().await })));
            }
        }
    }

    fn register(&mut self) {
        let Some(address) = self.address() else { return };
        let ttl_ms = Millis(u64::try_from(self.house.options.lease.as_millis()).unwrap_or(u64::MAX));
        let (app, dyno) = (self.plan.definition.name.clone(), self.plan.dyno.clone());
        let registration = Registration { app, dyno, address: address.into(), ttl_ms };
        let drained = Arc::clone(&self.house.options.drained);
        let registry = Arc::clone(&self.house.registry.0);
        let (earlier, leaving) = (self.written.lease.clone(), self.life.is_draining());
        let (membership, leases) = Membership::begin(registry, registration, drained, earlier, leaving);
        (self.membership, self.leases) = (Some(membership), Some(leases));
    }

    async fn kill(&mut self) {
        if !self.body.family.kill(KILL_LIMIT).await {
            tracing::error!(dyno = self.body.key, "processes are still there {KILL_LIMIT:?} after SIGKILL");
        }
    }

    /// Its command is gone: what it wrote last should stand before the line that says so.
    async fn last_words(&mut self) {
        let limit = self.output_limit();
        let all = async { while self.body.output.join_next().await.is_some() {} };
        let _others_still_write = timeout(limit, all).await;
        let oom_kills = self.body.family.cgroup.as_ref().map_or(0, |cgroup| cgroup.control().oom_kills());
        if self.meter.out_of_memory(oom_kills) {
            self.out_of_memory().await;
        }
    }

    fn reach(&self, milestone: Milestone) {
        self.house.options.die_at.reach(milestone);
    }

    fn output_limit(&self) -> Duration {
        if self.adopted { BACKLOG_LIMIT } else { OUTPUT_LIMIT }
    }

    async fn end(mut self) -> News {
        self.body.process.dismiss().await;
        self.body.process.reap();
        self.reach(Milestone::Reaped);
        let limit = self.output_limit();
        let all = async { while self.body.output.join_next().await.is_some() {} };
        if timeout(limit, all).await.is_err() {
            tracing::warn!(
                dyno = self.body.key,
                "a process that left the dyno still holds its output; it is not read"
            );
        }
        if let Some(membership) = self.membership.take() {
            membership.over().await;
        }
        discard(self.house, &self.body.key, &self.body.family, self.body.quarters.as_ref()).await;
        let up_for = self.up_since.map(|since| since.elapsed()).unwrap_or_default();
        News::Ended { up_for, exit: self.exit }
    }

    fn changed(&self) -> News {
        let pid = self.body.process.pid.filter(|_| self.exit.is_none()).map(|pid| pid.as_raw_pid());
        let cgroup = self.body.family.cgroup.clone();
        let (phase, draining) = (self.life.phase(), self.life.is_draining());
        News::Changed { phase, draining, pid, address: self.address(), cgroup }
    }

    async fn tell_app(&mut self, news: News) {
        let _app_is_gone = self.events.send(Event { generation: self.plan.generation, news }).await;
    }

    fn address(&self) -> Option<SocketAddr> {
        self.body.door.as_ref().map(|door| door.address)
    }
}

/// Version 4, as the names of Heroku's dynos are.
fn random_uuid() -> String {
    let random = fastrand::u128(..) & !(0xf000 << 64) & !(0xc << 60) | 0x4000 << 64 | 0x8 << 60;
    let hex = format!("{random:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

/// Returns when dynos are to go on without this runtime. Cancel safe.
async fn told_to_leave(leaves: &mut watch::Receiver<bool>) {
    let _there_is_a_house = leaves.wait_for(|leaves| *leaves).await;
}

/// Waits for it, and forgets it. Cancel safe.
async fn once(awaited: &mut Option<BoxFuture<'static, ()>>) {
    match awaited {
        Some(it) => it.await,
        None => std::future::pending().await,
    }
    *awaited = None;
}

/// Hears of another lease. Cancel safe.
async fn another(leases: &mut Option<watch::Receiver<Option<Lease>>>) -> Option<Lease> {
    let Some(receiver) = leases else { return std::future::pending().await };
    if receiver.changed().await.is_err() {
        *leases = None;
        return std::future::pending().await;
    }
    receiver.borrow_and_update().clone()
}

/// Waits for the first of them, and forgets it. Cancel safe.
async fn first(awaited: &mut Vec<(Input, BoxFuture<'static, ()>)>) -> Input {
    let (input, at) = std::future::poll_fn(|context| {
        let mut each = awaited.iter_mut().enumerate();
        let come =
            each.find_map(|(at, (input, one))| one.as_mut().poll(context).is_ready().then_some((*input, at)));
        come.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
    })
    .await;
    drop(awaited.swap_remove(at));
    input
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_random_uuid_is_of_version_4_and_another_one_each_time() {
        let uuid = super::random_uuid();
        let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
        assert_eq!((lengths, uuid.as_bytes()[14]), (vec![8, 4, 4, 4, 12], b'4'));
        assert!(b"89ab".contains(&uuid.as_bytes()[19]), "{uuid}");
        assert_ne!(uuid, super::random_uuid());
    }
}
