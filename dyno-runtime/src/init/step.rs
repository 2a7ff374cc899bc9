//! The steps of `dyno-init`, in order, each by its name.

use std::{fmt, io};

use serde::{Deserialize, Serialize};

use super::Failed;

/// The steps of `dyno-init`, in order. Those from `Namespaces` to `Seccomp` are only for dynos that are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InitStep {
    /// Read the specification.
    Spec,
    /// Begin a session of its own, so that it can be told from others and from the terminal.
    Session,
    /// Lock its app's files, so that they stay as long as it lives.
    Hold,
    /// Leave the machine's namespaces.
    Namespaces,
    /// Take a name for its machine.
    Hostname,
    /// Set up its network.
    Network,
    /// Attach its root directory.
    Root,
    /// Mount the programs.
    Stack,
    /// Mount its devices.
    Devices,
    /// Mount `/proc`.
    Proc,
    /// Mount the app's files and what it may write to.
    App,
    /// Enter its root directory, and give up the machine's.
    Pivot,
    /// Divide into the first process and the one that becomes the command.
    First,
    /// Enter its control groups.
    Cgroup,
    /// Set its resource limits.
    Rlimit,
    /// Become a user of its own.
    User,
    /// Give up all capabilities.
    Capabilities,
    /// Give up the gain of rights by set-user-ID programs.
    NoNewPrivileges,
    /// Restrict itself by Landlock.
    Landlock,
    /// Restrict itself to a list of system calls.
    Seccomp,
    /// Go to its directory.
    Directory,
    /// Take its standard streams, and close what it inherited beyond these.
    Files,
    /// Execute the command.
    Execute,
}

impl InitStep {
    /// All of them, in order.
    pub const ALL: [Self; 23] = [
        Self::Spec,
        Self::Session,
        Self::Hold,
        Self::Namespaces,
        Self::Hostname,
        Self::Network,
        Self::Root,
        Self::Stack,
        Self::Devices,
        Self::Proc,
        Self::App,
        Self::Pivot,
        Self::First,
        Self::Cgroup,
        Self::Rlimit,
        Self::User,
        Self::Capabilities,
        Self::NoNewPrivileges,
        Self::Landlock,
        Self::Seccomp,
        Self::Directory,
        Self::Files,
        Self::Execute,
    ];
}

impl fmt::Display for InitStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spec => "read its specification",
            Self::Session => "begin a session",
            Self::Hold => "lock the app's files",
            Self::Namespaces => "leave the machine's namespaces",
            Self::Hostname => "take a host name",
            Self::Network => "set up its network",
            Self::Root => "attach its root directory",
            Self::Stack => "mount the programs",
            Self::Devices => "mount its devices",
            Self::Proc => "mount /proc",
            Self::App => "mount the app's files",
            Self::Pivot => "enter its root directory",
            Self::First => "start its first process",
            Self::Cgroup => "enter its cgroup",
            Self::Rlimit => "set resource limits",
            Self::User => "become its user",
            Self::Capabilities => "give up capabilities",
            Self::NoNewPrivileges => "give up new privileges",
            Self::Landlock => "restrict itself by Landlock",
            Self::Seccomp => "restrict its system calls",
            Self::Directory => "change to the app's directory",
            Self::Files => "take its standard streams and close other files",
            Self::Execute => "execute the command",
        })
    }
}

/// Takes steps, and names the one that fails.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steps {
    pub(super) fail: Option<InitStep>,
}

impl Steps {
    /// Takes one; a step that is to fail does so without being taken.
    pub(super) fn take<T>(self, step: InitStep, deed: impl FnOnce() -> io::Result<T>) -> Result<T, Failed> {
        let to_fail = (self.fail == Some(step)).then(|| io::Error::from_raw_os_error(libc::EIO));
        to_fail.map_or_else(deed, Err).map_err(|source| Failed { step, source })
    }
}
