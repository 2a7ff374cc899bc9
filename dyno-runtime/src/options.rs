//! How a runtime is set up.
//!
//! - [`RuntimeOptions`]: everything, with defaults for one machine.
//! - [`InitProgram`]: which program becomes a dyno; [`BaseEnvironment`].
//! - [`Isolation`], [`Sandbox`], [`Network`]: how it is kept apart.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use crate::{
    cgroup::Enforcement,
    init::InitStep,
    register::{AtOnce, Demand, Drained},
    supervise::DieAt,
};

/// The first argument by which a program knows that it is to be [`crate::init::main`].
pub const INIT_VERB: &str = "dyno-init";

/// How a runtime is set up.
#[derive(Clone)]
pub struct RuntimeOptions {
    /// Tells runtimes on one machine apart: a-z, A-Z, 0-9, '-' and '_'. It is the name of the state directory and of
    /// the control group. Default `default`.
    pub instance: String,
    /// Where it is written down what runs, so that the next runtime can go on with it or clean up. Default: `/run/busbar/<instance>`
    /// for root, otherwise below `$XDG_RUNTIME_DIR/busbar`, otherwise below `/tmp/busbar-<uid>`.
    pub state_directory: Option<PathBuf>,
    /// Dynos that a killed runtime of this instance has left go on. Within this time after the start their app has to be
    /// deployed again, which adopts them; then what is left is stopped. `None`: they are killed at the start. Default 60 s.
    pub adopt: Option<Duration>,
    /// Which program becomes a dyno. Default: the running one, with [`INIT_VERB`].
    pub init: InitProgram,
    /// What happens when control groups cannot be used. Default: a warning.
    pub cgroups: Enforcement,
    /// How dynos are kept apart. What this machine does not allow is refused at the start.
    pub isolation: Isolation,
    /// The particulars of that.
    pub sandbox: Sandbox,
    /// What a dyno's environment begins with.
    pub environment: BaseEnvironment,
    /// How long a dyno stays registered when this runtime dies. Renewed at a third. Default 10 s.
    pub lease: Duration,
    /// Says when a dyno that gets no new requests has none in flight. Default: at once.
    pub drained: Arc<dyn Drained>,
    /// Says whether anybody asks for an app. Default: nobody knows, so that no app can be idle.
    pub demand: Option<Arc<dyn Demand>>,
    /// It dies there: for tests of what the next one makes of it.
    #[doc(hidden)]
    pub die_at: DieAt,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        Self {
            instance: "default".into(),
            state_directory: None,
            adopt: Some(Duration::from_secs(60)),
            init: InitProgram::default(),
            cgroups: Enforcement::default(),
            isolation: Isolation::default(),
            sandbox: Sandbox::default(),
            environment: BaseEnvironment::default(),
            lease: Duration::from_secs(10),
            drained: Arc::new(AtOnce),
            demand: None,
            die_at: DieAt::default(),
        }
    }
}

impl RuntimeOptions {
    /// Below which directory dynos find their programs: at the level `Plain` they have the machine's.
    pub(crate) fn programs(&self) -> &Path {
        if self.isolation == Isolation::Plain { Path::new("/") } else { &self.sandbox.stack }
    }
}

impl fmt::Debug for RuntimeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instance, state_directory, adopt, init, cgroups, .. } = self;
        let Self { isolation, sandbox, environment, lease, .. } = self;
        let mut shown = f.debug_struct("RuntimeOptions");
        shown.field("instance", instance).field("state_directory", state_directory);
        shown.field("adopt", adopt).field("init", init);
        shown.field("cgroups", cgroups).field("isolation", isolation).field("sandbox", sandbox);
        shown.field("environment", environment);
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
    /// Its own files, processes and names, without rights, with a list of system calls; in a user namespace, for which
    /// nobody has to be root. It has the runtime's user and the machine's network.
    User,
    /// All of that, and a user and a network of its own. Needs root.
    Full,
}

/// A word that is no level of isolation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no level of isolation; there are full, user and plain")]
pub struct NoIsolation(String);

impl FromStr for Isolation {
    type Err = NoIsolation;
    fn from_str(word: &str) -> Result<Self, NoIsolation> {
        match word {
            "plain" => Ok(Self::Plain),
            "user" => Ok(Self::User),
            "full" => Ok(Self::Full),
            other => Err(NoIsolation(other.to_owned())),
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Plain => "plain",
            Self::User => "user",
            Self::Full => "full",
        })
    }
}

/// Whom a dyno can reach, at the level [`Isolation::Full`]; at the others it has the machine's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// A network of its own; it can call the world by NAT where this machine allows that, with a warning where not.
    #[default]
    Outbound,
    /// A network of its own; it can be called, and calls nobody.
    Inbound,
    /// The machine's: other dynos, the machine's own services and all that these can reach.
    Host,
}

/// A word that is no kind of network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no kind of network; there are outbound, inbound and host")]
pub struct NoNetwork(String);

impl FromStr for Network {
    type Err = NoNetwork;
    fn from_str(word: &str) -> Result<Self, NoNetwork> {
        match word {
            "outbound" => Ok(Self::Outbound),
            "inbound" => Ok(Self::Inbound),
            "host" => Ok(Self::Host),
            other => Err(NoNetwork(other.to_owned())),
        }
    }
}

/// The particulars of isolation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Where the programs are that dynos find: a directory with `usr`, `bin`, `etc` …, mounted read-only. Default: the
    /// machine's own root.
    pub stack: PathBuf,
    /// Where dynos write, on a disk. Default: `/var/lib/busbar` for root, otherwise `$XDG_STATE_HOME/busbar` or
    /// `~/.local/state/busbar`.
    pub scratch: Option<PathBuf>,
    /// Bytes that a dyno's `/dev/shm` may hold; they count as its memory. Default 64 MiB.
    pub shm: u64,
    /// Bytes that a dyno may have written to `/app` and `/tmp` at a time; from 8 MiB, only at the level
    /// [`Isolation::Full`]. Default: as much as the disk has.
    pub disk: Option<u64>,
    /// Whom a dyno can reach.
    pub network: Network,
    /// The network of all dynos on this machine: the first address of 65,536. Default 10.253.0.0.
    pub dynos: Ipv4Addr,
    /// This step fails: for tests of what happens then.
    #[doc(hidden)]
    pub fail: Option<InitStep>,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self {
            stack: "/".into(),
            scratch: None,
            shm: 64 << 20,
            disk: None,
            network: Network::default(),
            dynos: Ipv4Addr::new(10, 253, 0, 0),
            fail: None,
        }
    }
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
    /// The variables of a dyno that has the machine's files, or its own.
    pub(crate) fn variables(self, isolation: Isolation) -> Vec<(OsString, OsString)> {
        if isolation != Isolation::Plain {
            return apart();
        }
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

/// What a dyno finds that has its own files: nothing in them is the runtime's, so that nothing of its environment fits.
fn apart() -> Vec<(OsString, OsString)> {
    let own = [
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("HOME", "/app"),
        ("USER", "dyno"),
        ("LOGNAME", "dyno"),
        ("SHELL", "/bin/bash"),
    ];
    let passed = ["LANG", "LC_ALL", "TZ", "TERM"];
    let passed = passed.into_iter().filter_map(|name| Some((name.into(), env::var_os(name)?)));
    own.into_iter().map(|(name, value)| (name.into(), value.into())).chain(passed).collect()
}

/// The shell that runs a command, among the programs below `stack`: bash as on Heroku, otherwise sh.
pub(crate) fn shell(stack: &Path) -> &'static str {
    let is_there = |shell: &&str| stack.join(shell.trim_start_matches('/')).exists();
    ["/bin/bash", "/usr/bin/bash"].into_iter().find(is_there).unwrap_or("/bin/sh")
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
