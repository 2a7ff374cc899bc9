//! One program of a buildpack, run as a dyno: its own session and control group, limited, timed, and nothing left of it.

use std::{ffi::OsString, fmt, io, path::Path};

use bytes::Bytes;
use tokio::{
    io::AsyncReadExt as _,
    net::unix::pipe,
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use super::{places::IN_ROOT, voice::Voice};
use crate::{
    cgroup::{CgroupError, Enforcement, Limits, Role, Site},
    init::{InitSpec, Stdin},
    life::Exit,
    logs::{Lines, Stream},
    options::{Isolation, RuntimeOptions, shell},
    process::{Family, MARK},
    sandbox::{content::Content, disk::Disk, quarters::Quarters, walls::Walls},
    spawn::{Embryo, LaunchOrder, Launched, OpenProgram, SpawnError},
    stdio::{Stdio, Streams},
    supervise::{KILL_LIMIT, OUTPUT_LIMIT, Record, StateDirectory, StateError, find_site, remove_group},
};

/// Which program of a buildpack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepName {
    /// `bin/detect BUILD`: is this app one for it?
    Detect,
    /// `bin/compile BUILD CACHE ENV`: makes of the source what runs.
    Compile,
    /// `bin/release BUILD`: says what the app begins with.
    Release,
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Detect => "bin/detect",
            Self::Compile => "bin/compile",
            Self::Release => "bin/release",
        })
    }
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself.
    Exit(Exit),
    /// Its time was over.
    TimedOut,
    /// The build was stopped.
    Stopped,
}

/// Why a step was not run.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// What it would have to be written down in.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its limits.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// Its process.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The level of isolation that is wanted cannot be had.
    #[error("isolation {isolation} cannot be had: {source}")]
    Isolation {
        /// The level.
        isolation: Isolation,
        /// Why.
        source: io::Error,
    },
    /// A user and a directory of its own.
    #[error("no quarters: {0}")]
    Quarters(#[source] io::Error),
}

/// Where steps are run, one after the other.
pub(super) struct Yard<'o> {
    options: &'o RuntimeOptions,
    program: OpenProgram,
    state: StateDirectory,
    site: Option<Site>,
    walls: Option<Walls>,
    limits: Limits,
    until: Instant,
    stop: watch::Receiver<bool>,
}

/// One step.
pub(super) struct Step<'s> {
    pub(super) key: String,
    pub(super) argv: Vec<String>,
    pub(super) directory: &'s Path,
    pub(super) environment: Vec<(OsString, OsString)>,
    /// What it finds, and where, if it is kept apart.
    pub(super) content: Content,
    /// The disk on which that is, if it is one.
    pub(super) disk: Option<&'s Disk>,
}

/// What becomes of what a step writes.
#[derive(Clone, Copy)]
pub(super) struct Ears<'s> {
    /// Takes a line, if it is not to be said.
    pub(super) keep: &'s (dyn Fn(Stream, &Bytes) -> bool + Sync),
    pub(super) voice: &'s Voice<'s>,
}

impl<'o> Yard<'o> {
    /// Takes the place, and removes what a build that was killed has left there.
    pub(super) async fn open(
        options: &'o RuntimeOptions,
        limits: Limits,
        until: Instant,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, StepError> {
        let state = StateDirectory::open(options)?;
        state.sweep().await;
        let program = OpenProgram::open(&options.init);
        // What fails from here on leaves nothing.
        let mut yard = Self { options, program, state, site: None, walls: None, limits, until, stop };
        yard.site = find_site(options)?;
        let isolation = options.isolation;
        yard.walls = Walls::raise_with(options, &StateDirectory::of(options), &[], &IN_ROOT)
            .map_err(|source| StepError::Isolation { isolation, source })?;
        Ok(yard)
    }

    /// Whether steps have a root of their own.
    pub(super) fn is_apart(&self) -> bool {
        self.walls.is_some()
    }

    /// A disk for the build, if it is to have one of its own.
    pub(super) async fn disk(&self) -> Result<Option<Disk>, StepError> {
        match &self.walls {
            Some(walls) => walls.disk().await.map_err(StepError::Quarters),
            None => Ok(None),
        }
    }

    /// The shell that steps have.
    pub(super) fn shell(&self) -> &'static str {
        shell(self.options.programs())
    }

    /// Runs it to its end. When it returns, none of its processes is left. Not cancel safe: what is left of a step that
    /// was cancelled is removed by the next build of the same app.
    pub(super) async fn run(&self, step: Step<'_>, ears: Ears<'_>) -> Result<Ended, StepError> {
        let key = step.key.clone();
        let quarters = self.walls.as_ref().map(|walls| walls.quarters(&key)).transpose();
        let quarters = quarters.map_err(StepError::Quarters)?;
        let mark = format!("{}/{key}/{:016x}", self.options.instance, fastrand::u64(..));
        let cgroup = self.site.as_ref().map(|site| site.plan(&key));
        let apart = quarters.is_some();
        let mut family = Family { leader: None, mark, cgroup, apart, stays: apart };
        let launched = self.launch(step, &mut family, quarters.as_ref()).await;
        let ended = match launched {
            Ok(launched) => Ok(self.watch(launched, &family, ears).await),
            Err(error) => Err(error),
        };
        if let Err(error) = self.discard(&family, quarters.as_ref()).await {
            // Its record stays, so that the next build tries again.
            tracing::warn!(%error, "something of a build is left behind");
        } else {
            self.state.remove(&key);
        }
        ended
    }

    async fn discard(&self, family: &Family, quarters: Option<&Quarters>) -> Result<(), StepError> {
        if let Some(cgroup) = &family.cgroup {
            remove_group(cgroup).await?;
        }
        quarters.map_or(Ok(()), Quarters::remove).map_err(StepError::Quarters)
    }

    async fn launch(
        &self,
        step: Step<'_>,
        family: &mut Family,
        quarters: Option<&Quarters>,
    ) -> Result<Launched, StepError> {
        let key = step.key.clone();
        self.state.write(&key, &Record::of(family, quarters))?;
        self.make_group(family).await?;
        let order = self.order(step, family, quarters)?;
        let exit = quarters.map(|_| self.state.exit_file(&key)).transpose()?;
        let embryo = Embryo::create(&self.program, self.options.isolation, exit, Stdio::Logged)?;
        family.leader = embryo.identity();
        if let Err(unwritten) = self.state.write(&key, &Record::of(family, quarters)) {
            embryo.abandon().await;
            return Err(unwritten.into());
        }
        Ok(embryo.launch(&order, family).await?)
    }

    /// What `dyno-init` is told.
    fn order(
        &self,
        step: Step<'_>,
        family: &Family,
        quarters: Option<&Quarters>,
    ) -> Result<LaunchOrder, StepError> {
        let apart = self.walls.as_ref().zip(quarters);
        let sandbox =
            apart.map(|(walls, own)| walls.spec_with(own, step.disk, step.content, "build".to_owned()));
        let join = family.cgroup.as_ref().map(|cgroup| cgroup.control().join_files(Role::App));
        let spec = InitSpec {
            join: join.unwrap_or_default(),
            hold: None,
            directory: step.directory.to_owned(),
            argv: step.argv,
            environment: 0,
            stdin: Stdin::Null,
            sandbox: sandbox.transpose().map_err(StepError::Quarters)?,
            fail: self.options.sandbox.fail,
        };
        let mut environment = step.environment;
        environment.push((MARK.into(), family.mark.clone().into()));
        Ok(LaunchOrder::new(spec, environment)?)
    }

    async fn make_group(&self, family: &mut Family) -> Result<(), CgroupError> {
        let Some(cgroup) = &family.cgroup else { return Ok(()) };
        let Err(error) = cgroup.control().create(&self.limits) else { return Ok(()) };
        if self.options.cgroups == Enforcement::Required {
            return Err(error);
        }
        tracing::warn!(%error, "the build runs WITHOUT limits");
        let _nothing_in_it = remove_group(cgroup).await;
        family.cgroup = None;
        Ok(())
    }

    async fn watch(&self, launched: Launched, family: &Family, ears: Ears<'_>) -> Ended {
        let Launched { process, streams } = launched;
        let output = async {
            if let Streams::Pipes { stdout, stderr, .. } = streams {
                tokio::join!(carry(stdout, Stream::Stdout, ears), carry(stderr, Stream::Stderr, ears));
            }
        };
        tokio::pin!(output);
        let (mut silent, mut stop) = (false, self.stop.clone());
        let cut = loop {
            tokio::select! {
                () = &mut output, if !silent => silent = true,
                () = process.ended() => break None,
                () = sleep_until(self.until) => break Some(Ended::TimedOut),
                // Without anybody who could stop it, it goes on.
                Ok(_) = stop.wait_for(|stop| *stop) => break Some(Ended::Stopped),
            }
        };
        // What it has started in the background ends with it.
        if !family.kill(KILL_LIMIT).await {
            tracing::error!("processes of a build are still there {KILL_LIMIT:?} after SIGKILL");
        }
        if !silent {
            let _somebody_left_with_the_pipe = timeout(OUTPUT_LIMIT, output).await;
        }
        process.dismiss().await;
        let exit = process.peek();
        process.reap();
        cut.unwrap_or(Ended::Exit(exit))
    }
}

impl Drop for Yard<'_> {
    /// The place of the groups and that of the records go, too, while no other build of the app can use them.
    fn drop(&mut self) {
        if let Some(site) = &self.site {
            site.tidy();
        }
        self.walls = None;
        self.state.vanish();
    }
}

/// All that comes from a pipe. It is not read faster than it is heard, so nothing is lost.
async fn carry(mut from: pipe::Receiver, stream: Stream, Ears { keep, voice }: Ears<'_>) {
    let (mut lines, mut whole, mut buffer) = (Lines::default(), vec![], vec![0; 16 << 10]);
    // An error of a pipe is its end.
    while let Ok(n @ 1..) = read(&mut from, &mut buffer).await {
        lines.feed(buffer.get(..n).unwrap_or_default(), |line| whole.push(line));
        for line in whole.drain(..).filter(|line| !keep(stream, line)) {
            voice.say(line).await;
        }
    }
    lines.finish(|line| whole.push(line));
    for line in whole.into_iter().filter(|line| !keep(stream, line)) {
        voice.say(line).await;
    }
}

async fn read(from: &mut pipe::Receiver, buffer: &mut [u8]) -> io::Result<usize> {
    from.read(buffer).await
}
