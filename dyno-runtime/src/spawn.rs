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
    io::{self, IoSliceMut, PipeReader, PipeWriter},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::FileExt as _},
    },
    path::PathBuf,
    time::Duration,
};

use rustix::{
    event::{EventfdFlags, eventfd},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
    process::{Pid, PidfdFlags, PidfdGetfdFlags, WaitId, WaitIdOptions, pidfd_getfd, pidfd_open, waitid},
};
use tokio::{
    io::{AsyncWriteExt as _, Interest, unix::AsyncFd},
    net::{UnixStream, unix::pipe},
};

use crate::{
    init::{self, InitSpec, InitStep, Report},
    life::Exit,
    options::{InitProgram, Isolation},
    process::{Family, Identity},
    sandbox::{first, sys},
    stdio::{Stdio, Streams, Terminal},
    supervise::{DieAt, KILL_LIMIT, Milestone},
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
    /// What the system would cut short.
    #[error("{0} has a NUL byte, which no process can be given; take it out")]
    Nul(String),
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
    /// `None`: they are a terminal, which does not exist yet.
    pipes: Option<Streams>,
}

/// The first process of a dyno. A child of this one is not reaped before that is asked for.
pub(crate) struct Process {
    /// `None`: it is gone.
    pub(crate) pid: Option<Pid>,
    /// The same.
    pidfd: Option<AsyncFd<OwnedFd>>,
    /// What it tells of the command, if it is not the command itself.
    tells: Option<Tells>,
    /// Whether this process started it.
    child: bool,
}

/// How a first process tells that the command has ended ([`first::EXIT`], [`first::ENDED`]).
struct Tells {
    exit: File,
    /// `None`: it is gone.
    ended: Option<AsyncFd<OwnedFd>>,
}

/// A process that runs the app's command, and our ends of its standard streams.
pub(crate) struct Launched {
    pub(crate) process: Process,
    pub(crate) streams: Streams,
}

impl Embryo {
    /// Starts the process. It has no environment and no files but its streams and, if the dyno is to outlive this process,
    /// what [`first`] says it needs for that: `exit` is where it writes how the command ended.
    pub(crate) fn create(
        init: &OpenProgram,
        level: Isolation,
        exit: Option<File>,
        stdio: Stdio,
    ) -> Result<Self, SpawnError> {
        let made = Made::new(exit, stdio).map_err(system("make sockets and pipes"))?;
        let Made { orders, pipes, files, tells } = made;
        let process = Process { tells, ..init.start(level, &files)? };
        Ok(Self { orders, program: init.program.clone(), process, pipes })
    }

    pub(crate) fn identity(&self) -> Option<Identity> {
        self.process.pid.and_then(|pid| Identity::of(pid.as_raw_pid()))
    }

    /// Gives the orders and waits until the command is executed. On failure nothing of the dyno's `family` is left: the
    /// command can be about to be executed, by a process that nobody would find any more.
    pub(crate) async fn launch(
        mut self,
        order: &LaunchOrder,
        family: &Family,
    ) -> Result<Launched, SpawnError> {
        let answer = tokio::time::timeout(LAUNCH_LIMIT, converse(&mut self.orders, order)).await;
        let (reports, master) = answer.ok().and_then(Result::ok).unwrap_or_default();
        let failed = reports.iter().find_map(|report| match report {
            Report::Failed { step, errno } => Some((*step, *errno)),
            Report::Ready | Report::Terminal => None,
        });
        let failure = match failed {
            Some((step, errno)) => SpawnError::Step { step, source: io::Error::from_raw_os_error(errno) },
            None if !reports.contains(&Report::Ready) => SpawnError::Silent(self.program),
            None => match self.pipes.map_or_else(|| terminal(master), Ok) {
                Ok(streams) => return Ok(Launched { process: self.process, streams }),
                Err(source) => SpawnError::System { deed: "take over the terminal", source },
            },
        };
        self.process.dismiss().await;
        // As long as it is not reaped, its session is the dyno's.
        if !family.kill(KILL_LIMIT).await {
            tracing::error!(
                "processes of a dyno that did not start are still there {KILL_LIMIT:?} after SIGKILL"
            );
        }
        self.process.reap();
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
        let file = File::open(&init.program).and_then(|file| out_of_the_way(file.as_fd()));
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
fn out_of_the_way(file: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(file, 10)?)
}

/// What a process is told: its specification, and the environment of the command.
#[derive(Debug)]
pub(crate) struct LaunchOrder {
    spec: InitSpec,
    environment: Secret,
    pub(crate) die_at: DieAt,
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
    /// The environment is larger than any system takes, or it or the command would be cut short by a NUL.
    pub(crate) fn new(
        mut spec: InitSpec,
        environment: Vec<(OsString, OsString)>,
    ) -> Result<Self, SpawnError> {
        let refuse =
            |errno| SpawnError::Step { step: InitStep::Execute, source: io::Error::from_raw_os_error(errno) };
        if spec.argv.iter().any(|argument| argument.contains('\0')) {
            return Err(SpawnError::Nul("the command".to_owned()));
        }
        let mut bytes = Vec::new();
        // Of a name that stands there twice the last value counts.
        let last: BTreeMap<OsString, OsString> = environment.into_iter().collect();
        for (name, value) in last {
            let both = [name.as_bytes(), b"=", value.as_bytes()].concat();
            if both.contains(&0) {
                // The value is a secret.
                return Err(SpawnError::Nul(format!("the config var {:?}", name.to_string_lossy())));
            }
            bytes.extend(both);
            bytes.push(0);
        }
        if bytes.len() > init::MAX_ENVIRONMENT {
            return Err(refuse(libc::E2BIG));
        }
        spec.environment = bytes.len();
        Ok(Self { spec, environment: Secret(bytes), die_at: DieAt::default() })
    }
}

/// What a process is started with, and our sides of that.
struct Made {
    orders: UnixStream,
    pipes: Option<Streams>,
    /// What becomes its files 0, 1, 2 …
    files: Vec<OwnedFd>,
    tells: Option<Tells>,
}

impl Made {
    fn new(exit: Option<File>, stdio: Stdio) -> io::Result<Self> {
        let (orders, theirs) = std::os::unix::net::UnixStream::pair()?;
        orders.set_nonblocking(true)?;
        let null = File::options().read(true).write(true).open("/dev/null")?;
        let output = match stdio {
            Stdio::Terminal(_) => None,
            Stdio::Logged | Stdio::Pipes => Some([io::pipe()?, io::pipe()?]),
        };
        let stdin = (stdio == Stdio::Pipes).then(io::pipe).transpose()?;
        let ended = exit.as_ref().map(|_| eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK));
        let ended = ended.transpose()?;
        let nothing = [null.as_fd(); 2];
        let theirs_to_write = output.as_ref().map_or(nothing, |both| both.each_ref().map(|(_, w)| w.as_fd()));
        // What goes to whoever is attached is nobody's else: when they are gone, the dyno is to notice.
        let logged = output.as_ref().filter(|_| stdio == Stdio::Logged);
        let theirs_to_hold = logged.map_or(nothing, |both| both.each_ref().map(|(r, _)| r.as_fd()));
        // In the order of their numbers there.
        let mut files = vec![theirs.as_fd()];
        files.extend(theirs_to_write);
        if let (Some(exit), Some(ended)) = (&exit, &ended) {
            files.push(exit.as_fd());
            files.extend(theirs_to_hold);
            files.push(ended.as_fd());
        }
        files.extend(stdin.as_ref().map(|(r, _)| r.as_fd()));
        let files = files.into_iter().map(out_of_the_way).collect::<io::Result<_>>()?;
        let watch = |ended| watched(ended, Interest::READABLE);
        let tell = |(exit, ended)| Ok::<_, io::Error>(Tells { exit, ended: Some(watch(ended)?) });
        let tells = exit.zip(ended).map(tell);
        let pipes = output.map(|output| Self::pipes(stdin.map(|(_, w)| w), output)).transpose()?;
        Ok(Self { orders: UnixStream::from_std(orders)?, pipes, files, tells: tells.transpose()? })
    }

    fn pipes(
        stdin: Option<PipeWriter>,
        [stdout, stderr]: [(PipeReader, PipeWriter); 2],
    ) -> io::Result<Streams> {
        let stdin = stdin.map(|ours| pipe::Sender::from_owned_fd(ours.into())).transpose()?;
        let [stdout, stderr] = [stdout, stderr].map(|(ours, _)| pipe::Receiver::from_owned_fd(ours.into()));
        Ok(Streams::Pipes { stdin, stdout: stdout?, stderr: stderr? })
    }
}

fn terminal(master: Option<OwnedFd>) -> io::Result<Streams> {
    let master = master.ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))?;
    Terminal::new(master).map(Streams::Terminal)
}

/// Sends the specification and hears all reports until the socket is closed, and takes the file that came with them.
async fn converse(
    orders: &mut UnixStream,
    order: &LaunchOrder,
) -> io::Result<(Vec<Report>, Option<OwnedFd>)> {
    let mut line = serde_json::to_vec(&order.spec)?;
    line.push(b'\n');
    orders.write_all(&line).await?;
    orders.write_all(&order.environment.0).await?;
    order.die_at.reach(Milestone::Ordered);
    let (mut heard, mut file) = (Vec::new(), None);
    while heard.len() < 4096 {
        let received = orders.async_io(Interest::READABLE, || receive(orders, &mut heard)).await?;
        match received {
            (0, _) => break,
            (_, another) => file = file.or(another),
        }
    }
    let lines = heard.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let reports = lines.map(|line| Ok(serde_json::from_slice(line)?));
    Ok((reports.collect::<io::Result<_>>()?, file))
}

/// How many bytes came, which are added to what was heard, and the file that came with them.
fn receive(orders: &UnixStream, heard: &mut Vec<u8>) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut buffer = [0; 512];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let into = &mut [IoSliceMut::new(&mut buffer)];
    let count = recvmsg(orders, into, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let file = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    heard.extend(buffer.iter().take(count));
    Ok((count, file))
}

/// Waits for what happens to a file.
pub(crate) fn watched(file: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    #[expect(unsafe_code, reason = "tokio has no safe way to wait for a descriptor that it has no type for")]
    // SAFETY: an `OwnedFd` is open and stays the same descriptor for as long as it lives; the `AsyncFd` owns it.
    let watched = unsafe { AsyncFd::register_with_interest(file, interest) };
    Ok(watched?)
}

impl Process {
    fn watched(pid: Pid, pidfd: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            pid: Some(pid),
            pidfd: Some(watched(pidfd, Interest::READABLE)?),
            tells: None,
            child: true,
        })
    }

    /// Takes over the first process of a dyno whose runtime was killed, with its output. `exit` is the file that it was
    /// given.
    ///
    /// # Errors
    /// It is not that process any more, or does not hold what it should.
    pub(crate) fn adopt(leader: Identity, exit: File) -> io::Result<Launched> {
        let gone = || io::Error::from_raw_os_error(libc::ESRCH);
        let pid = Pid::from_raw(leader.pid).ok_or_else(gone)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        // Only now that its number cannot change hands any more is it worth asking.
        if !leader.runs() {
            return Err(gone());
        }
        let take = |number| pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty());
        let [stdout, stderr] = [take(first::STDOUT)?, take(first::STDERR)?].map(held);
        let watch = |file| watched(file, Interest::READABLE);
        let tells = Some(Tells { exit, ended: Some(watch(take(first::ENDED)?)?) });
        let process = Self { pid: Some(pid), pidfd: Some(watch(pidfd)?), tells, child: false };
        let streams = Streams::Pipes { stdin: None, stdout: stdout?, stderr: stderr? };
        Ok(Launched { process, streams })
    }

    /// One that is gone, and how its command had ended.
    pub(crate) fn gone(exit: Option<File>) -> Self {
        let tells = exit.map(|exit| Tells { exit, ended: None });
        Self { pid: None, pidfd: None, tells, child: false }
    }

    /// Kills and reaps it.
    async fn end(&self) {
        self.dismiss().await;
        self.reap();
    }

    /// Ends the first process, once all that it holds is taken. Cancel safe.
    pub(crate) async fn dismiss(&self) {
        if let Some(pidfd) = &self.pidfd {
            let _gone = rustix::process::pidfd_send_signal(pidfd.get_ref(), rustix::process::Signal::KILL);
        }
        self.over().await;
    }

    /// Waits until the first process itself has ended.
    async fn over(&self) {
        // The readiness of a pidfd stays; it is never cleared.
        if let Some(pidfd) = &self.pidfd {
            let _readable = pidfd.readable().await;
        }
    }

    /// Waits until the command has ended. If the first process is the command, it stays as a zombie, so that its pid and
    /// session remain its own; otherwise it stays until [`Process::dismiss`]. Cancel safe.
    pub(crate) async fn ended(&self) {
        let told = async {
            match self.tells.as_ref().and_then(|tells| tells.ended.as_ref()) {
                // So does that of an eventfd which nobody reads.
                Some(ended) => drop(ended.readable().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = told => {}
            () = self.over() => {}
        }
    }

    /// How the command ended; only after [`Process::ended`].
    pub(crate) fn peek(&self) -> Exit {
        let told = self.tells.as_ref().and_then(|tells| told(&tells.exit));
        told.unwrap_or_else(|| self.wait(WaitIdOptions::EXITED | WaitIdOptions::NOWAIT))
    }

    /// Lets its pid go; only after the process has ended.
    pub(crate) fn reap(&self) {
        self.wait(WaitIdOptions::EXITED);
    }

    fn wait(&self, options: WaitIdOptions) -> Exit {
        let Some(pidfd) = self.pidfd.as_ref().filter(|_| self.child) else {
            // Somebody else's child: it was killed before it could tell anything.
            return Exit::Signal(libc::SIGKILL);
        };
        let status = waitid(WaitId::PidFd(pidfd.get_ref().as_fd()), options | WaitIdOptions::NOHANG);
        match status {
            Ok(Some(status)) => match status.exit_status() {
                Some(code) => Exit::Code(code),
                None => Exit::Signal(status.terminating_signal().unwrap_or(0)),
            },
            // Somebody else in this program waits for children that are not theirs.
            Ok(None) | Err(_) => {
                tracing::error!(
                    pid = ?self.pid,
                    "the exit status of a dyno was taken by somebody else"
                );
                Exit::Signal(0)
            }
        }
    }
}

/// What a first process wrote; nothing if it was killed.
fn told(file: &File) -> Option<Exit> {
    let mut bytes = [0; 64];
    let length = file.read_at(&mut bytes, 0).ok()?;
    serde_json::from_slice(bytes.get(..length)?).ok()
}

/// A pipe that a first process held. It holds none of a dyno that somebody was attached to: nothing more comes from that.
fn held(file: OwnedFd) -> io::Result<pipe::Receiver> {
    pipe::Receiver::from_owned_fd(file).or_else(|_| pipe::Receiver::from_owned_fd(io::pipe()?.0.into()))
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Process").field(&self.pid).finish()
    }
}
