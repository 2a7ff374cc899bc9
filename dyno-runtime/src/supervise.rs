//! The runtime: apps whose dynos it starts, watches, starts again and stops.
//!
//! - [`Runtime::start`] finds what a runtime of the same instance left when it was killed; [`Runtime::deploy`] goes on
//!   with it.
//! - [`Runtime::deploy`], [`Runtime::scale`], [`Runtime::restart`], [`Runtime::ps`], [`Runtime::logs`],
//!   [`Runtime::stop_app`]: one app.
//! - [`Runtime::shutdown`] stops everything, in order; [`Runtime::leave`] leaves everything to the next runtime.
//!
//! One task per app ([`app`]) decides; one task per life of a dyno ([`dyno`], [`driver`]) carries
//! out what [`crate::life`] says.
//! A runtime that is dropped without a shutdown stops its dynos in the background, for as long as tokio runs.

mod app;
mod driver;
mod dyno;
mod end;
mod milestone;
mod record;
mod state;
mod strays;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::{Duration, SystemTime},
};

use busbar_registry::{AppName, DynoName, ProcessType, Registry};
use serde::Serialize;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

#[doc(hidden)]
pub use self::milestone::{DieAt, Milestone};
use self::{
    app::{Actor, Command},
    record::Fingerprints,
    state::Stray,
};
pub use self::{
    app::{Attach, OneOff, Started},
    state::StateError,
};
pub(crate) use self::{
    driver::OUTPUT_LIMIT,
    record::Record,
    state::{StateDirectory, remove_group},
};
use crate::{
    cgroup::{CgroupError, Enforcement, Limits, Site},
    definition::AppDefinition,
    formation::{Formation, FormationError, ScaleChange},
    life::{Exit, Phase},
    logs::{LogLine, Logs, Tail},
    options::{Isolation, RuntimeOptions},
    ports::Ports,
    rollout::Replacement,
    sandbox::walls::Walls,
    spawn::OpenProgram,
};

/// Apps whose dynos are started, watched, started again and stopped.
#[derive(Debug)]
pub struct Runtime {
    house: Arc<House>,
    apps: Mutex<BTreeMap<AppName, Running>>,
    swept: Swept,
}

/// What a runtime found that an earlier one had left behind, and removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Swept {
    /// Dynos that were written down; all are gone now.
    pub dynos: usize,
    /// Those of them whose processes or groups could not be removed.
    pub stuck: usize,
}

/// Why a runtime cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The instance has no usable name.
    #[error("instance {0:?} must be 1 to 40 characters of A-Z, a-z, 0-9, '-' and '_'")]
    Instance(String),
    /// The state directory cannot be used, or another runtime uses it.
    #[error(transparent)]
    State(#[from] StateError),
    /// Control groups are required and cannot be used.
    #[error("control groups are required: {0}")]
    Cgroup(#[from] CgroupError),
    /// The level of isolation that is wanted cannot be had.
    #[error("isolation {isolation} cannot be had: {source}")]
    Isolation {
        /// The level.
        isolation: Isolation,
        /// Why.
        source: std::io::Error,
    },
}

/// Why an app was not changed.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// There is no such app here.
    #[error("app {0} is not deployed here; deploy it first")]
    UnknownApp(AppName),
    /// The app has no such dyno.
    #[error("app {app} has no dyno {which}; see what it has with ps")]
    NoSuchDyno {
        /// The app.
        app: AppName,
        /// What was asked for.
        which: Which,
    },
    /// The formation is wrong.
    #[error(transparent)]
    Formation(#[from] FormationError),
    /// Limits were asked for, control groups are required, and the machine cannot keep them.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The app is to be idle when nobody asks for it, and nobody here knows that.
    #[error(
        "app {0} cannot be idle: the router that knows whether somebody asks for it is elsewhere; leave idle_after out"
    )]
    NoDemand(AppName),
    /// The command that had to come before the deploy failed.
    #[error("the release command of {app} {}; nothing was changed", failed_how(.exit))]
    ReleaseFailed {
        /// The app.
        app: AppName,
        /// How it ended; `None`: it could not be launched.
        exit: Option<Exit>,
    },
    /// Two deploys at the same time.
    #[error("the release command of another deploy of {0} runs; deploy again when it has ended")]
    ReleaseUnderWay(AppName),
    /// As many as there may be.
    #[error("app {0} has as many one-off dynos as it may have; stop one, or wait until one ends")]
    TooManyOneOffs(AppName),
    /// The app is being stopped.
    #[error("app {0} is being stopped; deploy it again when it is gone")]
    Stopping(AppName),
}

fn failed_how(exit: &Option<Exit>) -> String {
    exit.map_or_else(|| "could not be started".to_owned(), |exit| format!("failed with status {exit}"))
}

/// Which dynos of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// Those of one process type.
    Type(ProcessType),
    /// One.
    Dyno(DynoName),
}

impl Which {
    fn has(&self, dyno: &DynoName) -> bool {
        match self {
            Self::All => true,
            Self::Type(process_type) => dyno.process_type == *process_type,
            Self::Dyno(one) => dyno == one,
        }
    }
}

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("at all"),
            Self::Type(process_type) => write!(f, "of type {process_type}"),
            Self::Dyno(dyno) => dyno.fmt(f),
        }
    }
}

/// One dyno, as `ps` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct DynoStatus {
    /// Its name. An old dyno that stops and its successor have the same.
    pub dyno: DynoName,
    /// Where it is in its life.
    pub phase: Phase,
    /// Since when.
    pub since: SystemTime,
    /// What it runs.
    pub command: String,
    /// Its first process, while it runs.
    pub pid: Option<i32>,
    /// Where it accepts connections, if it is a web dyno.
    pub address: Option<SocketAddr>,
    /// Memory it uses, in bytes and without page cache, where control groups tell.
    pub memory: Option<u64>,
    /// Its memory quota in bytes, if it has one.
    pub quota: Option<u64>,
    /// How often it has crashed since the app was deployed.
    pub crashes: u32,
    /// How its last life ended, if that was a crash.
    pub last_exit: Option<Exit>,
}

/// What all dynos of a runtime share.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) options: RuntimeOptions,
    pub(crate) registry: RegistryHandle,
    pub(crate) state: StateDirectory,
    pub(crate) site: Option<Site>,
    pub(crate) ports: Ports,
    pub(crate) program: OpenProgram,
    /// What keeps dynos apart, at every level but `Plain`.
    pub(crate) walls: Option<Walls>,
    pub(crate) fingerprints: Fingerprints,
    /// What a killed runtime has left, until their apps are deployed again.
    pub(crate) strays: Mutex<Vec<Stray>>,
    /// Part of a dyno's group and record: never used twice, also not by the next runtime.
    pub(crate) generations: AtomicU64,
    /// Whether dynos are to go on without this runtime.
    pub(crate) leaves: watch::Sender<bool>,
}

#[derive(Clone)]
pub(crate) struct RegistryHandle(pub(crate) Arc<dyn Registry>);

impl std::fmt::Debug for RegistryHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Registry")
    }
}

#[derive(Debug)]
struct Running {
    commands: mpsc::Sender<Command>,
    logs: Arc<Logs>,
    task: JoinHandle<()>,
}

impl Runtime {
    /// Starts a runtime. Dynos that a killed runtime of this instance left go on, until their apps are deployed again or
    /// [`RuntimeOptions::adopt`] is over; what nobody can go on with is removed first.
    ///
    /// # Errors
    /// [`StartError`]; then nothing was changed.
    pub async fn start(options: RuntimeOptions, registry: Arc<dyn Registry>) -> Result<Self, StartError> {
        let name_ok = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !(1..=40).contains(&options.instance.len()) || !options.instance.bytes().all(name_ok) {
            return Err(StartError::Instance(options.instance));
        }
        let state = StateDirectory::open(&options)?;
        let (strays, swept) = strays::take_stock(&state, &options, &registry).await;
        options.die_at.reach(Milestone::Found);
        let fingerprints = state.fingerprints()?;
        let site = find_site(&options)?;
        let program = OpenProgram::open(&options.init);
        let isolation = options.isolation;
        let kept: Vec<_> = strays.iter().filter_map(|stray| stray.left.record.quarters().cloned()).collect();
        let walls = Walls::raise(&options, &StateDirectory::of(&options), &kept)
            .map_err(|source| StartError::Isolation { isolation, source })?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let house = House {
            options,
            registry: RegistryHandle(registry),
            state,
            site,
            ports: Ports::of_this_machine(),
            program,
            walls,
            fingerprints,
            strays: Mutex::new(strays),
            generations: AtomicU64::new(u64::try_from(now.as_millis()).unwrap_or_default()),
            leaves: watch::Sender::new(false),
        };
        let house = Arc::new(house);
        strays::expire(&house);
        Ok(Self { house, apps: Mutex::default(), swept })
    }

    /// How many dynos of an earlier runtime go on, and wait until their apps are deployed again.
    pub fn waiting(&self) -> usize {
        self.house.waiting()
    }

    /// What an earlier runtime had left behind, and was removed at the start.
    pub fn swept(&self) -> Swept {
        self.swept
    }

    /// Runs the app; one that runs already is replaced, dyno by dyno, by this definition and its formation. Dynos that a killed
    /// runtime has left are adopted with their output and their end: those that this definition would make stay as they are,
    /// the others are replaced. If its Procfile
    /// has a type `release`, that command runs first, in a dyno of its own, and nothing changes when it fails.
    /// The app has to be in the registry. Returns when its dynos are being started.
    ///
    /// # Errors
    /// [`RuntimeError::Formation`], [`RuntimeError::Cgroup`], [`RuntimeError::NoDemand`],
    /// [`RuntimeError::ReleaseFailed`], [`RuntimeError::ReleaseUnderWay`], [`RuntimeError::Stopping`].
    pub async fn deploy(&self, definition: AppDefinition) -> Result<(), RuntimeError> {
        definition.formation.check_against(&definition.procfile)?;
        self.check_limits(&definition)?;
        if definition.idle_after.is_some() && self.house.options.demand.is_none() {
            return Err(RuntimeError::NoDemand(definition.name));
        }
        let app = definition.name.clone();
        let definition = Arc::new(definition);
        let commands = {
            let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
            let running = apps.entry(app.clone()).or_insert_with(|| self.begin(&app, &definition));
            running.commands.clone()
        };
        ask(&app, &commands, |reply| Command::Deploy(definition, reply)).await?
    }

    /// Runs a command in a dyno of its own, which is no part of the formation. Returns when that has begun; what it writes
    /// goes into the app's log, or to whoever attaches ([`Started::attach`]).
    ///
    /// # Errors
    /// [`RuntimeError::UnknownApp`], [`RuntimeError::TooManyOneOffs`], [`RuntimeError::Stopping`].
    pub async fn run(&self, app: &AppName, order: OneOff) -> Result<Started, RuntimeError> {
        ask(app, &self.commands(app)?, |reply| Command::Run(order, reply)).await?
    }

    /// Ends a one-off dyno by SIGTERM; with `detached` by SIGHUP first, because nobody is attached to it any more. One that
    /// has ended already is left alone.
    ///
    /// # Errors
    /// [`RuntimeError::UnknownApp`], [`RuntimeError::Stopping`].
    pub async fn stop_one_off(
        &self,
        app: &AppName,
        dyno: DynoName,
        detached: bool,
    ) -> Result<(), RuntimeError> {
        let stopping = |_| RuntimeError::Stopping(app.clone());
        self.commands(app)?.send(Command::StopOneOff(dyno, detached)).await.map_err(stopping)
    }

    /// Changes the formation, and returns it as it is then. Of dynos that are too many the highest numbers go. Dynos
    /// get another size while they run; where the kernel refuses that, they restart.
    ///
    /// # Errors
    /// [`RuntimeError::UnknownApp`], [`RuntimeError::Formation`], [`RuntimeError::Stopping`]; [`RuntimeError::Cgroup`]
    /// for a size where no size can be kept.
    pub async fn scale(&self, app: &AppName, changes: Vec<ScaleChange>) -> Result<Formation, RuntimeError> {
        let sized = changes.iter().any(|change| change.size.is_some());
        if sized && self.house.site.is_none() && self.house.options.cgroups != Enforcement::Off {
            return Err(CgroupError::None(PathBuf::from("/sys/fs/cgroup")).into());
        }
        ask(app, &self.commands(app)?, |reply| Command::Scale(changes, reply)).await?
    }

    /// Replaces dynos by new ones as the app's [`Replacement`] says, or as `how` says instead. A dyno that waits for its
    /// restart after a crash starts at once. Returns when that has begun.
    ///
    /// # Errors
    /// [`RuntimeError::UnknownApp`], [`RuntimeError::NoSuchDyno`], [`RuntimeError::Stopping`].
    pub async fn restart(
        &self,
        app: &AppName,
        which: Which,
        how: Option<Replacement>,
    ) -> Result<(), RuntimeError> {
        ask(app, &self.commands(app)?, |reply| Command::Restart(which, how, reply)).await?
    }

    /// The dynos of an app, by name.
    ///
    /// # Errors
    /// [`RuntimeError::UnknownApp`], [`RuntimeError::Stopping`].
    pub async fn ps(&self, app: &AppName) -> Result<Vec<DynoStatus>, RuntimeError> {
        ask(app, &self.commands(app)?, Command::Ps).await
    }

    /// The formation of an app; an empty one before its first deploy.
    ///
    /// # Errors
    /// [`RuntimeError::UnknownApp`], [`RuntimeError::Stopping`].
    pub async fn formation(&self, app: &AppName) -> Result<Formation, RuntimeError> {
        ask(app, &self.commands(app)?, Command::Formation).await
    }

    /// The names of the apps that run here.
    pub fn apps(&self) -> Vec<AppName> {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// The last `most` lines of an app's log, and those that follow.
    ///
    /// # Errors
    /// [`RuntimeError::UnknownApp`].
    pub fn logs(&self, app: &AppName, most: usize) -> Result<(Vec<LogLine>, Tail), RuntimeError> {
        Ok(self.log(app)?.last(most))
    }

    /// Adds a line to an app's log: for the router and whoever changes the app.
    ///
    /// # Errors
    /// [`RuntimeError::UnknownApp`].
    pub fn say(&self, app: &AppName, line: LogLine) -> Result<(), RuntimeError> {
        self.log(app)?.push(line);
        Ok(())
    }

    fn begin(&self, app: &AppName, definition: &Arc<AppDefinition>) -> Running {
        let (commands, from) = mpsc::channel(64);
        let logs = Arc::new(Logs::default());
        let strays = self.house.take_strays(|stray| stray.life.app == *app);
        let actor = Actor::new(Arc::clone(&self.house), Arc::clone(&logs), Arc::clone(definition), strays);
        tracing::info!(%app, "app begins");
        Running { commands, logs, task: tokio::spawn(actor.run(from)) }
    }

    fn commands(&self, app: &AppName) -> Result<mpsc::Sender<Command>, RuntimeError> {
        let apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        apps.get(app)
            .map(|running| running.commands.clone())
            .ok_or_else(|| RuntimeError::UnknownApp(app.clone()))
    }

    fn log(&self, app: &AppName) -> Result<Arc<Logs>, RuntimeError> {
        let apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        apps.get(app)
            .map(|running| Arc::clone(&running.logs))
            .ok_or_else(|| RuntimeError::UnknownApp(app.clone()))
    }

    fn check_limits(&self, definition: &AppDefinition) -> Result<(), RuntimeError> {
        let limited = definition.limits != Limits::default() || definition.formation.has_sizes();
        if !limited || self.house.site.is_some() {
            return Ok(());
        }
        if self.house.options.cgroups == Enforcement::Required {
            return Err(CgroupError::None(PathBuf::from("/sys/fs/cgroup")).into());
        }
        tracing::warn!(app = %definition.name, limits = ?definition.limits, formation = %definition.formation, "these limits are NOT kept: there are no control groups");
        Ok(())
    }
}

async fn ask<T>(
    app: &AppName,
    commands: &mpsc::Sender<Command>,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Result<T, RuntimeError> {
    let (reply, answer) = oneshot::channel();
    let stopping = || RuntimeError::Stopping(app.clone());
    commands.send(command(reply)).await.map_err(|_| stopping())?;
    answer.await.map_err(|_| stopping())
}

/// Where control groups can be made: none, loudly, when that is not required.
pub(crate) fn find_site(options: &RuntimeOptions) -> Result<Option<Site>, CgroupError> {
    if options.cgroups == Enforcement::Off {
        return Ok(None);
    }
    let found = Site::here(&options.instance).and_then(|site| site.prepare().map(|()| site));
    match found {
        Ok(site) => Ok(Some(site)),
        Err(error) if options.cgroups == Enforcement::Required => Err(error),
        Err(error) => {
            tracing::warn!(%error, "dynos run WITHOUT limits, and are killed by session and mark instead of by group");
            Ok(None)
        }
    }
}

/// How long a killed process may take to be gone: it can be in an uninterruptible sleep.
pub(crate) const KILL_LIMIT: Duration = Duration::from_secs(5);
