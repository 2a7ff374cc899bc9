//! Starts `dyno-init` and sees it become the app's command.
//!
//! Two steps, so that nothing is lost if this process dies in between: [`Embryo::create`] starts a process that waits
//! for its orders and exits without them; once it is written down, [`Embryo::launch`] gives the orders. Never is
//! anything executed between fork and exec: with `posix_spawn` the size of this process does not matter.

use std::{
    ffi::OsString,
    fmt, io,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest, unix::AsyncFd},
    net::{UnixStream, unix::pipe},
};

use crate::{
    init::{InitSpec, InitStep, Report},
    life::Exit,
    options::InitProgram,
};

/// `dyno-init` has no more time than this; its steps take milliseconds.
const LAUNCH_LIMIT: Duration = Duration::from_secs(10);

/// Why a dyno could not be launched. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The system did not give what a process needs.
    #[error("cannot {deed} for a dyno: {source}")]
    System {
        /// What was tried.
        deed: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// `dyno-init` itself cannot be started.
    #[error("cannot start {} as dyno-init: {source}", program.display())]
    Init {
        /// The program that was tried.
        program: PathBuf,
        /// What the system said; "argument list too long" when the config vars are too large.
        source: io::Error,
    },
    /// A step of `dyno-init` failed.
    #[error("the dyno could not {step}: {source}")]
    Step {
        /// Which step.
        step: InitStep,
        /// What the system said.
        source: io::Error,
    },
    /// The program that was started is no `dyno-init`, or it was killed, or hangs.
    #[error("{} did not answer as dyno-init within {LAUNCH_LIMIT:?}; its `main` must call dyno_runtime::init::main", .0.display())]
    Silent(PathBuf),
}

fn system(deed: &'static str) -> impl Fn(io::Error) -> SpawnError {
    move |source| SpawnError::System { deed, source }
}

/// A process that waits for its orders.
pub(crate) struct Embryo {
    orders: UnixStream,
    program: PathBuf,
    process: Process,
    output: [pipe::Receiver; 2],
}

/// The first process of a dyno, which is a child of this one and not reaped before it is waited for.
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pidfd: AsyncFd<OwnedFd>,
}

/// A process that runs the app's command, and its output.
pub(crate) struct Launched {
    pub(crate) process: Process,
    pub(crate) stdout: pipe::Receiver,
    pub(crate) stderr: pipe::Receiver,
}

impl Embryo {
    /// Starts the process. Its environment is `environment` and nothing else.
    pub(crate) fn create(
        init: &InitProgram,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, SpawnError> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(system("make a socket pair"))?;
        ours.set_nonblocking(true).map_err(system("make a socket pair"))?;
        let orders = UnixStream::from_std(ours).map_err(system("make a socket pair"))?;
        let (stdout, their_stdout) = output_pipe()?;
        let (stderr, their_stderr) = output_pipe()?;
        let mut command = Command::new(&init.program);
        command.args(&init.arguments).arg0("dyno-init").env_clear().envs(environment);
        command.stdin(OwnedFd::from(theirs)).stdout(their_stdout).stderr(their_stderr);
        let child =
            command.spawn().map_err(|source| SpawnError::Init { program: init.program.clone(), source })?;
        // Not reaped yet, so the pid is this child's.
        let pid = Pid::from_child(&child);
        let process = Process::open(pid).map_err(system("open a pidfd"))?;
        Ok(Self { orders, program: init.program.clone(), process, output: [stdout, stderr] })
    }

    pub(crate) fn pid(&self) -> Pid {
        self.process.pid
    }

    /// Gives the orders and waits until the command is executed. On failure the process is killed and reaped.
    pub(crate) async fn launch(mut self, spec: &InitSpec) -> Result<Launched, SpawnError> {
        let reports = tokio::time::timeout(LAUNCH_LIMIT, converse(&mut self.orders, spec)).await;
        let failure = match reports.ok().and_then(Result::ok).as_deref() {
            Some([Report::Ready]) => {
                let [stdout, stderr] = self.output;
                return Ok(Launched { process: self.process, stdout, stderr });
            }
            Some([.., Report::Failed { step, errno }]) => {
                SpawnError::Step { step: *step, source: io::Error::from_raw_os_error(*errno) }
            }
            _ => SpawnError::Silent(self.program),
        };
        self.process.end().await;
        Err(failure)
    }

    /// Gives no orders: the process is killed and reaped.
    pub(crate) async fn abandon(self) {
        self.process.end().await;
    }
}

/// Sends the specification and hears all reports until the socket is closed.
async fn converse(orders: &mut UnixStream, spec: &InitSpec) -> io::Result<Vec<Report>> {
    let mut line = serde_json::to_vec(spec)?;
    line.push(b'\n');
    orders.write_all(&line).await?;
    let mut heard = Vec::new();
    orders.take(4096).read_to_end(&mut heard).await?;
    heard
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| Ok(serde_json::from_slice(line)?))
        .collect()
}

fn output_pipe() -> Result<(pipe::Receiver, Stdio), SpawnError> {
    let make = || {
        let (ours, theirs) = io::pipe()?;
        Ok((pipe::Receiver::from_owned_fd(ours.into())?, Stdio::from(theirs)))
    };
    make().map_err(system("make a pipe"))
}

impl Process {
    fn open(pid: Pid) -> io::Result<Self> {
        let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
        #[expect(
            unsafe_code,
            reason = "tokio has no safe way to wait for a descriptor that it has no type for"
        )]
        // SAFETY: an `OwnedFd` is open and stays the same descriptor for as long as it lives; the `AsyncFd` owns it.
        let pidfd = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) };
        Ok(Self { pid, pidfd: pidfd? })
    }

    /// Kills and reaps it.
    async fn end(&self) {
        let _gone = rustix::process::pidfd_send_signal(self.pidfd.get_ref(), rustix::process::Signal::KILL);
        self.ended().await;
        self.reap();
    }

    /// Waits until the process has ended. It stays as a zombie, so that its pid and session remain its own. Cancel safe.
    pub(crate) async fn ended(&self) {
        // The readiness of a pidfd stays; it is never cleared.
        let _readable = self.pidfd.readable().await;
    }

    /// How it ended; only after [`Process::ended`].
    pub(crate) fn peek(&self) -> Exit {
        self.wait(WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
    }

    /// Lets its pid go; only after [`Process::ended`].
    pub(crate) fn reap(&self) {
        self.wait(WaitIdOptions::EXITED);
    }

    fn wait(&self, options: WaitIdOptions) -> Exit {
        use std::os::fd::AsFd as _;
        let status = waitid(WaitId::PidFd(self.pidfd.get_ref().as_fd()), options | WaitIdOptions::NOHANG);
        match status {
            Ok(Some(status)) => match status.exit_status() {
                Some(code) => Exit::Code(code),
                None => Exit::Signal(status.terminating_signal().unwrap_or(0)),
            },
            // Somebody else in this program waits for children that are not theirs.
            Ok(None) | Err(_) => {
                tracing::error!(
                    pid = self.pid.as_raw_pid(),
                    "the exit status of a dyno was taken by somebody else"
                );
                Exit::Signal(0)
            }
        }
    }
}

/// Sees to it that what this process inherited beyond its standard streams is closed by `exec`: a shell, a `make`, or a
/// service manager may have left files open that are none of the app's business.
pub(crate) fn close_the_rest_on_exec() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse().ok()).filter(|n| *n > 2)
        else {
            continue;
        };
        #[expect(
            unsafe_code,
            reason = "the number of a file that somebody else opened is all there is of it"
        )]
        // SAFETY: it is borrowed for the one call below, which changes a flag and neither reads, writes nor closes.
        let file = unsafe { BorrowedFd::borrow_raw(number) };
        // The list contains the one that it is read from; that is close-on-exec already.
        rustix::io::fcntl_setfd(file, rustix::io::FdFlags::CLOEXEC)?;
    }
    Ok(())
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Process").field(&self.pid).finish()
    }
}
