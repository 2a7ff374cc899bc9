//! Children that end with us, however we end.
//!
//! A child is started through this program's own hidden verb `launch`, which pins itself to a core, asks the kernel to be
//! terminated when its parent dies, and becomes the child. Dropping a [`Child`] terminates its whole process group.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, set_parent_process_death_signal};

use super::{pin, usage};

/// How long a child may take to end when asked.
const PATIENCE: Duration = Duration::from_secs(3);

/// What to start.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// Which program.
    pub path: PathBuf,
    /// With which arguments.
    pub arguments: Vec<OsString>,
    /// With which variables beside ours.
    pub variables: Vec<(&'static str, OsString)>,
}

/// A running child.
#[derive(Debug)]
pub struct Child {
    child: process::Child,
    errors: PathBuf,
}

impl Child {
    /// Starts a program in `folder` on a core; what it says goes to the files `NAME.out` and `NAME.err` there. `launcher` is
    /// the path of `busbar-bench`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(
        launcher: &Path,
        name: &str,
        program: &Program,
        core: usize,
        folder: &Path,
    ) -> io::Result<Self> {
        let errors = folder.join(format!("{name}.err"));
        let child = Command::new(launcher)
            .args(["launch", "--core", &core.to_string(), "--"])
            .arg(&program.path)
            .args(&program.arguments)
            .envs(program.variables.iter().cloned())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(File::create(folder.join(format!("{name}.out")))?)
            .stderr(File::create(&errors)?)
            .process_group(0)
            .spawn()?;
        Ok(Self { child, errors })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What its process tree has used until now.
    #[must_use]
    pub fn usage(&self) -> usage::Usage {
        usage::tree(self.id())
    }

    /// Sends it, and only it, a signal.
    ///
    /// # Errors
    /// It is not there any more.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match self.pid() {
            Some(pid) => Ok(kill_process(pid, signal)?),
            None => Err(io::Error::other("it is not there any more")),
        }
    }

    /// Whether it has ended by itself; then, the last of what it complained about.
    pub fn obituary(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        let said = std::fs::read_to_string(&self.errors).unwrap_or_default();
        let lines: Vec<&str> = said.lines().rev().take(5).collect();
        let last: Vec<&str> = lines.into_iter().rev().collect();
        Some(format!("it ended ({status}): {}", last.join(" / ")))
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.id()).ok().and_then(Pid::from_raw)
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let Some(pid) = self.pid() else { return };
        if !self.has_ended() {
            let _gone = kill_process_group(pid, Signal::TERM);
            let deadline = Instant::now() + PATIENCE;
            while !self.has_ended() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(5));
            }
        }
        let _usually_gone = kill_process_group(pid, Signal::KILL);
        let _reaped = self.child.wait();
    }
}

/// Becomes another program, on a core, and for no longer than our parent lives. Returns only when that fails.
pub fn become_program(core: usize, program: &std::ffi::OsStr, arguments: &[OsString]) -> io::Error {
    let prepared =
        set_parent_process_death_signal(Some(Signal::TERM)).map_err(io::Error::from).and_then(|()| pin(core));
    match prepared {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(error) => error,
    }
}
