//! A build, from source to what is packed: detect, compile, release.

use std::{
    ffi::OsString,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    Buildpack, Release, ReleaseError,
    cache::{Cache, copy_below},
    places::{self, Places},
    release::MAX_RELEASE,
    step::{Ears, Ended, Step, StepError, StepName, Yard},
    voice::Voice,
    workshop::Workshop,
};
use crate::{
    cgroup::Limits,
    config_vars::ConfigVars,
    life::Exit,
    logs::Stream,
    options::{BaseEnvironment, Isolation, RuntimeOptions},
    slug::{PackOptions, Packed, SlugError, SlugHash, pack_unless},
};

/// Reads what earlier buildpacks export, then becomes the program.
const WITH_EXPORTS: &str = "while [ \"$1\" != -- ]; do . \"$1\"; shift; done; shift; exec \"$@\"";

/// What is built, by what, and within which bounds.
#[derive(Debug)]
pub struct BuildOptions {
    /// The app's source. It is copied; nothing is written there.
    pub source: PathBuf,
    /// The buildpacks.
    pub buildpacks: Vec<Buildpack>,
    /// Whether all of them are used, in order, and each must fit; else the first one that fits.
    pub in_order: bool,
    /// What they find in the directory of config vars.
    pub config_vars: ConfigVars,
    /// What they keep for the next build of this app.
    pub cache: PathBuf,
    /// More than that is not kept. Default 2 GiB.
    pub cache_bytes: u64,
    /// How long all of it may take. Default 15 minutes, as on Heroku.
    pub time: Duration,
    /// What each step may use. Default: as much as there is.
    pub limits: Limits,
    /// Below which directory it happens. Default: the system's for temporary files.
    pub workshop: PathBuf,
    /// How dynos are run: their groups, state, how they are kept apart. The environment of build dynos is always the clean one.
    pub runtime: RuntimeOptions,
    /// How the slug is packed; what buildpacks say is added.
    pub slug: PackOptions,
}

impl BuildOptions {
    /// A build of `source` with the first of `buildpacks` that fits.
    pub fn new(source: PathBuf, buildpacks: Vec<Buildpack>, slug: PackOptions, cache: PathBuf) -> Self {
        let runtime = RuntimeOptions { instance: format!("build-{}", slug.app), ..RuntimeOptions::default() };
        Self {
            source,
            buildpacks,
            in_order: false,
            config_vars: ConfigVars::default(),
            cache,
            cache_bytes: 2 << 30,
            time: Duration::from_secs(15 * 60),
            limits: Limits::default(),
            workshop: std::env::temp_dir(),
            runtime,
            slug,
        }
    }
}

/// Why there is no slug.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No buildpack fits.
    #[error("no buildpack knows what this app is; asked: {}. Name one with --buildpack", .0.join(", "))]
    NotDetected(Vec<String>),
    /// One that was named does not fit.
    #[error("the app is none for buildpack {0}: its bin/detect says so; name others with --buildpack")]
    Incompatible(String),
    /// It has no such program, or it is none.
    #[error("buildpack {pack} has no {step} that can be executed, in {}", directory.display())]
    NoProgram {
        /// Which buildpack.
        pack: String,
        /// Which program.
        step: StepName,
        /// Where it should be.
        directory: PathBuf,
    },
    /// A program failed.
    #[error("{step} of buildpack {pack} ended with {}", Status(.exit))]
    Failed {
        /// Which buildpack.
        pack: String,
        /// Which program.
        step: StepName,
        /// How it ended.
        exit: Exit,
    },
    /// It took too long.
    #[error("{step} of buildpack {pack} was not done when the build's {} s were over", limit.as_secs())]
    TimedOut {
        /// Which buildpack.
        pack: String,
        /// Which program.
        step: StepName,
        /// How long all of it may take.
        limit: Duration,
    },
    /// Somebody stopped it.
    #[error("the build was stopped")]
    Stopped,
    /// What `bin/release` says is no release.
    #[error("buildpack {pack}: {source}")]
    Release {
        /// Which buildpack.
        pack: String,
        /// What is wrong with it.
        source: ReleaseError,
    },
    /// Others could use what a build leaves there.
    #[error(
        "the cache {} is not for its owner alone, whom all belongs that a build leaves there; chmod 700 it, or give another --cache",
        .0.display()
    )]
    OpenCache(PathBuf),
    /// Another build of this app.
    #[error("another build uses the cache {}; wait for it, or give this one another --cache", .0.display())]
    Busy(PathBuf),
    /// The dyno it would run in.
    #[error("the build dyno cannot be started: {0}")]
    Dyno(#[from] StepError),
    /// The source, a buildpack, or what came of them cannot be packed.
    #[error(transparent)]
    Slug(#[from] SlugError),
    /// A file or directory.
    #[error("cannot {deed} {}: {source}", path.display())]
    File {
        /// What was tried.
        deed: &'static str,
        /// With which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

struct Status<'a>(&'a Exit);

impl fmt::Display for Status<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Exit::Code(code) => write!(f, "status {code}"),
            Exit::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

impl BuildError {
    pub(super) fn file(deed: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { deed, path, source }
    }
}

/// A build that is done, and not packed yet.
#[derive(Debug)]
pub struct Built {
    /// The buildpacks that were used, by what they call themselves.
    pub names: Vec<String>,
    /// What the last one says.
    pub release: Release,
    workshop: Workshop,
    slug: PackOptions,
    stop: watch::Receiver<bool>,
}

impl Built {
    /// Packs it, like [`crate::slug::pack`], unless the build is to stop ([`SlugError::Stopped`]).
    ///
    /// # Errors
    /// [`SlugError`].
    pub fn pack(
        &self,
        beside: &Path,
        name: impl FnOnce(&SlugHash) -> PathBuf,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Packed, SlugError> {
        let stopped = || *self.stop.borrow();
        pack_unless(&stopped, &self.workshop.build(), &self.slug, beside, name, progress)
    }
}

/// Builds. `say` is sent every line, those of the buildpacks as they are; a buildpack waits while nobody takes them. Its
/// processes end when `stop` becomes true.
///
/// # Errors
/// [`BuildError`]; nothing is left but the cache.
///
/// # Cancel safety
/// Not cancel safe: the processes of a build that is dropped go on until the next build of the same app.
pub async fn build(
    options: &BuildOptions,
    stop: watch::Receiver<bool>,
    say: mpsc::Sender<Bytes>,
) -> Result<Built, BuildError> {
    let cache = Cache::take(&options.cache, options.runtime.isolation != Isolation::Plain)?;
    let until = Instant::now() + options.time;
    let voice = Voice { lines: &say, stop: stop.clone(), until };
    // From here on no other build of this app goes on.
    let yard = Yard::open(&options.runtime, options.limits, until, stop.clone()).await?;
    if cache.recover()? {
        voice
            .say("       The build before this one was not done: what it left in the cache was removed")
            .await;
    }
    let workshop = Workshop::open(&options.workshop, options.slug.app.as_str(), yard.disk().await?)?;
    workshop.fill(&options.source, &options.slug.limits)?;
    workshop.tell(&options.config_vars)?;
    let cached = workshop.cache().unwrap_or_else(|| cache.directory.clone());
    if cached != cache.directory {
        copy_below(&cache.directory, &cached).map_err(BuildError::file("copy", &cache.directory))?;
    }
    let places = if yard.is_apart() { Places::of_dyno() } else { Places::of_machine(&workshop, &cached) };
    let mut site =
        Site { options, workshop: &workshop, cache: &cached, places, yard, voice: &voice, exports: vec![] };
    let chosen = site.detect().await?;
    let is_a_copy = cached != cache.directory;
    if !is_a_copy {
        begin(&cache, &voice).await;
    }
    let mut release = Release::default();
    for pack in &chosen {
        site.compile(pack).await?;
        release = site.release(pack).await?;
    }
    drop(site);
    if is_a_copy {
        begin(&cache, &voice).await;
    }
    match cache.keep(&cached, options.cache_bytes) {
        Ok(true) => {}
        Ok(false) => {
            let most = options.cache_bytes;
            voice.say(format!("       The cache had more than {most} bytes and was emptied")).await;
        }
        Err(error) => voice.say(format!("       The cache could not be kept: {error}")).await,
    }
    let names: Vec<String> = chosen.into_iter().map(|pack| pack.title).collect();
    let slug = PackOptions {
        default_process_types: release.default_process_types.clone(),
        config_vars: release.config_vars.clone(),
        buildpacks: names.clone(),
        ..options.slug.clone()
    };
    Ok(Built { names, release, workshop, slug, stop })
}

/// From here on the cache is written.
async fn begin(cache: &Cache, voice: &Voice<'_>) {
    if let Err(error) = cache.begin() {
        let text = "cannot be marked as being written; if this build is killed, the next one does not know";
        voice.say(format!("       The cache {text}: {error}")).await;
    }
}

/// A buildpack that is used.
struct Chosen {
    name: String,
    /// What its `bin/detect` calls the app.
    title: String,
    /// In the directory of buildpacks.
    directory: String,
}

/// Where the steps of one build are run.
struct Site<'b> {
    options: &'b BuildOptions,
    workshop: &'b Workshop,
    cache: &'b Path,
    /// Where the steps see all of it.
    places: Places,
    yard: Yard<'b>,
    voice: &'b Voice<'b>,
    /// The `export` files of the buildpacks so far, as the steps see them.
    exports: Vec<PathBuf>,
}

impl Site<'_> {
    /// Which buildpacks are used.
    async fn detect(&self) -> Result<Vec<Chosen>, BuildError> {
        let mut chosen = Vec::new();
        for (nth, pack) in self.options.buildpacks.iter().enumerate() {
            let directory = self.workshop.bring(nth, pack)?;
            let (ended, title) = self.listen(&pack.name, StepName::Detect, &directory).await?;
            if ended == Exit::Code(0) {
                let title = title.lines().next().unwrap_or_default().trim();
                let title = if title.is_empty() { pack.name.clone() } else { printable(title) };
                self.voice.say(format!("-----> {title} app detected")).await;
                chosen.push(Chosen { name: pack.name.clone(), title, directory });
                if !self.options.in_order {
                    break;
                }
            } else if self.options.in_order {
                return Err(BuildError::Incompatible(pack.name.clone()));
            }
        }
        if chosen.is_empty() {
            let asked = self.options.buildpacks.iter().map(|pack| pack.name.clone()).collect();
            return Err(BuildError::NotDetected(asked));
        }
        Ok(chosen)
    }

    async fn compile(&mut self, pack: &Chosen) -> Result<(), BuildError> {
        match self.run(&pack.name, StepName::Compile, &pack.directory, &|_, _| false).await? {
            Exit::Code(0) => {}
            exit => {
                return Err(BuildError::Failed { pack: pack.name.clone(), step: StepName::Compile, exit });
            }
        }
        let export = Path::new(&pack.directory).join("export");
        // It is read by the steps and not here; a link leads where they would come, too.
        if fs::symlink_metadata(self.workshop.packs().join(&export)).is_ok_and(|found| !found.is_dir()) {
            self.exports.push(self.places.packs.join(export));
        }
        Ok(())
    }

    async fn release(&self, pack: &Chosen) -> Result<Release, BuildError> {
        let step = StepName::Release;
        if !self.workshop.packs().join(&pack.directory).join(step.to_string()).exists() {
            return Ok(Release::default());
        }
        let (exit, text) = self.listen(&pack.name, step, &pack.directory).await?;
        if exit != Exit::Code(0) {
            return Err(BuildError::Failed { pack: pack.name.clone(), step, exit });
        }
        Release::parse(&text).map_err(|source| BuildError::Release { pack: pack.name.clone(), source })
    }

    /// Runs a step, and keeps what it writes to its standard output. What it complains about is said.
    async fn listen(
        &self,
        pack: &str,
        step: StepName,
        directory: &str,
    ) -> Result<(Exit, String), BuildError> {
        let heard = Mutex::new(String::new());
        let keep = |stream, line: &Bytes| {
            if stream == Stream::Stdout {
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                if heard.len() <= MAX_RELEASE {
                    heard.push_str(&String::from_utf8_lossy(line));
                    heard.push('\n');
                }
            }
            stream == Stream::Stdout
        };
        let exit = self.run(pack, step, directory, &keep).await?;
        Ok((exit, heard.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }

    async fn run(
        &self,
        pack: &str,
        step: StepName,
        directory: &str,
        keep: &(dyn Fn(Stream, &Bytes) -> bool + Sync),
    ) -> Result<Exit, BuildError> {
        let program = Path::new(directory).join(step.to_string());
        self.check(pack, step, &program)?;
        let mut paths = vec![self.places.packs.join(program), self.places.build.clone()];
        let compiling = (step == StepName::Compile).then_some(directory);
        if compiling.is_some() {
            paths.extend([self.places.cache.clone(), self.places.env.clone()]);
        }
        let order = Step {
            key: format!("build.{}", step.to_string().replace('/', "-")),
            argv: self.argv(&paths),
            directory: &self.places.build,
            environment: self.environment(),
            content: places::content(self.workshop, self.cache, compiling),
            disk: self.workshop.disk(),
        };
        match self.yard.run(order, Ears { keep, voice: self.voice }).await? {
            Ended::Exit(exit) => Ok(exit),
            Ended::Stopped => Err(BuildError::Stopped),
            Ended::TimedOut => {
                Err(BuildError::TimedOut { pack: pack.to_owned(), step, limit: self.options.time })
            }
        }
    }

    /// Whether there is such a program.
    fn check(&self, pack: &str, step: StepName, program: &Path) -> Result<(), BuildError> {
        let program = self.workshop.packs().join(program);
        let executable = rustix::fs::access(&program, rustix::fs::Access::EXEC_OK).is_ok();
        if executable && program.is_file() {
            return Ok(());
        }
        let directory = program.parent().and_then(Path::parent).unwrap_or(&program).to_owned();
        Err(BuildError::NoProgram { pack: pack.to_owned(), step, directory })
    }

    /// Paths of ours and nothing else: no secret is in an argument list.
    fn argv(&self, paths: &[PathBuf]) -> Vec<String> {
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        let shell = [self.yard.shell(), "-c", WITH_EXPORTS, "buildpack"].map(str::to_owned);
        let exports = self.exports.iter().map(text).chain(["--".to_owned()]);
        shell.into_iter().chain(exports).chain(paths.iter().map(text)).collect()
    }

    /// The clean one, and what the contract says. Config vars are in their files only.
    fn environment(&self) -> Vec<(OsString, OsString)> {
        let mut variables = BaseEnvironment::Clean.variables(self.options.runtime.isolation);
        let own = [
            ("HOME", Some(self.places.home.clone().into_os_string())),
            ("TMPDIR", Some(self.places.tmp.clone().into_os_string())),
            ("STACK", Some(self.options.slug.stack.clone().into())),
            ("SOURCE_VERSION", self.options.slug.source_version.clone().map(Into::into)),
        ];
        variables.retain(|(name, _)| own.iter().all(|(own, _)| name != own));
        variables.extend(own.into_iter().filter_map(|(name, value)| Some((name.into(), value?))));
        variables
    }
}

/// What a buildpack calls the app, without orders to a terminal, and not longer than a line.
fn printable(title: &str) -> String {
    title.chars().filter(|c| !c.is_control()).take(100).collect()
}
