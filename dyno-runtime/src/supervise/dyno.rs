//! One life of one dyno: carries out what [`crate::life`] says, and tells it what happens.

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use busbar_registry::{DynoName, Millis, Registration};
use futures_util::future::BoxFuture;
use rustix::process::Signal;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{
    House, KILL_LIMIT, StateError,
    state::{Record, remove_group},
};
use crate::{
    cgroup::{Cgroup, CgroupError, Disk, Enforcement, Limits, Role},
    definition::AppDefinition,
    init::InitSpec,
    life::{Effect, Exit, Input, Life, Phase, Why},
    logs::{self, LogLine, Logs, Source, Speaker, Stream},
    options::shell,
    ports::Port,
    process::{Family, Identity, MARK},
    register::{Membership, accepting},
    spawn::{Embryo, Launched, Process, SpawnError},
};

/// How long the last output of a dyno is waited for, once its processes are gone or its first one is.
const OUTPUT_LIMIT: Duration = Duration::from_millis(200);

/// What is to live.
pub(super) struct Plan {
    pub(super) dyno: DynoName,
    pub(super) generation: u64,
    pub(super) command: String,
    pub(super) limits: Limits,
    pub(super) definition: Arc<AppDefinition>,
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
        port: Option<u16>,
        cgroup: Option<Cgroup>,
    },
    /// The registry knows it now.
    Registered,
    /// Nothing of it is left.
    Ended {
        up_for: Duration,
        exit: Option<Exit>,
    },
}

/// Why a life could not begin.
#[derive(Debug, thiserror::Error)]
enum LaunchError {
    #[error("no free port: {0}")]
    Port(#[source] std::io::Error),
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
    orders: mpsc::Receiver<Why>,
    events: mpsc::Sender<Event>,
) {
    let generation = plan.generation;
    let teller = Teller { logs, speaker: Speaker::Dyno(plan.dyno.clone()) };
    teller.heroku(format!("Starting process with command `{}`", plan.command));
    let outcome = match Body::launch(&house, &plan, &teller).await {
        Ok(body) => Driver::new(&house, &plan, teller, body, orders, events.clone()).live().await,
        Err(error) => {
            tracing::error!(app = %plan.definition.name, dyno = %plan.dyno, %error, "cannot launch a dyno");
            teller.heroku(format!("Error R99 (Platform error) -> {error}"));
            let (_, effects) =
                Life::created(true, plan.definition.times).on(Duration::ZERO, Input::LaunchFailed);
            teller.effects(&effects);
            News::Ended { up_for: Duration::ZERO, exit: None }
        }
    };
    let _app_is_gone = events.send(Event { generation, news: outcome }).await;
}

/// Writes to the app's log.
#[derive(Clone)]
struct Teller {
    logs: Arc<Logs>,
    speaker: Speaker,
}

impl Teller {
    fn heroku(&self, text: String) {
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
    async fn carry(self, from: tokio::net::unix::pipe::Receiver, stream: Stream) {
        let line = |text| {
            let at = std::time::SystemTime::now();
            self.logs.push(LogLine { at, source: Source::App, speaker: self.speaker.clone(), stream, text });
        };
        logs::carry(from, line).await;
    }
}

/// What a running dyno consists of.
struct Body {
    key: String,
    family: Family,
    process: Process,
    port: Option<Port>,
    output: JoinSet<()>,
}

impl Body {
    /// Writes down, groups, starts. When a step fails, what the steps before it made is removed.
    async fn launch(house: &House, plan: &Plan, teller: &Teller) -> Result<Self, LaunchError> {
        let web = plan.dyno.process_type.is_web();
        let port = if web { Some(house.ports.take().map_err(LaunchError::Port)?) } else { None };
        let key = format!("{}.{}.{}", plan.definition.name, plan.dyno, plan.generation);
        // Unguessable, so that no other program carries it by chance.
        let mark = format!("{}/{key}/{:016x}", house.options.instance, fastrand::u64(..));
        let mut family =
            Family { leader: None, mark, cgroup: house.site.as_ref().map(|site| site.plan(&key)) };
        match Self::steps(house, plan, &key, &mut family, port.as_ref()).await {
            Ok(Launched { process, stdout, stderr }) => {
                let mut output = JoinSet::new();
                output.spawn(teller.clone().carry(stdout, Stream::Stdout));
                output.spawn(teller.clone().carry(stderr, Stream::Stderr));
                Ok(Self { key, family, process, port, output })
            }
            Err(error) => {
                discard(house, &key, &family).await;
                Err(error)
            }
        }
    }

    async fn steps(
        house: &House,
        plan: &Plan,
        key: &str,
        family: &mut Family,
        port: Option<&Port>,
    ) -> Result<Launched, LaunchError> {
        house.state.write(key, &Record::of(family))?;
        make_group(house, plan, family).await?;
        let embryo = Embryo::create(&house.options.init, environment(house, plan, family, port))?;
        family.leader = Identity::of(embryo.pid().as_raw_pid());
        if let Err(unwritten) = house.state.write(key, &Record::of(family)) {
            embryo.abandon().await;
            return Err(unwritten.into());
        }
        let join = family.cgroup.as_ref().map(|cgroup| cgroup.control().join_files(Role::App));
        let spec = InitSpec {
            join: join.unwrap_or_default(),
            directory: plan.definition.directory.clone(),
            argv: vec![shell().to_owned(), "-c".to_owned(), plan.command.clone()],
        };
        Ok(embryo.launch(&spec).await?)
    }
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
    port: Option<&Port>,
) -> Vec<(OsString, OsString)> {
    let mut variables = house.options.environment.variables();
    variables.extend(plan.definition.config_vars.iter().map(|(name, value)| (name.into(), value.into())));
    variables.push(("DYNO".into(), plan.dyno.to_string().into()));
    variables.extend(port.map(|port| ("PORT".into(), port.number.to_string().into())));
    variables.push((MARK.into(), family.mark.clone().into()));
    variables
}

/// Removes what is left of a dyno without processes.
async fn discard(house: &House, key: &str, family: &Family) {
    if let Some(cgroup) = &family.cgroup
        && let Err(error) = remove_group(cgroup).await
    {
        // The record stays, so that the next runtime tries again.
        return tracing::warn!(%error, "a cgroup is left behind");
    }
    house.state.remove(key);
}

/// What the driver hears.
enum Happened {
    Input(Input),
    Registered,
}

/// Between the machine and [`Life`].
struct Driver<'a> {
    house: &'a House,
    plan: &'a Plan,
    teller: Teller,
    body: Body,
    orders: mpsc::Receiver<Why>,
    events: mpsc::Sender<Event>,
    life: Life,
    began: Instant,
    up_since: Option<Instant>,
    told: bool,
    exit: Option<Exit>,
    membership: Option<Membership>,
    registered: Option<oneshot::Receiver<()>>,
    /// What is waited for, and what it means when it comes.
    awaited: Vec<(Input, BoxFuture<'static, ()>)>,
}

impl<'a> Driver<'a> {
    fn new(
        house: &'a House,
        plan: &'a Plan,
        teller: Teller,
        body: Body,
        orders: mpsc::Receiver<Why>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let life = Life::created(body.port.is_some(), plan.definition.times);
        let (told, exit, up_since, began) = (false, None, None, Instant::now());
        let (membership, registered, awaited) = (None, None, vec![]);
        Self {
            house,
            plan,
            teller,
            body,
            orders,
            events,
            life,
            began,
            up_since,
            told,
            exit,
            membership,
            registered,
            awaited,
        }
    }

    async fn live(mut self) -> News {
        self.take(Input::Launched).await;
        while !self.life.has_ended() {
            match self.next().await {
                Happened::Registered => self.tell_app(News::Registered).await,
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
            () = self.body.process.ended(), if self.exit.is_none() => {
                let exit = self.body.process.peek();
                self.exit = Some(exit);
                self.last_words().await;
                Happened::Input(Input::Exited(exit))
            }
            why = self.orders.recv(), if !self.told => {
                self.told = true;
                Happened::Input(Input::Stop(why.unwrap_or(Why::Down)))
            }
            () = joined(&mut self.registered) => Happened::Registered,
            input = first(&mut self.awaited) => Happened::Input(input),
            () = sleep_until(wake.unwrap_or(self.began)), if wake.is_some() => Happened::Input(Input::Time),
        }
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
        if after != before {
            self.tell_app(self.changed()).await;
        }
    }

    async fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Say(say) => self.teller.heroku(say.to_string()),
            Effect::Probe => {
                let port = self.port().unwrap_or_default();
                self.awaited.push((Input::Accepting, Box::pin(accepting(port))));
            }
            Effect::Register => self.register(),
            Effect::Drain => {
                let drained = self.membership.as_ref().map(Membership::drain);
                self.awaited.push((Input::Left, drained.unwrap_or_else(|| Box::pin(async {}))));
            }
            Effect::Deregister => {
                if let Some(membership) = &self.membership {
                    membership.end();
                }
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
        let Some(port) = self.port() else { return };
        let ttl_ms = Millis(u64::try_from(self.house.options.lease.as_millis()).unwrap_or(u64::MAX));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (app, dyno) = (self.plan.definition.name.clone(), self.plan.dyno.clone());
        let registration = Registration { app, dyno, address: address.into(), ttl_ms };
        let drained = Arc::clone(&self.house.options.drained);
        let (membership, registered) =
            Membership::begin(Arc::clone(&self.house.registry.0), registration, drained);
        (self.membership, self.registered) = (Some(membership), Some(registered));
    }

    async fn kill(&mut self) {
        if !self.body.family.kill(KILL_LIMIT).await {
            tracing::error!(dyno = self.body.key, "processes are still there {KILL_LIMIT:?} after SIGKILL");
        }
    }

    /// Its first process is gone: what it wrote last should stand before the line that says so.
    async fn last_words(&mut self) {
        let all = async { while self.body.output.join_next().await.is_some() {} };
        let _others_still_write = timeout(OUTPUT_LIMIT, all).await;
        let oom = self.body.family.cgroup.as_ref().map_or(0, |cgroup| cgroup.control().oom_kills());
        if oom > 0 {
            self.teller.heroku("Error R15 (Memory quota vastly exceeded)".to_owned());
        }
    }

    async fn end(mut self) -> News {
        self.body.process.reap();
        let all = async { while self.body.output.join_next().await.is_some() {} };
        if timeout(OUTPUT_LIMIT, all).await.is_err() {
            tracing::warn!(
                dyno = self.body.key,
                "a process that left the dyno still holds its output; it is not read"
            );
        }
        if let Some(membership) = self.membership.take() {
            membership.over().await;
        }
        discard(self.house, &self.body.key, &self.body.family).await;
        let up_for = self.up_since.map(|since| since.elapsed()).unwrap_or_default();
        News::Ended { up_for, exit: self.exit }
    }

    fn changed(&self) -> News {
        let pid = self.exit.is_none().then(|| self.body.process.pid.as_raw_pid());
        let cgroup = self.body.family.cgroup.clone();
        let (phase, draining) = (self.life.phase(), self.life.is_draining());
        News::Changed { phase, draining, pid, port: self.port(), cgroup }
    }

    async fn tell_app(&mut self, news: News) {
        let _app_is_gone = self.events.send(Event { generation: self.plan.generation, news }).await;
    }

    fn port(&self) -> Option<u16> {
        self.body.port.as_ref().map(|port| port.number)
    }
}

/// Hears once that the dyno is registered. Cancel safe.
async fn joined(registered: &mut Option<oneshot::Receiver<()>>) {
    let heard = match registered {
        Some(receiver) => receiver.await,
        None => std::future::pending().await,
    };
    *registered = None;
    if heard.is_err() {
        std::future::pending::<()>().await;
    }
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
