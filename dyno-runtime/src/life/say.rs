//! What the runtime says about a dyno, in Heroku's words.

use std::{fmt, time::Duration};

use super::{Exit, Memory, Phase};

/// What the runtime says about a dyno in the app's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Say {
    /// `State changed from starting to up`
    Changed(Phase, Phase),
    /// `Process exited with status 143`
    Exited(Exit),
    /// Error R10
    BootTimeout(Duration),
    /// Error R12
    ExitTimeout(Duration),
    /// `Awaiting client`
    Awaiting,
    /// Error R13
    NotAttached,
    /// Error R16
    Detached,
    /// `Process running mem=1029M(201.0%)`
    Running(Memory),
    /// Error R14
    OverQuota,
    /// Error R15
    OutOfMemory,
    /// `Stopping all processes with SIGTERM`
    Terminating,
    /// `Stopping process with SIGKILL`
    Killing,
    /// `Restarting`
    Restarting,
    /// `Cycling`
    Cycling,
    /// `Idling`
    Idling,
    /// `Unidling`
    Unidling,
}

impl fmt::Display for Say {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed(from, to) => write!(f, "State changed from {from} to {to}"),
            Self::Exited(exit) => write!(f, "Process exited with status {exit}"),
            Self::BootTimeout(limit) => write!(
                f,
                "Error R10 (Boot timeout) -> Web process failed to bind to $PORT within {} of launch",
                in_seconds(*limit)
            ),
            Self::ExitTimeout(limit) => write!(
                f,
                "Error R12 (Exit timeout) -> At least one process failed to exit within {} of SIGTERM",
                in_seconds(*limit)
            ),
            Self::Awaiting => f.write_str("Awaiting client"),
            Self::NotAttached => f.write_str("Error R13 (Attach error) -> Failed to attach to process"),
            Self::Detached => f.write_str(
                "Error R16 (Detached) -> An attached process is not responding to SIGHUP after its external \
                 connection was closed.",
            ),
            Self::Running(Memory { used, quota }) => {
                let percent = *used as f64 * 100.0 / (*quota).max(1) as f64;
                write!(f, "Process running mem={}M({percent:.1}%)", used >> 20)
            }
            Self::OverQuota => f.write_str("Error R14 (Memory quota exceeded)"),
            Self::OutOfMemory => f.write_str("Error R15 (Memory quota vastly exceeded)"),
            Self::Terminating => f.write_str("Stopping all processes with SIGTERM"),
            Self::Killing => f.write_str("Stopping process with SIGKILL"),
            Self::Restarting => f.write_str("Restarting"),
            Self::Cycling => f.write_str("Cycling"),
            Self::Idling => f.write_str("Idling"),
            Self::Unidling => f.write_str("Unidling"),
        }
    }
}

fn in_seconds(span: Duration) -> String {
    format!("{} seconds", span.as_secs_f64())
}
