//! `busbar build`, in the order in which it goes.

use std::{
    env,
    fmt::Display,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use busbar_registry::AppName;
use bytes::Bytes;
use dyno_runtime::{
    ConfigVars, Enforcement, Size, app_json,
    buildpack::{BuildOptions, Buildpack, build as run_buildpacks},
    slug::PackOptions,
    temporary_directory,
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, spawn_blocking},
    time::{sleep, timeout},
};

use super::{
    local::{config_vars, name_of},
    signals::Signals,
};
use crate::{
    buildpacks,
    cli::{Build, DynoLimits, MaxSize, packed},
    config::units::Span,
    failure::{Exit, Failure},
    out,
};

/// How long the last words are waited for when it is to stop: a terminal that is held, or a reader that does not read, shows
/// nothing.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Builds a slug.
///
/// # Errors
/// [`Failure`]; then there is none.
pub(crate) fn build(flags: Build) -> Result<(), Failure> {
    let output = flags.output.clone();
    let options = options(flags)?;
    super::run(run(options, output))
}

/// Hears signals, whatever the build itself is at. The first one stops it, the second one does not wait for that.
async fn run(options: BuildOptions, output: Option<PathBuf>) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let (stop, stopped) = watch::channel(false);
    let (say, mut shown) = shown()?;
    let here = Handle::current();
    let mut work = spawn_blocking(move || here.block_on(make(&options, output, stopped, say)));
    let outcome = tokio::select! {
        done = &mut work => done,
        _ = signals.next() => {
            stop.send_replace(true);
            note("stopping the build; Ctrl-C again to stop at once");
            tokio::select! {
                done = &mut work => done,
                _ = signals.next() => return Err(last_words(&Failure::Interrupted).await),
            }
        }
    };
    let outcome = outcome.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()));
    let is_to_end = async {
        if !*stop.borrow() {
            signals.next().await;
        }
        sleep(LAST_WORDS).await;
    };
    tokio::select! {
        _ = &mut shown => {}
        () = is_to_end => {}
    }
    match outcome {
        Err(failure) if *stop.borrow() => Err(last_words(&failure).await),
        outcome => outcome,
    }
}

/// All of it, from source to slug.
async fn make(
    options: &BuildOptions,
    output: Option<PathBuf>,
    stopped: watch::Receiver<bool>,
    say: mpsc::Sender<Bytes>,
) -> Result<(), Failure> {
    let built = run_buildpacks(options, stopped, say.clone()).await?;
    if !built.release.addons.is_empty() {
        let addons = built.release.addons.join(", ");
        out::note(format_args!("the buildpack asks for the add-ons {addons}, which busbar has not"));
    }
    let pack = |beside: &Path, name, progress: &mut dyn FnMut(u64, u64)| built.pack(beside, name, progress);
    let summary = packed(output, &options.slug.limits, pack)?;
    let _heard = say.send(summary.trim_end_matches('\n').to_owned().into()).await;
    Ok(())
}

/// Shows lines on a thread of its own. The receiver hears when the last one is shown.
fn shown() -> Result<(mpsc::Sender<Bytes>, oneshot::Receiver<()>), Failure> {
    let (say, mut said) = mpsc::channel::<Bytes>(64);
    let (over, shown) = oneshot::channel();
    let work = move || {
        while let Some(line) = said.blocking_recv() {
            // Nobody may hear it; what is built is built all the same.
            let _heard = out::print(&format!("{}\n", String::from_utf8_lossy(&line)));
        }
        let _nobody_waits = over.send(());
    };
    let started = std::thread::Builder::new().name("printer".to_owned()).spawn(work);
    started.map_err(|source| Failure::System { deed: "starting the thread that prints", source })?;
    Ok((say, shown))
}

/// Says it, soon or later.
fn note(text: impl Display + Send + 'static) -> JoinHandle<()> {
    spawn_blocking(move || out::note(text))
}

/// Says why it ends, if somebody hears that. What is left to be told is the status.
async fn last_words(failure: &Failure) -> Failure {
    let _nobody_hears = timeout(LAST_WORDS, note(failure.to_string())).await;
    Failure::Status(Exit::Interrupted as u8)
}

fn options(flags: Build) -> Result<BuildOptions, Failure> {
    let app = flags.app.map_or_else(|| name_of(&flags.directory), Ok)?;
    let cache = flags.cache.unwrap_or_else(|| usual_cache(&app));
    let mut slug = PackOptions { source_version: flags.source_version, ..PackOptions::new(app) };
    slug.limits.compressed = flags.max_size.map_or(slug.limits.compressed, |MaxSize(most)| most);
    let (packs, in_order) = chosen(&flags.buildpacks, &flags.directory)?;
    let mut options = BuildOptions::new(flags.directory.clone(), packs, slug, cache);
    options.in_order = in_order;
    options.config_vars = match flags.env_file {
        Some(file) => config_vars(&file)?,
        None if flags.directory.join(".env").exists() => config_vars(&flags.directory.join(".env"))?,
        None => ConfigVars::default(),
    };
    flags.apart.apply(&mut options.runtime);
    let DynoLimits(limits) = flags.limits.unwrap_or_default();
    options.limits = flags.size.map(Size::limits).unwrap_or_default().or(limits);
    if flags.limits.is_some() || flags.size.is_some() {
        options.runtime.cgroups = Enforcement::Required; // a limit that somebody asked for is kept, or nothing runs
    }
    options.time = flags.timeout.map_or(options.time, |Span(time)| time);
    Ok(options)
}

/// Those of the flags, else those of `app.json`, all in order; else ours, of which the first that fits.
fn chosen(flags: &[String], directory: &Path) -> Result<(Vec<Buildpack>, bool), Failure> {
    let here = PathBuf::from(".");
    let (names, base) = match flags {
        [] => (of_app_json(directory)?, directory),
        flags => (flags.to_vec(), here.as_path()),
    };
    if names.is_empty() {
        return Ok((buildpacks::shipped(), false));
    }
    let packs = names.iter().map(|name| buildpacks::named(name, base)).collect::<Result<_, _>>()?;
    Ok((packs, true))
}

fn of_app_json(directory: &Path) -> Result<Vec<String>, Failure> {
    let path = directory.join("app.json");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let advice = "check its permissions";
    let text = fs::read_to_string(&path).map_err(|source| Failure::File {
        what: "file",
        path: path.display().to_string(),
        deed: "read",
        source,
        advice,
    })?;
    Ok(app_json::buildpacks(&text).map_err(dyno_runtime::DefinitionError::from)?)
}

fn usual_cache(app: &AppName) -> PathBuf {
    let below = if rustix::process::geteuid().is_root() {
        PathBuf::from("/var/cache")
    } else {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
        cache.unwrap_or_else(temporary_directory)
    };
    below.join("busbar/builds").join(app.as_str())
}
