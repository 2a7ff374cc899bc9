//! What an app is to the runtime.
//!
//! - [`AppDefinition`]: where it is, what it runs, how much of it, with which config vars and limits; [`Metrics`].
//! - [`AppDefinition::from_directory`] reads `Procfile`, `app.json` and `.env`.
//! - [`AppDefinition::from_slug`] goes by a slug's manifest, and reads its `app.json`.

use std::{
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use busbar_registry::AppName;

use crate::{
    app_json::{self, AppJsonError},
    cgroup::Limits,
    config_vars::{ConfigVars, EnvFileError},
    formation::{Formation, FormationError},
    life::Times,
    procfile::{Procfile, ProcfileError},
    restart::RestartPolicy,
    rollout::Replacement,
    slug::Manifest,
};

/// No file that describes an app may be longer.
const MAX_FILE: u64 = 1 << 20;

/// What an app is to the runtime.
#[derive(Debug, Clone)]
pub struct AppDefinition {
    /// Its name, under which it is in the registry.
    pub name: AppName,
    /// Where its commands run.
    pub directory: PathBuf,
    /// A file that each dyno keeps locked, shared with the others, for as long as it lives, also when its runtime has died:
    /// for whoever removes the app's files when nobody needs them.
    pub hold: Option<PathBuf>,
    /// What is there, if its name tells: a slug's hash. Dynos that a killed runtime left in another directory with the same
    /// contents are as good as new ones. `None`: the directory is its own name.
    pub contents: Option<String>,
    /// Its commands.
    pub procfile: Procfile,
    /// Whether they run as on Heroku: `HOME` is the directory, and `.profile.d/*.sh` and `.profile` are read first.
    pub profile: bool,
    /// How many dynos of each type.
    pub formation: Formation,
    /// Its config vars.
    pub config_vars: ConfigVars,
    /// What each dyno may use.
    pub limits: Limits,
    /// How long booting, draining and exiting may take.
    pub times: Times,
    /// When a crashed dyno is started again.
    pub restart: RestartPolicy,
    /// How all its dynos, or those of a type, are replaced by a deploy, a restart or cycling. Default: all at once, the new
    /// ones as the old ones begin to stop.
    pub replacement: Replacement,
    /// A dyno is replaced when it has run for this long, and up to 15 % longer, by chance. Default: never. On Heroku 24 h.
    pub cycle: Option<Duration>,
    /// Web dynos stop when there was no request for this long, and start with the next one. Default: never.
    pub idle_after: Option<Duration>,
    /// How its dynos are measured.
    pub metrics: Metrics,
}

/// How dynos are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metrics {
    /// Whether the lines of Heroku's log-runtime-metrics go into the log. Default: no.
    pub log: bool,
    /// From one report to the next: these lines, and R14. Default 20 s.
    pub every: Duration,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { log: false, every: Duration::from_secs(20) }
    }
}

/// Why a directory is no app.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// There is no Procfile.
    #[error("{} has no Procfile; write one with a line like `web: ./serve`", .0.display())]
    NoProcfile(PathBuf),
    /// A file or directory cannot be read.
    #[error("cannot read {}: {}", path.display(), advice(.source))]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The Procfile has mistakes.
    #[error(transparent)]
    Procfile(#[from] ProcfileError),
    /// The `app.json` has mistakes.
    #[error(transparent)]
    AppJson(#[from] AppJsonError),
    /// The `.env` file has mistakes.
    #[error(transparent)]
    EnvFile(#[from] EnvFileError),
    /// The formation does not fit the Procfile.
    #[error(transparent)]
    Formation(#[from] FormationError),
}

impl AppDefinition {
    /// An app with one dyno of each type, no config vars, and the default limits and times.
    pub fn new(name: AppName, directory: PathBuf, procfile: Procfile) -> Self {
        Self {
            name,
            directory,
            hold: None,
            contents: None,
            formation: Formation::default_for(&procfile),
            procfile,
            profile: false,
            config_vars: ConfigVars::default(),
            limits: Limits::default(),
            times: Times::default(),
            restart: RestartPolicy::default(),
            replacement: Replacement::default(),
            cycle: None,
            idle_after: None,
            metrics: Metrics::default(),
        }
    }

    /// Reads the app in `directory`: its `Procfile`; the formation from `app.json` if that has one; config vars from
    /// `.env` if there is one. With `.profile.d` or `.profile`, its commands run with them.
    ///
    /// # Errors
    /// [`DefinitionError`].
    pub fn from_directory(name: AppName, directory: &Path) -> Result<Self, DefinitionError> {
        let directory = canonical(directory)?;
        let procfile = read(&directory, "Procfile")?;
        let procfile =
            Procfile::parse(&procfile.ok_or_else(|| DefinitionError::NoProcfile(directory.clone()))?)?;
        let app_json = read(&directory, "app.json")?;
        let config_vars =
            read(&directory, ".env")?.map(|text| ConfigVars::parse_env_file(&text)).transpose()?;
        let profile = [".profile.d", ".profile"].iter().any(|name| directory.join(name).exists());
        let mut definition = Self { profile, ..Self::new(name, directory, procfile) };
        definition.form(app_json.as_deref())?;
        definition.config_vars = config_vars.unwrap_or_default();
        Ok(definition)
    }

    /// The app of a slug whose files are in `directory`: its commands and first config vars are those of the manifest,
    /// its formation that of its `app.json`. A symlink there that leads out of the slug is not followed.
    ///
    /// # Errors
    /// [`DefinitionError`].
    pub fn from_slug(name: AppName, manifest: &Manifest, directory: &Path) -> Result<Self, DefinitionError> {
        let directory = canonical(directory)?;
        let app_json = read_within(&directory, "app.json")?;
        let procfile = Procfile::from_commands(manifest.process_types.clone());
        let mut definition = Self { profile: true, ..Self::new(name, directory, procfile) };
        definition.form(app_json.as_deref())?;
        definition.config_vars = manifest.config_vars.iter().collect();
        Ok(definition)
    }

    fn form(&mut self, app_json: Option<&str>) -> Result<(), DefinitionError> {
        if let Some(formation) = app_json.map(app_json::formation).transpose()?.flatten() {
            formation.check_against(&self.procfile)?;
            self.formation = formation;
        }
        Ok(())
    }
}

/// The Procfile in `directory`, if there is one.
///
/// # Errors
/// [`DefinitionError::Read`], [`DefinitionError::Procfile`].
pub(crate) fn procfile_of(directory: &Path) -> Result<Option<Procfile>, DefinitionError> {
    Ok(read_within(directory, "Procfile")?.map(|text| Procfile::parse(&text)).transpose()?)
}

fn canonical(directory: &Path) -> Result<PathBuf, DefinitionError> {
    fs::canonicalize(directory).map_err(|source| DefinitionError::Read { path: directory.to_owned(), source })
}

/// A file of the app, which is not to be a symlink that leads elsewhere; `None` when it is not there.
pub(crate) fn read_within(directory: &Path, file: &str) -> Result<Option<String>, DefinitionError> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
    let path = directory.join(file);
    let open = || {
        let directory = open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(openat2(directory, file, flags, Mode::empty(), within)?.into())
    };
    bounded(open(), path)
}

/// A file of the app; `None` when it is not there.
fn read(directory: &Path, file: &str) -> Result<Option<String>, DefinitionError> {
    let path = directory.join(file);
    bounded(fs::File::open(&path), path)
}

fn bounded(file: io::Result<fs::File>, path: PathBuf) -> Result<Option<String>, DefinitionError> {
    let bounded = file.and_then(|file| {
        let mut text = String::new();
        let length = file.take(MAX_FILE + 1).read_to_string(&mut text)?;
        let too_long = length as u64 > MAX_FILE;
        if too_long {
            Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 1 MiB"))
        } else {
            Ok(text)
        }
    });
    match bounded {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DefinitionError::Read { path, source }),
        Ok(text) => Ok(Some(text)),
    }
}

fn advice(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it is not there; check the path".into(),
        io::ErrorKind::PermissionDenied => "not permitted; check its owner and permissions".into(),
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
            "a directory was expected where a file is, or the other way round".into()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(files: &[(&str, &str)]) -> Result<AppDefinition, DefinitionError> {
        let directory = tempfile::tempdir().unwrap();
        for (file, text) in files {
            fs::write(directory.path().join(file), text).unwrap();
        }
        AppDefinition::from_directory("shop".parse().unwrap(), directory.path())
    }

    #[test]
    fn the_formation_comes_from_app_json_and_config_vars_from_the_env_file() {
        let files = [
            ("Procfile", "web: a\nworker: b"),
            ("app.json", r#"{"formation":{"web":{"quantity":2}}}"#),
            (".env", "KEY=value"),
        ];
        let read = app(&files).unwrap();
        assert_eq!(read.formation.to_string(), "web=2");
        assert_eq!(read.config_vars.iter().next(), Some(("KEY", "value")));
        assert_eq!(app(&files[..1]).unwrap().formation.to_string(), "web=1 worker=1");
    }

    #[test]
    fn a_directory_that_is_no_app_says_why() {
        assert!(matches!(app(&[]), Err(DefinitionError::NoProcfile(_))));
        assert!(matches!(app(&[("Procfile", "web a")]), Err(DefinitionError::Procfile(_))));
        let unknown = [("Procfile", "web: a"), ("app.json", r#"{"formation":{"job":{}}}"#)];
        assert!(matches!(app(&unknown), Err(DefinitionError::Formation(_))));
        let long = "#".repeat(1 << 21);
        assert!(matches!(app(&[("Procfile", &long)]), Err(DefinitionError::Read { .. })));
    }
}
