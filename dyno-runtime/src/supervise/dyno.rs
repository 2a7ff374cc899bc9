//! One life of one dyno: how it begins. What happens then is the [`Driver`]'s.

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use busbar_registry::DynoName;
use tokio::{
    net::unix::pipe::Receiver,
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    House, KILL_LIMIT, StateError,
    driver::Driver,
    milestone::Milestone,
    record::{LifeRecord, Record},
    state::{Left, Stray, remove_group},
};
use crate::{
    cgroup::{Cgroup, CgroupError, Disk, Enforcement, Limits, Role},
    definition::AppDefinition,
    init::InitSpec,
    life::{Effect, Exit, Input, Life, Phase, Why},
    logs::{self, LogLine, Logs, Source, Speaker, Stream},
    options::shell,
    ports::Port,
    process::{Family, MARK},
    profile,
    sandbox::{disk::Disk as OwnDisk, quarters::Quarters},
    spawn::{Embryo, LaunchOrder, Launched, Process, SpawnError},
    stdio::{Stdio, Streams},
};

/// What is to live.
pub(super) struct Plan {
    pub(super) dyno: DynoName,
    pub(super) generation: u64,
    pub(super) command: String,
    pub(super) limits: Limits,
    pub(super) definition: Arc<AppDefinition>,
    /// It waits for [`Order::Go`] before it is registered.
    pub(super) held: bool,
    /// It is to end by itself.
    pub(super) task: bool,
    /// Whether the next runtime is to go on with it if this one is killed.
    pub(super) outlives: bool,
}

/// Whoever is to be attached to a one-off dyno.
pub(super) struct Attached {
    /// What its standard streams are.
    pub(super) stdio: Stdio,
    /// Tells that it is there, and is gone with it.
    pub(super) client: oneshot::Receiver<()>,
    /// What it is given then.
    pub(super) give: oneshot::Sender<Streams>,
}

/// What a dyno is told.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    /// End. Of several the first counts.
    Stop(Why),
    /// It is held no longer.
    Go,
    /// It has another memory quota.
    Quota(Option<u64>),
}

/// What an app hears from its dynos.
pub(super) struct Event {
    pub(super) generation: u64,
    pub(super) news: News,
}

pub(super) enum News {
    Changed {
        phase: Phase,
        draining: bool,
        pid: Option<i32>,
        address: Option<SocketAddr>,
        cgroup: Option<Cgroup>,
    },
    /// `$PORT` accepts, and it is held.
    Booted,
    /// The registry knows it now.
    Registered,
    /// No router sends it anything new.
    Unrouted,
    /// It goes on without this runtime.
    Left,
    /// Nothing of it is left.
    Ended { up_for: Duration, exit: Option<Exit> },
}

/// Why a life could not begin.
#[derive(Debug, thiserror::Error)]
enum LaunchError {
    #[error("no free port: {0}")]
    Port(#[source] std::io::Error),
    #[error("no quarters: {0}")]
    Quarters(#[source] std::io::Error),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error(transparent)]
    Spawn(#[from] SpawnError),
}

/// Lives it from beginning to end.
pub(super) async fn run(
    house: Arc<House>,
    logs: Arc<Logs>,
    plan: Plan,
    mut attached: Option<Attached>,
    mut orders: mpsc::Receiver<Order>,
    events: mpsc::Sender<Event>,
) {
    let generation = plan.generation;
    let teller = Teller { logs, speaker: Speaker::Dyno(plan.dyno.clone()) };
    let news = match &mut attached {
        Some(Attached { client, .. }) => awaited(&plan, &teller, client, &mut orders).await.err(),
        None => None,
    };
    let outcome = match news {
        Some(never_launched) => never_launched,
        None => live(&house, &plan, teller, attached, orders, events.clone()).await,
    };
    let _app_is_gone = events.send(Event { generation, news: outcome }).await;
}

/// Waits until somebody is attached to it. Otherwise it has ended.
async fn awaited(
    plan: &Plan,
    teller: &Teller,
    client: &mut oneshot::Receiver<()>,
    orders: &mut mpsc::Receiver<Order>,
) -> Result<(), News> {
    let began = Instant::now();
    let mut input = Input::Awaiting;
    let mut life = Life::created(false, plan.definition.times).task();
    loop {
        let (next, effects) = life.on(began.elapsed(), input);
        life = next;
        teller.effects(&effects);
        if life.has_ended() {
            return Err(News::Ended { up_for: Duration::ZERO, exit: None });
        }
        let Some(until) = life.wake() else { return Ok(()) };
        input = tokio::select! {
            come = &mut *client => if come.is_ok() { Input::Attached } else { Input::NotAttached },
            order = orders.recv() => match order {
                Some(Order::Stop(why)) => Input::Stop(why),
                None => Input::Stop(Why::Down),
                Some(Order::Go | Order::Quota(_)) => continue,
            },
            () = sleep_until(began + until) => Input::Time,
        };
    }
}

/// Lives it from its launch on.
async fn live(
    house: &House,
    plan: &Plan,
    teller: Teller,
    attached: Option<Attached>,
    orders: mpsc::Receiver<Order>,
    events: mpsc::Sender<Event>,
) -> News {
    teller.heroku(format!("Starting process with command `{}`", plan.command));
    match Body::launch(house, plan, &teller, attached).await {
        Ok(body) => Driver::new(house, plan, teller, body, orders, events).live().await,
        Err(error) => {
            tracing::error!(app = %plan.definition.name, dyno = %plan.dyno, %error, "cannot launch a dyno");
            teller.heroku(format!("Error R99 (Platform error) -> {error}"));
            let (_, effects) =
                Life::created(true, plan.definition.times).on(Duration::ZERO, Input::LaunchFailed);
            teller.effects(&effects);
            News::Ended { up_for: Duration::ZERO, exit: None }
        }
    }
}

/// Goes on with one that a killed runtime has left, to its end.
pub(super) async fn go_on(
    house: Arc<House>,
    logs: Arc<Logs>,
    plan: Plan,
    stray: Stray,
    orders: mpsc::Receiver<Order>,
    events: mpsc::Sender<Event>,
) {
    let generation = plan.generation;
    let teller = Teller { logs, speaker: Speaker::Dyno(plan.dyno.clone()) };
    let Stray { left, life } = stray;
    let body = Body::adopt(&house, left, &life, &teller).await;
    let driver = Driver::go_on(&house, &plan, teller, body, life, orders, events.clone());
    let outcome = driver.live().await;
    let _app_is_gone = events.send(Event { generation, news: outcome }).await;
}

/// Writes to the app's log.
#[derive(Clone)]
pub(super) struct Teller {
    logs: Arc<Logs>,
    speaker: Speaker,
}

impl Teller {
    pub(super) fn heroku(&self, text: String) {
        self.logs.push(LogLine::heroku(self.speaker.clone(), text));
    }

    fn effects(&self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Say(say) = effect {
                self.heroku(say.to_string());
            }
        }
    }

    /// Everything that comes out of one of the dyno's streams.
    async fn carry(self, from: Receiver, stream: Stream) {
        let line = |text| {
            let at = std::time::SystemTime::now();
            self.logs.push(LogLine { at, source: Source::App, speaker: self.speaker.clone(), stream, text });
        };
        let lost = |messages, since| {
            self.logs.push(LogLine::dropped(self.speaker.clone(), messages, since));
        };
        logs::carry(from, line, lost).await;
    }
}

/// What a running dyno consists of.
pub(super) struct Body {
    pub(super) key: String,
    pub(super) family: Family,
    pub(super) process: Process,
    pub(super) quarters: Option<Quarters>,
    pub(super) door: Option<Door>,
    pub(super) output: JoinSet<()>,
}

/// Where a web dyno accepts connections.
pub(super) struct Door {
    pub(super) address: SocketAddr,
    /// Of the machine's network it takes a port that nobody else is to get.
    _port: Option<Port>,
}

impl Door {
    fn find(house: &House, quarters: Option<&Quarters>) -> Result<Self, LaunchError> {
        let own = house.walls.as_ref().zip(quarters).and_then(|(walls, quarters)| walls.address(quarters));
        if let Some(own) = own {
            return Ok(Self { address: (own, fastrand::u16(10_000..60_000)).into(), _port: None });
        }
        let port = house.ports.take().map_err(LaunchError::Port)?;
        Ok(Self { address: (Ipv4Addr::LOCALHOST, port.number).into(), _port: Some(port) })
    }
}

impl Body {
    /// Writes down, groups, starts. When a step fails, what the steps before it made is removed.
    async fn launch(
        house: &House,
        plan: &Plan,
        teller: &Teller,
        attached: Option<Attached>,
    ) -> Result<Self, LaunchError> {
        let key = format!("{}.{}.{}", plan.definition.name, plan.dyno, plan.generation);
        let quarters = house.walls.as_ref().map(|walls| walls.quarters(&key)).transpose();
        let quarters = quarters.map_err(LaunchError::Quarters)?;
        house.options.die_at.reach(Milestone::Numbered);
        // Unguessable, so that no other program carries it by chance.
        let mark = format!("{}/{key}/{:016x}", house.options.instance, fastrand::u64(..));
        let cgroup = house.site.as_ref().map(|site| site.plan(&key));
        let mut family = Family { leader: None, mark, cgroup, apart: quarters.is_some(), stays: true };
        let stdio = attached.as_ref().map(|attached| attached.stdio).unwrap_or_default();
        match Self::steps(house, plan, &key, &mut family, quarters.as_ref(), stdio).await {
            Ok((Launched { process, streams }, door)) => {
                let output = match attached {
                    Some(attached) => {
                        let _gone_meanwhile = attached.give.send(streams);
                        JoinSet::new()
                    }
                    None => listen(teller, streams),
                };
                Ok(Self { key, family, process, quarters, door, output })
            }
            Err(error) => {
                discard(house, &key, &family, quarters.as_ref()).await;
                Err(error)
            }
        }
    }

    /// Takes what the first process of a dyno holds for whoever supervises it. Where there is nothing to take, nothing of
    /// the dyno is left but how it ended, if that is known.
    async fn adopt(house: &House, left: Left, life: &LifeRecord, teller: &Teller) -> Self {
        let Left { key, record } = left;
        let (family, quarters) = (record.family(), record.quarters().cloned());
        let door = life.address.map(|address| Door { address, _port: house.ports.claim(address) });
        let told = house.state.told_file(&key);
        let gone = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let taken = told.and_then(|told| Process::adopt(family.leader.ok_or_else(gone)?, told));
        let (process, output) = match taken {
            Ok(Launched { process, streams }) => {
                house.options.die_at.reach(Milestone::Taken);
                tracing::info!(app = %life.app, dyno = %life.dyno, "goes on with a dyno");
                (process, listen(teller, streams))
            }
            Err(error) => {
                tracing::warn!(app = %life.app, dyno = %life.dyno, %error, "cannot go on with a dyno");
                // Nobody could hear it any more, nor how it ends.
                family.kill(KILL_LIMIT).await;
                family.kill_leader(KILL_LIMIT).await;
                (Process::gone(house.state.told_file(&key).ok()), JoinSet::new())
            }
        };
        Self { key, family, process, quarters, door, output }
    }

    async fn steps(
        house: &House,
        plan: &Plan,
        key: &str,
        family: &mut Family,
        quarters: Option<&Quarters>,
        stdio: Stdio,
    ) -> Result<(Launched, Option<Door>), LaunchError> {
        let reach = |milestone| house.options.die_at.reach(milestone);
        house.state.write(key, &Record::of(family, quarters))?;
        reach(Milestone::WrittenDown);
        make_group(house, plan, family).await?;
        reach(Milestone::Grouped);
        let web = plan.dyno.process_type.is_web();
        let door = if web { Some(Door::find(house, quarters)?) } else { None };
        let disk = match &house.walls {
            Some(walls) => walls.disk().await.map_err(LaunchError::Quarters)?,
            None => None,
        };
        let own = quarters.map(|own| (own, disk.as_ref()));
        let mut order = order(house, plan, family, own, door.as_ref(), stdio)?;
        order.die_at = house.options.die_at;
        reach(Milestone::Furnished);
        let exit = house.state.exit_file(key)?;
        let embryo = Embryo::create(&house.program, house.options.isolation, Some(exit), stdio)?;
        reach(Milestone::Embryo);
        family.leader = embryo.identity();
        if let Err(unwritten) = house.state.write(key, &Record::of(family, quarters)) {
            embryo.abandon().await;
            return Err(unwritten.into());
        }
        reach(Milestone::LeaderWritten);
        Ok((embryo.launch(&order, family).await?, door))
    }
}

/// Carries what a dyno writes into the log.
fn listen(teller: &Teller, streams: Streams) -> JoinSet<()> {
    let mut output = JoinSet::new();
    if let Streams::Pipes { stdout, stderr, .. } = streams {
        output.spawn(teller.clone().carry(stdout, Stream::Stdout));
        output.spawn(teller.clone().carry(stderr, Stream::Stderr));
    }
    output
}

/// What `dyno-init` is told.
fn order(
    house: &House,
    plan: &Plan,
    family: &Family,
    quarters: Option<(&Quarters, Option<&OwnDisk>)>,
    door: Option<&Door>,
    stdio: Stdio,
) -> Result<LaunchOrder, LaunchError> {
    let definition = &plan.definition;
    let apart = house.walls.as_ref().zip(quarters);
    let sandbox =
        apart.map(|(walls, (own, disk))| walls.spec(own, disk, &definition.directory, plan.dyno.to_string()));
    let sandbox = sandbox.transpose().map_err(LaunchError::Quarters)?;
    let join = family.cgroup.as_ref().map(|cgroup| cgroup.control().join_files(Role::App));
    let spec = InitSpec {
        join: join.unwrap_or_default(),
        hold: definition.hold.clone(),
        directory: sandbox.as_ref().map_or_else(|| definition.directory.clone(), |_| "/app".into()),
        argv: profile::argv(shell(house.options.programs()), &plan.command, definition.profile),
        environment: 0,
        stdin: stdio.stdin(),
        sandbox,
        fail: house.options.sandbox.fail,
    };
    Ok(LaunchOrder::new(spec, environment(house, plan, family, door))?)
}

async fn make_group(house: &House, plan: &Plan, family: &mut Family) -> Result<(), CgroupError> {
    let Some(cgroup) = &family.cgroup else { return Ok(()) };
    let limited = cgroup.control().create(&plan.limits).and_then(|()| match plan.limits.disk_rate {
        Some(rate) => cgroup.control().limit_disk(Disk::of(&plan.definition.directory)?, rate),
        None => Ok(()),
    });
    let Err(error) = limited else { return Ok(()) };
    if house.options.cgroups == Enforcement::Required {
        return Err(error);
    }
    tracing::warn!(app = %plan.definition.name, dyno = %plan.dyno, %error, "this dyno runs WITHOUT limits");
    let _nothing_in_it = remove_group(cgroup).await;
    family.cgroup = None;
    Ok(())
}

/// The runtime's part first, then the app's config vars, then what no config var can change.
fn environment(
    house: &House,
    plan: &Plan,
    family: &Family,
    door: Option<&Door>,
) -> Vec<(OsString, OsString)> {
    let mut variables = house.options.environment.variables(house.options.isolation);
    variables.extend(plan.definition.config_vars.iter().map(|(name, value)| (name.into(), value.into())));
    variables.push(("DYNO".into(), plan.dyno.to_string().into()));
    variables.extend(door.map(|door| ("PORT".into(), door.address.port().to_string().into())));
    variables.push((MARK.into(), family.mark.clone().into()));
    variables
}

/// Removes what is left of a dyno without processes.
pub(super) async fn discard(house: &House, key: &str, family: &Family, quarters: Option<&Quarters>) {
    if let Some(cgroup) = &family.cgroup
        && let Err(error) = remove_group(cgroup).await
    {
        // The record stays, so that the next runtime tries again.
        return tracing::warn!(%error, "a cgroup is left behind");
    }
    house.options.die_at.reach(Milestone::GroupRemoved);
    if let Some(quarters) = quarters.cloned() {
        // A dyno can have written a great many files.
        let removed = tokio::task::spawn_blocking(move || quarters.remove()).await;
        if let Err(error) = removed.unwrap_or_else(|panicked| Err(std::io::Error::other(panicked))) {
            return tracing::warn!(%error, key, "what a dyno had on this machine is left behind");
        }
    }
    house.options.die_at.reach(Milestone::Emptied);
    house.state.remove(key);
}
