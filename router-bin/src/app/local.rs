//! What `busbar up` and `busbar runtime` have in common: the app of a directory, its runtime, its end.

use std::{fs, path::Path, sync::Arc};

use busbar_registry::{AppName, Registry};
use dyno_runtime::{
    AppDefinition, ConfigVars, Enforcement, Formation, Runtime, RuntimeError, RuntimeOptions,
};
use rustix::process::{Pid, Signal as Kill, kill_process_group};
use tokio::task::JoinHandle;

use super::{
    demand::DemandHere, drained::DrainedHere, dynos::RunningApp, feed::Feed, printer::Printer,
    signals::Signals, source::SlugInUse, systemd,
};
use crate::{
    cli::{AppFlags, DynoIsolation, DynoLimits},
    failure::Failure,
    out,
};

/// What has to be had on this machine, or nothing runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conditions {
    must_limit: bool,
    apart: DynoIsolation,
}

impl AppFlags {
    /// Limits that somebody asked for on the command line are kept, or nothing runs; those of an `app.json` are kept where
    /// they can be. Dynos are kept apart as was asked, or nothing runs.
    pub(super) fn conditions(&self) -> Conditions {
        let must_limit = self.limits.is_some()
            || self.size.is_some()
            || self.formation.as_ref().is_some_and(Formation::has_sizes);
        Conditions { must_limit, apart: self.apart }
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`Failure::App`], [`Failure::Slug`], [`Failure::EnvFile`], [`Failure::File`].
    pub(super) fn definition(self) -> Result<(AppDefinition, Option<SlugInUse>), Failure> {
        let (mut definition, slug) = if self.directory.is_file() {
            let slug = SlugInUse::take(
                &self.directory,
                self.slug_store.as_deref(),
                self.apart.isolation.unwrap_or_default(),
            )?;
            (slug.definition(self.app)?, Some(slug))
        } else {
            let name = self.app.map_or_else(|| name_of(&self.directory), Ok)?;
            (AppDefinition::from_directory(name, &self.directory)?, None)
        };
        if let Some(formation) = self.formation {
            formation.check_against(&definition.procfile).map_err(dyno_runtime::DefinitionError::from)?;
            definition.formation = formation;
        }
        if let Some(sizes) = self.size {
            let sized = sizes.of(definition.formation);
            definition.formation = sized
                .and_then(|formation| formation.check_against(&definition.procfile).map(|()| formation))
                .map_err(dyno_runtime::DefinitionError::from)?;
        }
        if let Some(file) = self.env_file {
            let vars = config_vars(&file)?;
            // What buildpacks gave stays, unless the app says otherwise; what is in a directory's `.env` goes.
            let given = if slug.is_some() { definition.config_vars } else { ConfigVars::default() };
            definition.config_vars = vars.or(given);
        }
        if let Some(DynoLimits(limits)) = self.limits {
            definition.limits = limits;
        }
        Ok((definition, slug))
    }
}

pub(super) fn config_vars(file: &Path) -> Result<ConfigVars, Failure> {
    let path = || file.display().to_string();
    let advice = "check its path and permissions";
    let failed = |source| Failure::File { what: "env file", path: path(), deed: "read", source, advice };
    let text = fs::read_to_string(file).map_err(failed)?;
    ConfigVars::parse_env_file(&text).map_err(|source| Failure::EnvFile { file: path(), source })
}

/// The name of the directory, made a valid name of an app.
pub(crate) fn name_of(directory: &Path) -> Result<AppName, Failure> {
    let whole = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let name = whole.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_lowercase());
    let name: String = name.chars().take(30).collect();
    let unusable =
        |_| Failure::Usage(format!("no app can be named after {}; name it with --app", whole.display()));
    name.trim_end_matches('-').parse().map_err(unusable)
}

/// A running app, and who prints what it says.
pub(super) struct Local {
    /// The app.
    pub(super) app: Arc<RunningApp>,
    /// None only if the app is refused at once.
    printer: Option<Printer>,
    _slug: Option<SlugInUse>,
}

impl Local {
    /// Starts the app's dynos; they register themselves at `registry`, where the app must be known. `router`: the table
    /// of a router in this process that sends them requests. `None`: it was told to stop before they were started, while the
    /// release command ran, and has stopped.
    ///
    /// # Errors
    /// [`Failure::Runtime`], [`Failure::Deploy`], [`Failure::Interrupted`].
    pub(super) async fn start(
        definition: AppDefinition,
        slug: Option<SlugInUse>,
        Conditions { must_limit, apart }: Conditions,
        registry: Arc<dyn Registry>,
        router: Option<&Feed>,
        signals: &mut Signals,
    ) -> Result<Option<Self>, Failure> {
        // Its own instance, so that two apps can run on one machine.
        let instance = definition.name.to_string();
        let mut options = RuntimeOptions { instance, ..RuntimeOptions::default() };
        apart.apply(&mut options);
        if let Some(feed) = router {
            options.drained = Arc::new(DrainedHere::new(feed));
            options.demand = Some(Arc::new(DemandHere::new(feed)));
        }
        if must_limit {
            options.cgroups = Enforcement::Required; // a limit that somebody asked for is kept, or nothing runs
        }
        let runtime = Arc::new(Runtime::start(options, registry).await?);
        if let Some(slug) = &slug {
            slug.tidy();
        }
        let (app, procfile) = (definition.name.clone(), definition.procfile.clone());
        let width = definition
            .formation
            .iter()
            .map(|(t, share)| t.as_str().len() + 1 + share.quantity.to_string().len())
            .max();
        // Those of an earlier runtime.
        let earlier = runtime.waiting();
        let (deployed, printer) = begin(&runtime, definition, width.unwrap_or(0)).await?;
        let local = Self { app: Arc::new(RunningApp { runtime, app, procfile }), printer, _slug: slug };
        tokio::select! {
            outcome = deployed => match outcome.unwrap_or_else(|_| Err(RuntimeError::Stopping(local.app.app.clone()))) {
                Ok(()) => Ok(Some(local)),
                Err(refused) => {
                    local.put_back(earlier).await;
                    Err(refused.into())
                }
            },
            _ = signals.next() => local.stop_early(signals).await.map(|()| None),
        }
    }

    /// Stops all dynos, and returns when they are gone and their last words are printed.
    pub(super) async fn stop(self) {
        self.app.runtime.shutdown().await;
        self.finish().await;
    }

    /// The same before the app was deployed; at once when it is told a second time.
    async fn stop_early(self, signals: &mut Signals) -> Result<(), Failure> {
        systemd::stopping();
        out::note("stopping; Ctrl-C again to stop at once");
        let dynos = self.process_groups().await;
        tokio::select! {
            () = self.stop() => {
                out::note("stopped");
                Ok(())
            }
            () = signals.stop() => {
                kill(dynos);
                Err(Failure::Interrupted)
            }
        }
    }

    /// The deploy failed: what was there before goes on, and of what it began nothing is left.
    async fn put_back(self, earlier: usize) {
        if earlier == 0 {
            return self.stop().await;
        }
        self.app.runtime.leave().await;
        self.finish().await;
        out::note("dynos that an earlier runtime had left go on as they are, and wait for the next one");
    }

    async fn finish(self) {
        if let Some(printer) = self.printer {
            printer.finish().await;
        }
    }

    /// The processes to kill when there is no time for [`stop`](Self::stop).
    pub(super) async fn process_groups(&self) -> Vec<i32> {
        let dynos = self.app.runtime.ps(&self.app.app).await.unwrap_or_default();
        dynos.into_iter().filter_map(|dyno| dyno.pid).collect()
    }
}

/// How the deploy will have gone, and who prints what the app says until then and from then on.
type Begun = (JoinHandle<Result<(), RuntimeError>>, Option<Printer>);

/// Begins to deploy the app, and prints what it says, from its release command on.
async fn begin(runtime: &Arc<Runtime>, definition: AppDefinition, width: usize) -> Result<Begun, Failure> {
    let app = definition.name.clone();
    let deployed = {
        let runtime = Arc::clone(runtime);
        tokio::spawn(async move { runtime.deploy(definition).await })
    };
    // A release command may take long, and what it says is worth seeing.
    while runtime.logs(&app, 0).is_err() && !deployed.is_finished() {
        tokio::task::yield_now().await;
    }
    let printer = match runtime.logs(&app, dyno_runtime::logs::HISTORY) {
        Ok((first, tail)) => Some(Printer::start(first, tail, width)?),
        Err(_) => None,
    };
    Ok((deployed, printer))
}

/// Ends dynos at once: each leads a process group of its own. What leaves its group the next runtime finds.
pub(super) fn kill(groups: Vec<i32>) {
    for group in groups.into_iter().filter_map(Pid::from_raw) {
        let _gone_already = kill_process_group(group, Kill::KILL);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn the_name_of_a_directory_becomes_the_name_of_an_app() {
        let dir = tempfile::tempdir().unwrap();
        let named = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            name_of(&path).map(|name| name.to_string()).ok()
        };
        assert_eq!(named("My_Shop 2").as_deref(), Some("my-shop-2"));
        assert_eq!(named("2048-game-").as_deref(), Some("game"));
        assert_eq!(named(&"a".repeat(40)), Some("a".repeat(30)));
        assert_eq!(named("123"), None);
    }

    #[test]
    fn flags_win_over_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("Procfile"), "web: ./serve\nworker: ./work\n").unwrap();
        fs::write(dir.path().join(".env"), "A=from-the-directory\n").unwrap();
        fs::write(dir.path().join("other.env"), "A=from-the-flag\n").unwrap();
        let wanted = |formation: Option<&str>, env_file: Option<PathBuf>| AppFlags {
            directory: dir.path().to_owned(),
            slug_store: None,
            app: Some("shop".parse().unwrap()),
            formation: formation.map(|formation| formation.parse().unwrap()),
            env_file,
            size: None,
            limits: None,
            apart: DynoIsolation::default(),
        };
        let var = |definition: &AppDefinition| definition.config_vars.iter().next().unwrap().1.to_owned();
        let (usual, _) = wanted(None, None).definition().unwrap();
        assert_eq!(
            (usual.formation.to_string().as_str(), var(&usual).as_str()),
            ("web=1 worker=1", "from-the-directory")
        );
        let (flags, _) = wanted(Some("web=2"), Some(dir.path().join("other.env"))).definition().unwrap();
        assert_eq!((flags.formation.to_string().as_str(), var(&flags).as_str()), ("web=2", "from-the-flag"));
        assert!(matches!(wanted(Some("job=1"), None).definition(), Err(Failure::App(_))));
        let missing = wanted(None, Some("/nonexistent".into())).definition();
        assert!(matches!(missing, Err(Failure::File { .. })));
    }
}
