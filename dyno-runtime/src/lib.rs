//! Starts dynos as limited processes that register themselves, watches them, and stops them.
//!
//! Start here: [`Runtime`] with [`RuntimeOptions`] runs an [`AppDefinition`].
//!
//! What is decided, without side effects:
//! - [`procfile`], [`formation`], [`size`], [`app_json`], [`config_vars`]: what an app wants to run.
//! - [`life`]: one dyno from start to end, with Heroku's R-codes; [`restart`]: when it comes back; [`rollout`]: how
//!   several are replaced; [`metrics`]: what is measured of it.
//!
//! What is done:
//! - [`supervise`]: apps and dynos; the next runtime goes on with what a killed one left.
//! - [`spawn`] and [`init`]: a process becomes a dyno; [`stdio`]: what it reads and writes; [`sandbox`]: it is kept apart; [`cgroup`]: it is limited, counted
//!   and killed as a whole.
//! - [`slug`]: an app in one file, and where it is unpacked. [`buildpack`]: how source becomes one.
//! - [`register`]: a web dyno is ready, is registered, is drained. [`logs`]: what dynos write.
//!
//! The program that uses this library calls [`init::main`] when its first argument is [`options::INIT_VERB`].
//! `examples/supervise.rs` is such a program.

pub mod app_json;
pub mod buildpack;
pub mod cgroup;
pub mod config_vars;
pub mod definition;
pub mod formation;
pub mod init;
pub mod life;
pub mod logs;
pub mod metrics;
pub mod options;
mod ports;
mod private;
mod process;
pub mod procfile;
mod profile;
pub mod register;
mod remove;
pub mod restart;
pub mod rollout;
pub mod sandbox;
pub mod size;
pub mod slug;
pub mod spawn;
pub mod stdio;
pub mod supervise;

pub use cgroup::{Enforcement, Limits};
pub use config_vars::ConfigVars;
pub use definition::{AppDefinition, DefinitionError, Metrics};
pub use formation::{Formation, FormationError, ScaleChange, Share};
pub use life::{Exit, Phase, Times};
pub use logs::{LogLine, Source, Speaker, Tail};
pub use options::{BaseEnvironment, InitProgram, Isolation, Network, RuntimeOptions, Sandbox};
pub use private::{private_directory, temporary_directory};
pub use procfile::{Procfile, ProcfileError};
pub use register::{Demand, Drained, Draining};
pub use restart::RestartPolicy;
pub use rollout::Replacement;
pub use size::{NoSize, Size};
pub use stdio::{Stdio, Streams, Terminal, WindowSize};
pub use supervise::{Attach, DynoStatus, OneOff, Runtime, RuntimeError, StartError, Started, Swept, Which};
