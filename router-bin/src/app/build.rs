//! `busbar build`, in the order in which it goes.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use busbar_registry::AppName;
use dyno_runtime::{
    ConfigVars, Enforcement, Size, app_json,
    buildpack::{BuildOptions, Buildpack, build as run_buildpacks},
    slug::PackOptions,
    temporary_directory,
};
use tokio::sync::watch;

use super::{
    local::{config_vars, name_of},
    signals::Signals,
};
use crate::{
    buildpacks,
    cli::{Build, DynoLimits, MaxSize, pack_and_say},
    config::units::Span,
    failure::Failure,
    out,
};

/// Builds a slug.
///
/// # Errors
/// [`Failure`]; then there is none.
pub(crate) fn build(flags: Build) -> Result<(), Failure> {
    let output = flags.output.clone();
    let options = options(flags)?;
    let mut built = None;
    super::run(async {
        built = Some(run(&options).await?);
        Ok(())
    })?;
    let Some(built) = built else { return Err(Failure::Interrupted) };
    if !built.release.addons.is_empty() {
        let addons = built.release.addons.join(", ");
        out::note(format_args!("the buildpack asks for the add-ons {addons}, which busbar has not"));
    }
    pack_and_say(output, &options.slug.limits, |beside, name, progress| built.pack(beside, name, progress))
}

async fn run(options: &BuildOptions) -> Result<dyno_runtime::buildpack::Built, Failure> {
    let mut signals = Signals::listen()?;
    let (stop, stopped) = watch::channel(false);
    let say = |line: &[u8]| {
        let mut line = line.to_vec();
        line.push(b'\n');
        // Nobody may hear it; what is built is built all the same.
        let _heard = out::print(&String::from_utf8_lossy(&line));
    };
    let work = run_buildpacks(options, stopped, &say);
    tokio::pin!(work);
    loop {
        tokio::select! {
            built = &mut work => return Ok(built?),
            _ = signals.next() => {
                out::note("stopping the build");
                stop.send_replace(true);
            }
        }
    }
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
