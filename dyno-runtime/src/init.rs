//! `dyno-init`: the program that becomes a dyno.
//!
//! The runtime starts its own program again under this name, in a fresh process with a single thread, where everything
//! is allowed that is not between fork and exec. Here it reads one line of JSON ([`InitSpec`]) and the dyno's environment
//! from its standard input, which is a socket; makes itself what a dyno has to be, step by step; and executes the app's
//! command in a child whose first process it stays ([`apart`], [`beside`]), or, when nothing of it is to outlive the
//! runtime and it is not kept apart, itself.
//!
//! A dyno may have a terminal of its own ([`terminal`]): its other end goes back over the socket ([`Report::Terminal`]).
//!
//! On the socket it answers [`Report::Ready`] before the last step and [`Report::Failed`] when a step fails; then it
//! exits. A command that was executed closes the socket. When the runtime dies before it has sent the line, nothing
//! is executed.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{self, BufRead as _, Read as _, Write as _},
    os::unix::{ffi::OsStringExt as _, net::UnixStream, process::CommandExt as _},
    path::PathBuf,
    process::{Command, ExitCode},
};

use rustix::process::{Pid, Resource, Rlimit};
use serde::{Deserialize, Serialize};

use self::step::Steps;
pub use self::{step::InitStep, terminal::Stdin};
pub use crate::sandbox::walls::SandboxSpec;
use crate::sandbox::{
    first::{self, Around, Estate},
    resident, sys,
};

mod apart;
mod beside;
mod groups;
mod step;
mod terminal;

/// The line that the runtime sends may not be longer.
const MAX_SPEC: u64 = 1 << 20;
/// Nor may the environment: no system takes a larger one (three quarters of `_STK_LIM`).
pub(crate) const MAX_ENVIRONMENT: usize = 6 << 20;

/// What a dyno is made of. Its environment follows, as it is secret: each variable ends with a NUL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitSpec {
    /// Files to write `0` to, so that the command is in its groups.
    pub join: Vec<PathBuf>,
    /// A file that the first process keeps locked, shared with others, for as long as the dyno lives.
    pub hold: Option<PathBuf>,
    /// Where the command runs, as the dyno sees it.
    pub directory: PathBuf,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// How many bytes of environment follow.
    pub environment: usize,
    /// Where the command reads from.
    pub stdin: Stdin,
    /// How it is kept apart, if it is.
    pub sandbox: Option<SandboxSpec>,
    /// This step fails: for tests of what happens then.
    pub fail: Option<InitStep>,
}

/// What `dyno-init` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// The other end of the dyno's terminal comes with this.
    Terminal,
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

/// Runs `dyno-init`: to be called at once by a program whose first argument is [`crate::options::INIT_VERB`]. It
/// returns only when the command could not be executed, or, as the first process of a dyno, when that has ended.
pub fn main() -> ExitCode {
    sys::reset_signals();
    let _only_for_ps = rustix::thread::set_name(c"dyno-init");
    // The socket must not be standard input any more when the command is executed.
    let Ok(runtime) = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 10).map(UnixStream::from) else {
        return ExitCode::from(126);
    };
    ExitCode::from(u8::try_from(become_dyno(runtime)).unwrap_or(126))
}

/// Which step failed, and how.
struct Failed {
    step: InitStep,
    source: io::Error,
}

fn tell(runtime: &mut UnixStream, Failed { step, source }: &Failed) {
    let errno = source.raw_os_error().unwrap_or(0);
    let _runtime_is_gone = send(runtime, &Report::Failed { step: *step, errno });
}

/// Returns with the status of this process.
fn become_dyno(mut runtime: UnixStream) -> i32 {
    match begin(&mut runtime) {
        Ok((First { command, estate, around }, held)) => {
            // Now the runtime hears the end of what this process and the command had to say.
            drop(runtime);
            // Where this fails, the same is done here, with more memory.
            let _not_executed = resident::become_it(command, around, estate.is_some(), held.as_ref());
            first::watch(command, estate, around)
        }
        Err(failed) => {
            tell(&mut runtime, &failed);
            126
        }
    }
}

/// Returns in the first process of a dyno, with what it is to hold.
fn begin(runtime: &mut UnixStream) -> Result<(First, Option<fs::File>), Failed> {
    let estate = Estate::inherited();
    let order = receive(runtime).map_err(|source| Failed { step: InitStep::Spec, source })?;
    let steps = Steps { fail: order.spec.fail };
    steps.take(InitStep::Session, || Ok(rustix::process::setsid()?))?;
    let held = steps.take(InitStep::Hold, || order.spec.hold.as_ref().map(hold).transpose())?;
    let first = match (&order.spec.sandbox, estate) {
        (Some(sandbox), estate) => apart::begin(runtime, &order, sandbox, estate, steps)?,
        (None, Some(estate)) => beside::begin(runtime, &order, estate, steps)?,
        (None, None) => match beside::become_command(runtime, &order, steps)? {},
    };
    order.spec.stdin.forget();
    Ok((first, held))
}

/// What a first process has to do from now on.
struct First {
    command: Pid,
    estate: Option<Estate>,
    around: Around,
}

/// The last steps of all.
fn execute(
    runtime: &mut UnixStream,
    order: &Order,
    steps: Steps,
) -> Result<std::convert::Infallible, Failed> {
    steps.take(InitStep::Directory, || std::env::set_current_dir(&order.spec.directory))?;
    steps.take(InitStep::Files, || {
        order.spec.stdin.take(runtime)?;
        sys::close_the_rest_on_exec()
    })?;
    steps.take(InitStep::Execute, || {
        let (program, arguments) = order.spec.argv.split_first().ok_or_else(|| invalid("empty argv"))?;
        send(runtime, &Report::Ready)?;
        let variables = order.environment.iter().filter_map(|variable| split(variable));
        Err(Command::new(OsStr::new(program)).args(arguments).env_clear().envs(variables).exec())
    })
}

/// What the runtime wants.
struct Order {
    spec: InitSpec,
    environment: Vec<Vec<u8>>,
}

fn receive(runtime: &UnixStream) -> io::Result<Order> {
    let mut from = io::BufReader::new(runtime.take(MAX_SPEC + MAX_ENVIRONMENT as u64));
    let mut line = String::new();
    from.by_ref().take(MAX_SPEC).read_line(&mut line)?;
    let spec: InitSpec = serde_json::from_str(&line).map_err(|_| invalid("not a specification"))?;
    let mut bytes = vec![0; spec.environment.min(MAX_ENVIRONMENT)];
    from.read_exact(&mut bytes)?;
    let environment =
        bytes.split(|byte| *byte == 0).filter(|one| !one.is_empty()).map(<[u8]>::to_vec).collect();
    Ok(Order { spec, environment })
}

fn split(variable: &[u8]) -> Option<(OsString, OsString)> {
    let at = memchr::memchr(b'=', variable)?;
    let (name, value) = variable.split_at_checked(at)?;
    Some((OsString::from_vec(name.to_vec()), OsString::from_vec(value.get(1..)?.to_vec())))
}

fn send(runtime: &mut UnixStream, report: &Report) -> io::Result<()> {
    runtime.write_all(&self::report(report)?)
}

/// As it is on the wire: a line.
fn report(report: &Report) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    Ok(line)
}

/// Whoever told this process to holds it too, so there is nothing to wait for.
fn hold(path: &PathBuf) -> io::Result<fs::File> {
    let file = fs::File::open(path)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared)?;
    Ok(file)
}

/// A core dump would hold the config vars. One byte is too little for a file, and where dumps go to a program
/// (`core_pattern` is a pipe) it is the limit that keeps the program from being started: with 0 it would be (core(5)).
fn forbid_core_dumps() -> io::Result<()> {
    Ok(rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(1), maximum: Some(1) })?)
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
