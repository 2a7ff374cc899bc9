//! Starts `dyno-init` and sees it become the app's command.
//!
//! Two steps, so that nothing is lost if this process dies in between: [`Embryo::create`] starts a process that waits
//! for its orders and exits without them; once it is written down, [`Embryo::launch`] gives the orders. Nothing of this
//! process is copied for it, so that its size does not matter: [`OpenProgram`] is executed at once, and all that makes a
//! process a dyno is done there.

use std::{
    collections::BTreeMap,
    ffi::{CString, OsString},
    fmt,
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::FileExt as _},
    },
    path::PathBuf,
    time::Duration,
};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest, unix::AsyncFd},
    net::{UnixStream, unix::pipe},
};

use crate::{
    init::{self, InitSpec, InitStep, Report},
    life::Exit,
    options::{InitProgram, Isolation},
    sandbox::sys,
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
    /// Where it writes how the command ended, if it is not the command itself.
    told: Option<File>,
}

/// A process that runs the app's command, and its output.
pub(crate) struct Launched {
    pub(crate) process: Process,
    pub(crate) stdout: pipe::Receiver,
    pub(crate) stderr: pipe::Receiver,
}

impl Embryo {
    /// Starts the process. It has no environment and no files but its streams, and `exit`, if it is to write there how
    /// the command ended.
    pub(crate) fn create(
        init: &OpenProgram,
        level: Isolation,
        exit: Option<File>,
    ) -> Result<Self, SpawnError> {
        let made = |exit: Option<File>| -> io::Result<_> {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            let (stdout, their_stdout) = output_pipe()?;
            let (stderr, their_stderr) = output_pipe()?;
            let files =
                [Some(theirs.into()), Some(their_stdout), Some(their_stderr), exit.map(OwnedFd::from)];
            let files = files
                .into_iter()
                .flatten()
                .map(|file| out_of_the_way(&file))
                .collect::<io::Result<Vec<_>>>()?;
            Ok((UnixStream::from_std(ours)?, [stdout, stderr], files))
        };
        let told = exit.as_ref().map(File::try_clone).transpose().map_err(system("share a file"))?;
        let (orders, output, files) = made(exit).map_err(system("make sockets and pipes"))?;
        let process = Process { told, ..init.start(level, &files)? };
        Ok(Self { orders, program: init.program.clone(), process, output })
    }

    pub(crate) fn pid(&self) -> Pid {
        self.process.pid
    }

    /// Gives the orders and waits until the command is executed. On failure the process is killed and reaped.
    pub(crate) async fn launch(mut self, order: &LaunchOrder) -> Result<Launched, SpawnError> {
        let reports = tokio::time::timeout(LAUNCH_LIMIT, converse(&mut self.orders, order)).await;
        let reports = reports.ok().and_then(Result::ok).unwrap_or_default();
        let failed = reports.iter().find_map(|report| match report {
            Report::Failed { step, errno } => Some((*step, *errno)),
            Report::Ready => None,
        });
        let failure = match failed {
            Some((step, errno)) => SpawnError::Step { step, source: io::Error::from_raw_os_error(errno) },
            None if reports.is_empty() => SpawnError::Silent(self.program),
            None => {
                let [stdout, stderr] = self.output;
                return Ok(Launched { process: self.process, stdout, stderr });
            }
        };
        self.process.end().await;
        Err(failure)
    }

    /// Gives no orders: the process is killed and reaped.
    pub(crate) async fn abandon(self) {
        self.process.end().await;
    }
}

/// The program that becomes a dyno, opened once: what is started later is what is running now, also after its file was
/// replaced.
#[derive(Debug)]
pub(crate) struct OpenProgram {
    program: PathBuf,
    arguments: Vec<CString>,
    file: io::Result<OwnedFd>,
}

impl OpenProgram {
    /// Opens it. That it cannot be opened is said when it is to be started.
    pub(crate) fn open(init: &InitProgram) -> Self {
        let argument = |argument: &OsString| CString::new(argument.as_bytes()).unwrap_or_default();
        let arguments = [c"dyno-init".to_owned()].into_iter().chain(init.arguments.iter().map(argument));
        let file = File::open(&init.program).and_then(|file| out_of_the_way(&file.into()));
        Self { program: init.program.clone(), arguments: arguments.collect(), file }
    }

    fn start(&self, level: Isolation, files: &[OwnedFd]) -> Result<Process, SpawnError> {
        let failed = |source| SpawnError::Init { program: self.program.clone(), source };
        let file = self.file.as_ref().map_err(|error| failed(again(error)))?;
        let arguments: Vec<_> = self.arguments.iter().map(CString::as_c_str).collect();
        let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let (namespaces, root_is) = match level {
            Isolation::Plain => (0, None),
            Isolation::User => (libc::CLONE_NEWUSER | libc::CLONE_NEWPID, Some((uid, gid))),
            Isolation::Full => (libc::CLONE_NEWPID, None),
        };
        let birth =
            sys::Birth { program: file.as_fd(), arguments: &arguments, files: &files, namespaces, root_is };
        let (pid, pidfd) = sys::clone_init(&birth).map_err(failed)?;
        Process::watched(pid, pidfd).map_err(system("watch a process"))
    }
}

fn again(error: &io::Error) -> io::Error {
    error
        .raw_os_error()
        .map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)
}

/// The same file under a number that no standard stream has, even if this program was started without these.
fn out_of_the_way(file: &OwnedFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(file, 10)?)
}

/// What a process is told: its specification, and the environment of the command.
#[derive(Debug)]
pub(crate) struct LaunchOrder {
    spec: InitSpec,
    environment: Secret,
}

/// Bytes that are not shown.
struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl LaunchOrder {
    /// # Errors
    /// The environment is larger than any system takes, or would be cut short by a NUL.
    pub(crate) fn new(
        mut spec: InitSpec,
        environment: Vec<(OsString, OsString)>,
    ) -> Result<Self, SpawnError> {
        let refuse =
            |errno| SpawnError::Step { step: InitStep::Execute, source: io::Error::from_raw_os_error(errno) };
        let mut bytes = Vec::new();
        // Of a name that stands there twice the last value counts.
        let last: BTreeMap<OsString, OsString> = environment.into_iter().collect();
        for (name, value) in last {
            let both = [name.as_bytes(), b"=", value.as_bytes()].concat();
            if both.contains(&0) {
                return Err(refuse(libc::EINVAL));
            }
            bytes.extend(both);
            bytes.push(0);
        }
        if bytes.len() > init::MAX_ENVIRONMENT {
            return Err(refuse(libc::E2BIG));
        }
        spec.environment = bytes.len();
        Ok(Self { spec, environment: Secret(bytes) })
    }
}

/// Sends the specification and hears all reports until the socket is closed.
async fn converse(orders: &mut UnixStream, order: &LaunchOrder) -> io::Result<Vec<Report>> {
    let mut line = serde_json::to_vec(&order.spec)?;
    line.push(b'\n');
    orders.write_all(&line).await?;
    orders.write_all(&order.environment.0).await?;
    let mut heard = Vec::new();
    orders.take(4096).read_to_end(&mut heard).await?;
    heard
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| Ok(serde_json::from_slice(line)?))
        .collect()
}

fn output_pipe() -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (ours, theirs) = io::pipe()?;
    Ok((pipe::Receiver::from_owned_fd(ours.into())?, theirs.into()))
}

impl Process {
    fn watched(pid: Pid, pidfd: OwnedFd) -> io::Result<Self> {
        #[expect(
            unsafe_code,
            reason = "tokio has no safe way to wait for a descriptor that it has no type for"
        )]
        // SAFETY: an `OwnedFd` is open and stays the same descriptor for as long as it lives; the `AsyncFd` owns it.
        let pidfd = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) };
        Ok(Self { pid, pidfd: pidfd?, told: None })
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

    /// How the command ended; only after [`Process::ended`].
    pub(crate) fn peek(&self) -> Exit {
        let own = self.wait(WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        self.told.as_ref().and_then(told).unwrap_or(own)
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

/// What the first process wrote; nothing if it was killed.
fn told(file: &File) -> Option<Exit> {
    let mut bytes = [0; 64];
    let length = file.read_at(&mut bytes, 0).ok()?;
    serde_json::from_slice(bytes.get(..length)?).ok()
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Process").field(&self.pid).finish()
    }
}
