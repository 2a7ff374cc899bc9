//! `dyno-init`: the program that becomes a dyno.
//!
//! The runtime starts its own program again under this name, in a fresh process with a single thread, where everything
//! is allowed that is not between fork and exec. Here it reads one line of JSON ([`InitSpec`]) from its standard input,
//! which is a socket; makes itself what a dyno has to be, step by step; and executes the app's command.
//!
//! On the socket it answers [`Report::Ready`] before the last step and [`Report::Failed`] when a step fails; then it
//! exits. A command that was executed closes the socket. When the runtime dies before it has sent the line, nothing
//! is executed.

use std::{
    ffi::OsStr,
    fmt, fs,
    io::{self, BufRead as _, Read as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::PathBuf,
    process::{Command, ExitCode},
};

use rustix::process::{Resource, Rlimit};
use serde::{Deserialize, Serialize};

use crate::spawn::close_the_rest_on_exec;

/// The line that the runtime sends may not be longer.
const MAX_SPEC: u64 = 1 << 20;

/// What a dyno is made of, besides its environment, which the process has from its start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitSpec {
    /// Files to write `0` to, so that this process is in its groups.
    pub join: Vec<PathBuf>,
    /// Where the command runs.
    pub directory: PathBuf,
    /// The program and its arguments.
    pub argv: Vec<String>,
}

/// What `dyno-init` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// Everything is done but the last step.
    Ready,
    /// A step failed, and nothing was executed.
    Failed {
        /// Which one.
        step: InitStep,
        /// The system's error number; 0 when the error has none.
        errno: i32,
    },
}

/// The steps of `dyno-init`, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InitStep {
    /// Read the specification.
    Spec,
    /// Begin a session of its own, so that it can be told from others and from the terminal.
    Session,
    /// Enter its control groups.
    Cgroup,
    /// Set its resource limits.
    Rlimit,
    /// Give up the gain of rights by set-user-ID programs.
    NoNewPrivileges,
    /// Go to its directory.
    Directory,
    /// Take `/dev/null` as standard input, and close what it inherited beyond the standard streams.
    Files,
    /// Execute the command.
    Execute,
}

impl fmt::Display for InitStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spec => "read its specification",
            Self::Session => "begin a session",
            Self::Cgroup => "enter its cgroup",
            Self::Rlimit => "set resource limits",
            Self::NoNewPrivileges => "give up new privileges",
            Self::Directory => "change to the app's directory",
            Self::Files => "open /dev/null and close other files",
            Self::Execute => "execute the command",
        })
    }
}

/// Runs `dyno-init`: to be called at once by a program whose first argument is [`crate::options::INIT_VERB`]. It
/// returns only when the command could not be executed.
pub fn main() -> ExitCode {
    // The socket must not be standard input any more when the command is executed.
    let Ok(mut runtime) = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3).map(UnixStream::from) else {
        return ExitCode::from(126);
    };
    let Err(Failed { step, source }) = become_dyno(&mut runtime);
    let errno = source.raw_os_error().unwrap_or(0);
    let _runtime_is_gone = send(&mut runtime, &Report::Failed { step, errno });
    ExitCode::from(126)
}

struct Failed {
    step: InitStep,
    source: io::Error,
}

fn at(step: InitStep) -> impl Fn(io::Error) -> Failed {
    move |source| Failed { step, source }
}

fn become_dyno(runtime: &mut UnixStream) -> Result<std::convert::Infallible, Failed> {
    let spec = receive(runtime).map_err(at(InitStep::Spec))?;
    rustix::process::setsid().map_err(|e| at(InitStep::Session)(e.into()))?;
    spec.join.iter().try_for_each(enter).map_err(at(InitStep::Cgroup))?;
    forbid_core_dumps().map_err(at(InitStep::Rlimit))?;
    rustix::thread::set_no_new_privs(true).map_err(|e| at(InitStep::NoNewPrivileges)(e.into()))?;
    std::env::set_current_dir(&spec.directory).map_err(at(InitStep::Directory))?;
    leave_stdin().map_err(at(InitStep::Files))?;
    close_the_rest_on_exec().map_err(at(InitStep::Files))?;
    send(runtime, &Report::Ready).map_err(at(InitStep::Execute))?;
    let (program, arguments) =
        spec.argv.split_first().ok_or_else(|| at(InitStep::Spec)(invalid("empty argv")))?;
    // `exec` gives the command the ordinary treatment of SIGPIPE and of signals that were blocked.
    let error = Command::new(OsStr::new(program)).args(arguments).exec();
    Err(at(InitStep::Execute)(error))
}

fn receive(runtime: &UnixStream) -> io::Result<InitSpec> {
    let mut line = String::new();
    io::BufReader::new(runtime.take(MAX_SPEC)).read_line(&mut line)?;
    serde_json::from_str(&line).map_err(|_| invalid("not a specification"))
}

fn send(runtime: &mut UnixStream, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    runtime.write_all(&line)
}

fn enter(procs: &PathBuf) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(procs)?.write_all(b"0")
}

/// A core dump would hold the config vars.
fn forbid_core_dumps() -> io::Result<()> {
    Ok(rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?)
}

fn leave_stdin() -> io::Result<()> {
    let null: OwnedFd = fs::File::open("/dev/null")?.into();
    Ok(rustix::stdio::dup2_stdin(&null)?)
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
