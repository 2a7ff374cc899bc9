//! The dynos this process runs, as the admin API and the verbs see them.

use std::{fmt, str::FromStr};

use busbar_registry::{DynoName, NameError, ProcessType};
use dyno_runtime::{LogLine, OneOff, Replacement, RuntimeError, ScaleChange, Started, Tail, Which};

use crate::admin::api::{ProcessGroup, Restarted, Scaled};

/// Dynos that can be looked at, scaled and restarted.
#[async_trait::async_trait]
pub(crate) trait Dynos: Send + Sync {
    /// What they are and do, by process type.
    async fn ps(&self) -> Result<Vec<ProcessGroup>, RuntimeError>;
    /// Changes how many there should be, and says how many there should be now.
    async fn scale(&self, changes: Vec<ScaleChange>) -> Result<Vec<Scaled>, RuntimeError>;
    /// Restarts them, as the app says, or as `how` says instead.
    async fn restart(&self, target: Target, how: Option<Replacement>) -> Result<Restarted, RuntimeError>;
    /// Runs a command in a dyno of its own.
    async fn run(&self, order: OneOff) -> Result<Started, RuntimeError>;
    /// Nobody is attached to that one-off dyno any more: it ends.
    async fn hang_up(&self, dyno: DynoName);
    /// The last `most` lines, and those that follow. `None` when they are gone.
    fn logs(&self, most: usize) -> Option<(Vec<LogLine>, Tail)>;
}

/// Which dynos.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Target {
    /// All of them.
    #[default]
    All,
    /// Those of one process type.
    Type(ProcessType),
    /// One.
    Dyno(DynoName),
}

impl Target {
    /// As it is written: `web.1`, `web`, nothing.
    pub(crate) fn to_wire(&self) -> String {
        match self {
            Self::All => String::new(),
            Self::Type(process_type) => process_type.to_string(),
            Self::Dyno(dyno) => dyno.to_string(),
        }
    }
}

impl From<Target> for Which {
    fn from(target: Target) -> Self {
        match target {
            Target::All => Self::All,
            Target::Type(process_type) => Self::Type(process_type),
            Target::Dyno(dyno) => Self::Dyno(dyno),
        }
    }
}

impl FromStr for Target {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.contains('.') { text.parse().map(Self::Dyno) } else { text.parse().map(Self::Type) }
    }
}

impl fmt::Display for Target {
    /// As Heroku says it: `all dynos`, `all web dynos`, `dyno web.1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all dynos"),
            Self::Type(process_type) => write!(f, "all {process_type} dynos"),
            Self::Dyno(dyno) => write!(f, "dyno {dyno}"),
        }
    }
}
