//! How a runtime is set up.
//!
//! - [`RuntimeOptions`]: everything, with defaults for one machine.
//! - [`InitProgram`]: which program becomes a dyno; [`Isolation`]; [`BaseEnvironment`].

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    cgroup::Enforcement,
    register::{AtOnce, Demand, Drained},
};

/// The first argument by which a program knows that it is to be [`crate::init::main`].
pub const INIT_VERB: &str = "dyno-init";

/// How a runtime is set up.
#[derive(Clone)]
pub struct RuntimeOptions {
    /// Tells runtimes on one machine apart: a-z, A-Z, 0-9, '-' and '_'. It is the name of the state directory and of
    /// the control group. Default `default`.
    pub instance: String,
    /// Where it is written down what runs, so that the next runtime can clean up. Default: `/run/busbar/<instance>`
    /// for root, otherwise below `$XDG_RUNTIME_DIR/busbar`, otherwise below `/tmp/busbar-<uid>`.
    pub state_directory: Option<PathBuf>,
    /// Which program becomes a dyno. Default: the running one, with [`INIT_VERB`].
    pub init: InitProgram,
    /// What happens when control groups cannot be used. Default: a warning.
    pub cgroups: Enforcement,
    /// How dynos are kept apart.
    pub isolation: Isolation,
    /// What a dyno's environment begins with.
    pub environment: BaseEnvironment,
    /// How long a dyno stays registered when this runtime dies. Renewed at a third. Default 10 s.
    pub lease: Duration,
    /// Says when a dyno that gets no new requests has none in flight. Default: at once.
    pub drained: Arc<dyn Drained>,
    /// Says whether anybody asks for an app. Default: nobody knows, so that no app can be idle.
    pub demand: Option<Arc<dyn Demand>>,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        Self {
            instance: "default".into(),
            state_directory: None,
            init: InitProgram::default(),
            cgroups: Enforcement::default(),
            isolation: Isolation::default(),
            environment: BaseEnvironment::default(),
            lease: Duration::from_secs(10),
            drained: Arc::new(AtOnce),
            demand: None,
        }
    }
}

impl fmt::Debug for RuntimeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            instance,
            state_directory,
            init,
            cgroups,
            isolation,
            environment,
            lease,
            drained: _,
            demand: _,
        } = self;
        let mut shown = f.debug_struct("RuntimeOptions");
        shown.field("instance", instance).field("state_directory", state_directory).field("init", init);
        shown.field("cgroups", cgroups).field("isolation", isolation).field("environment", environment);
        shown.field("lease", lease).finish_non_exhaustive()
    }
}

/// Which program becomes a dyno: its `main` calls [`crate::init::main`] when it is started with these arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitProgram {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

impl Default for InitProgram {
    /// The running program, also after its file was replaced.
    fn default() -> Self {
        Self { program: "/proc/self/exe".into(), arguments: vec![INIT_VERB.into()] }
    }
}

/// How dynos are kept apart from each other and from the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Isolation {
    /// A session and a control group of its own, no gain of rights, no core dumps. It sees the machine's files,
    /// processes and network: for apps that trust each other.
    #[default]
    Plain,
}

/// What a dyno's environment begins with, before config vars, `DYNO` and `PORT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BaseEnvironment {
    /// That of the runtime, as with foreman and `heroku local`; without what belongs to Busbar, to systemd, or to
    /// another dyno (`BUSBAR_*`, `PORT`, `DYNO`, `NOTIFY_SOCKET`, `LISTEN_*`, `WATCHDOG_*`).
    #[default]
    Inherit,
    /// Only `PATH`, `HOME`, `USER`, `LOGNAME`, `LANG`, `LC_ALL`, `TZ` and `TERM`.
    Clean,
}

impl BaseEnvironment {
    /// The variables.
    pub(crate) fn variables(self) -> Vec<(OsString, OsString)> {
        env::vars_os().filter(|(name, _)| self.has(name)).collect()
    }

    fn has(self, name: &OsStr) -> bool {
        const PLAIN: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TERM"];
        let name = name.to_string_lossy();
        match self {
            Self::Clean => PLAIN.contains(&name.as_ref()),
            Self::Inherit => {
                let foreign =
                    ["BUSBAR_", "LISTEN_", "WATCHDOG_"].iter().any(|prefix| name.starts_with(prefix));
                !foreign && !["PORT", "DYNO", "NOTIFY_SOCKET"].contains(&name.as_ref())
            }
        }
    }
}

/// The shell that runs a command: bash as on Heroku, otherwise sh.
pub(crate) fn shell() -> &'static str {
    ["/bin/bash", "/usr/bin/bash"].into_iter().find(|shell| Path::new(shell).exists()).unwrap_or("/bin/sh")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_others_is_not_inherited() {
        for (name, inherited, clean) in [
            ("PATH", true, true),
            ("EDITOR", true, false),
            ("BUSBAR_TOKEN", false, false),
            ("PORT", false, false),
            ("DYNO", false, false),
            ("LISTEN_FDS", false, false),
        ] {
            let has = |base: BaseEnvironment| base.has(OsStr::new(name));
            assert_eq!(
                (has(BaseEnvironment::Inherit), has(BaseEnvironment::Clean)),
                (inherited, clean),
                "{name}"
            );
        }
    }
}
