//! One-off dynos: `run.1234` for whoever asks, `release.1234` before a deploy.
//!
//! A one-off dyno has the app's config vars, limits and directory; it ends by itself, which is no crash, and does not
//! come back. At most 50 of an app run at the same time. One that somebody is to be attached to ([`Attach`]) waits for that,
//! and what it writes does not go into the app's log.

use std::sync::Arc;

use busbar_registry::{DynoName, ProcessType};
use tokio::sync::oneshot;

use super::{Actor, Begin};
use crate::{
    config_vars::ConfigVars,
    definition::AppDefinition,
    life::{Exit, Why},
    logs::{LogLine, Speaker},
    size::Size,
    stdio::{Stdio, Streams},
    supervise::{
        RuntimeError,
        dyno::{Attached, Order},
    },
};

/// As many as Heroku lets an ordinary app have.
const MOST: usize = 50;

/// What a one-off dyno is to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OneOff {
    /// The command, for the shell.
    pub command: String,
    /// How large it is. `None`: as the app's limits say.
    pub size: Option<Size>,
    /// Nobody waits for its end. If this runtime is killed, it goes on, and the next one adopts it; otherwise it is hung up.
    pub detached: bool,
    /// Variables it has besides the app's config vars, and instead of those of the same name.
    pub environment: ConfigVars,
    /// What its standard streams are. If they are not the log's, it waits for somebody to attach.
    pub stdio: Stdio,
}

/// A one-off dyno that runs.
#[derive(Debug)]
pub struct Started {
    /// Its name.
    pub dyno: DynoName,
    /// How it ended, when it has; `None`: it could not be launched.
    pub ended: oneshot::Receiver<Option<Exit>>,
    /// How to attach to it, if its streams are not the log's. Dropped, nobody will (R13).
    pub attach: Option<Attach>,
}

/// The right to attach to a one-off dyno, which waits for that.
#[derive(Debug)]
pub struct Attach {
    come: oneshot::Sender<()>,
    streams: oneshot::Receiver<Streams>,
}

impl Attach {
    /// Lets it start. Its streams; `None`: it was too late, or it could not be launched.
    pub async fn attach(self) -> Option<Streams> {
        self.come.send(()).ok()?;
        self.streams.await.ok()
    }

    /// The right, and what it is to the dyno.
    pub(super) fn to(stdio: Stdio) -> (Self, Attached) {
        let ((come, client), (give, streams)) = (oneshot::channel(), oneshot::channel());
        (Self { come, streams }, Attached { stdio, client, give })
    }
}

/// A deploy whose release command runs.
pub(super) struct Release {
    generation: u64,
    definition: Arc<AppDefinition>,
    reply: oneshot::Sender<Result<(), RuntimeError>>,
}

impl Actor {
    pub(super) fn run_one_off(&mut self, order: OneOff) -> Result<Started, RuntimeError> {
        let run = self.oneoff_name("run")?;
        let (tell, ended) = oneshot::channel();
        let definition = Arc::clone(&self.definition);
        let (attach, attached) =
            Some(order.stdio).filter(|stdio| *stdio != Stdio::Logged).map(Attach::to).unzip();
        let generation = self.begin_one_off(run.clone(), order, attached, &definition);
        if let Some(live) = self.lives.get_mut(&generation) {
            live.ended = Some(tell);
        }
        Ok(Started { dyno: run, ended, attach })
    }

    /// Deploys, when the release command, if there is one, has ended well.
    pub(super) fn release(
        &mut self,
        definition: Arc<AppDefinition>,
        reply: oneshot::Sender<Result<(), RuntimeError>>,
    ) {
        let command = "release".parse::<ProcessType>().ok();
        let command = command.and_then(|t| definition.procfile.command(&t)).map(str::to_owned);
        let Some(command) = command else {
            self.deploy(definition);
            let _nobody_asks = reply.send(Ok(()));
            return;
        };
        let name = if self.release.is_some() {
            Err(RuntimeError::ReleaseUnderWay(definition.name.clone()))
        } else {
            self.oneoff_name("release")
        };
        match name {
            Err(refused) => {
                let _nobody_asks = reply.send(Err(refused));
            }
            Ok(name) => {
                let order = OneOff { command, ..OneOff::default() };
                let generation = self.begin_one_off(name, order, None, &definition);
                self.release = Some(Release { generation, definition, reply });
            }
        }
    }

    /// Whether that life was the release command: then it is decided what becomes of the deploy.
    pub(super) fn was_release(&mut self, generation: u64, exit: Option<Exit>) -> bool {
        let Some(release) = self.release.take_if(|release| release.generation == generation) else {
            return false;
        };
        let answer = if exit == Some(Exit::Code(0)) {
            self.deploy(release.definition);
            Ok(())
        } else {
            let text = "Release command failed; the release before it stays";
            self.logs.push(LogLine::heroku(Speaker::Api, text));
            Err(RuntimeError::ReleaseFailed { app: self.definition.name.clone(), exit })
        };
        let _nobody_asks = release.reply.send(answer);
        true
    }

    /// Ends a one-off dyno; `detached`: whoever was attached to it is gone.
    pub(super) fn stop_one_off(&mut self, dyno: &DynoName, detached: bool) {
        let found = self.lives.iter().find(|(_, live)| live.dyno == *dyno && live.is_one_off);
        let why = if detached { Why::Detached } else { Why::Down };
        self.tell(found.map(|(generation, _)| *generation), Order::Stop(why));
    }

    fn begin_one_off(
        &mut self,
        dyno: DynoName,
        order: OneOff,
        attached: Option<Attached>,
        definition: &Arc<AppDefinition>,
    ) -> u64 {
        let limits = order.size.map(Size::limits).unwrap_or_default().or(definition.limits);
        let mut definition = AppDefinition::clone(definition);
        definition.config_vars = order.environment.or(definition.config_vars);
        self.begin_life(Begin {
            dyno,
            command: order.command,
            limits,
            definition: Arc::new(definition),
            held: false,
            task: true,
            attached,
            outlives: order.detached,
        })
    }

    /// Four digits that no other one has, as on Heroku.
    fn oneoff_name(&self, process_type: &str) -> Result<DynoName, RuntimeError> {
        let app = || self.definition.name.clone();
        if self.lives.values().filter(|live| live.is_one_off).count() >= MOST {
            return Err(RuntimeError::TooManyOneOffs(app()));
        }
        let Ok(process_type) = process_type.parse::<ProcessType>() else {
            return Err(RuntimeError::TooManyOneOffs(app()));
        };
        let is_free = |name: &DynoName| self.lives.values().all(|live| live.dyno != *name);
        let names =
            std::iter::repeat_with(|| DynoName::new(process_type.clone(), fastrand::u32(1000..10_000)));
        names.take(1000).find(is_free).ok_or_else(|| RuntimeError::TooManyOneOffs(app()))
    }
}
