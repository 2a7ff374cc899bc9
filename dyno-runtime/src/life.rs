//! The life of one dyno, from its start to its end, as a state machine. Pure: time is an argument.
//!
//! ```text
//! created ─ Launched ─→ starting ─ Accepting ─→ up ─ Stop ─→ draining ─ Left ─→ stopping ─ Empty ─→ down
//!                          └── Exited, R10, R15 ──┴─ Exited, R15 ──→ dying ─── Empty ─→ crashed
//! ```
//! - [`Life::on`] consumes the life and an [`Input`], and returns the life after it and the [`Effect`]s to carry out.
//! - [`Life::wake`] says when to come back with [`Input::Time`].
//! - [`Phase`] is what `ps` shows; [`Say`] is what the log says, in Heroku's words.
//!
//! A dyno that is held ([`Life::held`]) waits between starting and up for [`Input::Go`]: so that another one can leave
//! first. A dyno that is not of type `web` is up as soon as it runs. A dyno has ended when no process of it is left, not
//! when its first process exits. A dyno that starts again is a new life.

mod say;

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

pub use say::Say;

/// How long each part of a life may take. The defaults are Heroku's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// From the start until `$PORT` accepts (R10). Default 60 s.
    pub boot: Duration,
    /// From the end of new requests until those in flight are answered. Default 30 s.
    pub drain: Duration,
    /// From SIGTERM to SIGKILL (R12). Default 30 s.
    pub exit: Duration,
    /// How long a one-off dyno awaits whoever wanted to be attached to it (R13). Default 30 s.
    pub attach: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let half_a_minute = Duration::from_secs(30);
        Self {
            boot: Duration::from_secs(60),
            drain: half_a_minute,
            exit: half_a_minute,
            attach: half_a_minute,
        }
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl fmt::Display for Exit {
    /// As a shell shows it: 128 is added to the number of a signal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => code.fmt(f),
            Self::Signal(signal) => (128 + signal).fmt(f),
        }
    }
}

/// Where a dyno is in its life, as others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not launched yet.
    Created,
    /// It runs; `$PORT` does not accept yet.
    Starting,
    /// It works.
    Up,
    /// It finishes its requests, or was told to exit.
    Stopping,
    /// It was stopped because nobody asked for it, and starts with the next request.
    Idle,
    /// It ended by itself and will be started again.
    Crashed,
    /// It ended because it was told to.
    Down,
    /// It was to end by itself, and did.
    Complete,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Created => "created",
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Stopping => "stopping",
            Self::Idle => "idle",
            Self::Crashed => "crashed",
            Self::Down => "down",
            Self::Complete => "complete",
        })
    }
}

/// Why a dyno is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It is no longer wanted.
    Down,
    /// A new one takes its place.
    Restart,
    /// The same, because it has run for long enough.
    Cycle,
    /// Nobody asks for it.
    Idle,
    /// Whoever was attached to it is gone: it is hung up first, and told to end when it does not.
    Detached,
}

/// Memory in use, and how much that may be, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// In use, page cache not counted.
    pub used: u64,
    /// The quota.
    pub quota: u64,
}

/// What happened to the dyno.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Its first process runs the app's command.
    Launched,
    /// It could not be launched; nothing of it is left.
    LaunchFailed,
    /// It is to be launched when somebody is attached to it.
    Awaiting,
    /// Whoever it waited for is there: it is to be launched.
    Attached,
    /// Whoever it waited for did not come, or went away before it was launched.
    NotAttached,
    /// `$PORT` accepts connections.
    Accepting,
    /// It need not be held any longer.
    Go,
    /// It gets no requests any more and has none in flight.
    Left,
    /// The kernel has killed a process of it for want of memory.
    OutOfMemory(Memory),
    /// Its first process ended.
    Exited(Exit),
    /// No process of it is left. Comes after [`Input::Exited`].
    Empty,
    /// It is to stop.
    Stop(Why),
    /// [`Life::wake`] has come.
    Time,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Write this to the app's log.
    Say(Say),
    /// Watch `$PORT` and answer with [`Input::Accepting`].
    Probe,
    /// Tell that `$PORT` accepts and that it is held.
    Booted,
    /// Register it: requests may come.
    Register,
    /// No new requests; answer with [`Input::Left`] when none is in flight.
    Drain,
    /// Deregister it at once.
    Deregister,
    /// SIGHUP to all its processes.
    HangUp,
    /// SIGTERM to all its processes.
    Terminate,
    /// SIGKILL to all its processes.
    Kill,
    /// Watch its processes and answer with [`Input::Empty`].
    AwaitEmpty,
}

/// Where a life was when its runtime was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// `$PORT` did not accept yet, or it was held.
    Starting,
    /// It worked.
    Up,
    /// It finished its requests.
    Draining,
    /// It had been told to exit.
    Stopping,
}

/// One life of one dyno.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    web: bool,
    times: Times,
    held: bool,
    task: bool,
    state: State,
}

/// How long a dyno may go on after SIGHUP (R16): Heroku's time.
const HANG_UP: Duration = Duration::from_secs(15);

/// How long a dyno that is adopted is asked at least whether `$PORT` accepts: nobody did while it had no runtime.
const ASKED: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Created,
    /// Nobody is attached to it yet.
    Awaiting {
        until: Duration,
    },
    Starting {
        until: Duration,
    },
    /// Only while it is held.
    Booted,
    Up,
    Draining {
        until: Duration,
        why: Why,
    },
    HungUp {
        until: Duration,
    },
    Stopping {
        until: Duration,
        killed: bool,
    },
    /// It crashed or did not boot; what is left of it is being killed. `told`: it would have had to stop anyway.
    Dying {
        from: Phase,
        told: bool,
    },
    Ended(Phase),
}

impl Life {
    /// A life that has not begun.
    pub fn created(web: bool, times: Times) -> Self {
        Self { web, times, held: false, task: false, state: State::Created }
    }

    /// The same life, which is to end by itself: a one-off dyno, whose end is no crash.
    #[must_use]
    pub fn task(self) -> Self {
        Self { task: true, ..self }
    }

    /// The same life, which waits for [`Input::Go`] when `$PORT` accepts.
    #[must_use]
    pub fn held(self) -> Self {
        Self { held: true, ..self }
    }

    /// A life that began at 0 under another runtime and has been in `stage` since `since`, and what is to be done at `now`
    /// to go on with it. Times that ran go on.
    pub fn adopted(
        web: bool,
        times: Times,
        stage: Stage,
        since: Duration,
        now: Duration,
    ) -> (Self, Vec<Effect>) {
        let (state, effects) = match stage {
            Stage::Starting if web => {
                let until = times.boot.max(now + ASKED);
                (State::Starting { until }, vec![Effect::Probe])
            }
            Stage::Up if web => (State::Up, vec![Effect::Register]),
            Stage::Starting | Stage::Up => (State::Up, vec![]),
            Stage::Draining => {
                let until = since + times.drain;
                (State::Draining { until, why: Why::Down }, vec![Effect::Register, Effect::Drain])
            }
            Stage::Stopping => (State::Stopping { until: since + times.exit, killed: false }, vec![]),
        };
        (Self { web, times, held: false, task: false, state }, effects)
    }

    /// Whether it waits, or would wait, for [`Input::Go`].
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Where it is, as long as another runtime could go on with it.
    pub fn stage(&self) -> Option<Stage> {
        match self.state {
            State::Starting { .. } | State::Booted => Some(Stage::Starting),
            State::Up => Some(Stage::Up),
            State::Draining { .. } => Some(Stage::Draining),
            // Who hung up is not asked again.
            State::HungUp { .. } | State::Stopping { killed: false, .. } => Some(Stage::Stopping),
            State::Created
            | State::Awaiting { .. }
            | State::Stopping { killed: true, .. }
            | State::Dying { .. }
            | State::Ended(_) => None,
        }
    }

    /// As others see it.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Created => Phase::Created,
            State::Awaiting { .. } | State::Starting { .. } | State::Booted => Phase::Starting,
            State::Up => Phase::Up,
            State::Draining { .. } | State::HungUp { .. } | State::Stopping { .. } => Phase::Stopping,
            State::Dying { told, .. } => self.ended_as(told),
            State::Ended(phase) => phase,
        }
    }

    /// Whether requests may still be in flight that it should finish.
    pub fn is_draining(&self) -> bool {
        matches!(self.state, State::Draining { .. })
    }

    /// Whether nothing more can happen to it, and no process of it is left.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    /// When [`Input::Time`] is due.
    pub fn wake(&self) -> Option<Duration> {
        match self.state {
            State::Awaiting { until }
            | State::Starting { until }
            | State::Draining { until, .. }
            | State::HungUp { until } => Some(until),
            State::Stopping { until, killed: false } => Some(until),
            _ => None,
        }
    }

    /// What becomes of it at `now` (since any fixed moment), and what is to be done, in order.
    /// An input that has no meaning in the present state changes nothing.
    pub fn on(self, now: Duration, input: Input) -> (Self, Vec<Effect>) {
        let Self { web, times, state, held, task } = self;
        let held = held && input != Input::Go;
        let (state, effects) = match (state, input) {
            (State::Created, input) => created(web, now, &times, input),
            (State::Awaiting { until }, Input::Time) if now < until => (state, vec![]),
            (State::Awaiting { .. }, Input::Time | Input::NotAttached) => not_attached(),
            (State::Awaiting { .. }, Input::Stop(_)) => {
                (State::Ended(Phase::Down), vec![changed(Phase::Starting, Phase::Down)])
            }
            (State::Awaiting { .. }, Input::Attached) => (State::Created, vec![]),
            (State::Awaiting { .. }, _) => (state, vec![]),
            (State::Starting { until }, input) => starting(until, held, now, &times, input),
            (State::Booted, input) => booted(now, &times, input),
            (State::Up, input) => up(web, now, &times, input),
            (State::Draining { until, why }, input) => draining(until, why, now, &times, input),
            (State::HungUp { until }, input) => hung_up(until, now, &times, input),
            (State::Stopping { until, killed }, input) => stopping(until, killed, now, &times, input),
            (State::Dying { from, told: _ }, Input::Empty) => {
                let end = self.phase();
                (State::Ended(end), vec![changed(from, end)])
            }
            (State::Dying { from, told }, input) => dying(from, told, input),
            (ended @ State::Ended(_), _) => (ended, vec![]),
        };
        (Self { web, times, held, task, state }, effects)
    }

    fn ended_as(&self, told: bool) -> Phase {
        match told {
            true => Phase::Down,
            false if self.task => Phase::Complete,
            false => Phase::Crashed,
        }
    }
}

type Next = (State, Vec<Effect>);

fn created(web: bool, now: Duration, times: &Times, input: Input) -> Next {
    match input {
        Input::Launched if web => (State::Starting { until: now + times.boot }, vec![Effect::Probe]),
        Input::Launched => (State::Up, vec![changed(Phase::Starting, Phase::Up)]),
        Input::LaunchFailed => (State::Ended(Phase::Crashed), vec![changed(Phase::Starting, Phase::Crashed)]),
        Input::Awaiting => (State::Awaiting { until: now + times.attach }, vec![Effect::Say(Say::Awaiting)]),
        Input::Stop(_) => (State::Ended(Phase::Down), vec![]),
        _ => (State::Created, vec![]),
    }
}

fn not_attached() -> Next {
    let said = vec![Effect::Say(Say::NotAttached), changed(Phase::Starting, Phase::Complete)];
    (State::Ended(Phase::Complete), said)
}

fn starting(until: Duration, held: bool, now: Duration, times: &Times, input: Input) -> Next {
    let from = Phase::Starting;
    match input {
        Input::Accepting if held => (State::Booted, vec![Effect::Booted]),
        Input::OutOfMemory(memory) => (State::Dying { from, told: false }, out_of_memory(memory)),
        Input::Accepting => (State::Up, vec![changed(from, Phase::Up), Effect::Register]),
        Input::Exited(exit) => (State::Dying { from, told: false }, after_exit(exit)),
        Input::Time if now >= until => {
            let timeout = Effect::Say(Say::BootTimeout(times.boot));
            (State::Dying { from, told: false }, vec![timeout, Effect::Say(Say::Killing), Effect::Kill])
        }
        Input::Stop(why) => stop(from, why, now, times),
        _ => (State::Starting { until }, vec![]),
    }
}

fn booted(now: Duration, times: &Times, input: Input) -> Next {
    let from = Phase::Starting;
    match input {
        Input::Go => (State::Up, vec![changed(from, Phase::Up), Effect::Register]),
        Input::OutOfMemory(memory) => (State::Dying { from, told: false }, out_of_memory(memory)),
        Input::Exited(exit) => (State::Dying { from, told: false }, after_exit(exit)),
        Input::Stop(why) => stop(from, why, now, times),
        _ => (State::Booted, vec![]),
    }
}

fn up(web: bool, now: Duration, times: &Times, input: Input) -> Next {
    match input {
        Input::Exited(_) | Input::OutOfMemory(_) => {
            let mut effects = if web { vec![Effect::Deregister] } else { vec![] };
            effects.extend(end(input));
            (State::Dying { from: Phase::Up, told: false }, effects)
        }
        Input::Stop(why) if web => (State::Draining { until: now + times.drain, why }, vec![Effect::Drain]),
        Input::Stop(why) => stop(Phase::Up, why, now, times),
        _ => (State::Up, vec![]),
    }
}

fn draining(until: Duration, why: Why, now: Duration, times: &Times, input: Input) -> Next {
    let late = input == Input::Time && now >= until;
    match input {
        Input::Exited(_) | Input::OutOfMemory(_) => {
            let mut effects = vec![Effect::Deregister];
            effects.extend(end(input));
            (State::Dying { from: Phase::Up, told: true }, effects)
        }
        _ if late || input == Input::Left => {
            let (state, mut effects) = stop(Phase::Up, why, now, times);
            effects.insert(0, Effect::Deregister);
            (state, effects)
        }
        _ => (State::Draining { until, why }, vec![]),
    }
}

fn hung_up(until: Duration, now: Duration, times: &Times, input: Input) -> Next {
    match input {
        Input::Exited(_) | Input::OutOfMemory(_) => {
            (State::Dying { from: Phase::Up, told: true }, end(input))
        }
        Input::Time if now >= until => {
            let (state, mut effects) = stop(Phase::Up, Why::Down, now, times);
            effects.insert(0, Effect::Say(Say::Detached));
            (state, effects)
        }
        _ => (State::HungUp { until }, vec![]),
    }
}

fn stopping(until: Duration, killed: bool, now: Duration, times: &Times, input: Input) -> Next {
    match input {
        Input::Exited(exit) => {
            (State::Stopping { until, killed }, vec![Effect::Say(Say::Exited(exit)), Effect::AwaitEmpty])
        }
        Input::Empty => (State::Ended(Phase::Down), vec![]),
        Input::OutOfMemory(memory) if !killed => {
            (State::Stopping { until, killed: true }, out_of_memory(memory))
        }
        Input::Time if now >= until && !killed => {
            let timeout = Effect::Say(Say::ExitTimeout(times.exit));
            (State::Stopping { until, killed: true }, vec![timeout, Effect::Say(Say::Killing), Effect::Kill])
        }
        _ => (State::Stopping { until, killed }, vec![]),
    }
}

fn dying(from: Phase, told: bool, input: Input) -> Next {
    match input {
        Input::Exited(exit) => (State::Dying { from, told }, after_exit(exit)),
        Input::Stop(_) => (State::Dying { from, told: true }, vec![]),
        _ => (State::Dying { from, told }, vec![]),
    }
}

fn stop(from: Phase, why: Why, now: Duration, times: &Times) -> Next {
    if why == Why::Detached {
        return (State::HungUp { until: now + HANG_UP }, vec![Effect::HangUp]);
    }
    let mut effects = match why {
        Why::Down | Why::Detached => vec![changed(from, Phase::Down)],
        Why::Restart => vec![Effect::Say(Say::Restarting), changed(from, Phase::Starting)],
        Why::Cycle => vec![Effect::Say(Say::Cycling), changed(from, Phase::Starting)],
        Why::Idle => vec![Effect::Say(Say::Idling), changed(from, Phase::Down)],
    };
    effects.extend([Effect::Say(Say::Terminating), Effect::Terminate]);
    (State::Stopping { until: now + times.exit, killed: false }, effects)
}

/// Its first process is gone without having been told to: what it left behind is killed.
fn after_exit(exit: Exit) -> Vec<Effect> {
    vec![Effect::Say(Say::Exited(exit)), Effect::Kill, Effect::AwaitEmpty]
}

/// What is left of it is killed: a dyno that lost a part for want of memory is no longer what it was.
fn out_of_memory(memory: Memory) -> Vec<Effect> {
    let said = [Say::Running(memory), Say::OutOfMemory, Say::Killing].map(Effect::Say);
    said.into_iter().chain([Effect::Kill]).collect()
}

fn end(input: Input) -> Vec<Effect> {
    match input {
        Input::Exited(exit) => after_exit(exit),
        Input::OutOfMemory(memory) => out_of_memory(memory),
        _ => vec![],
    }
}

fn changed(from: Phase, to: Phase) -> Effect {
    Effect::Say(Say::Changed(from, to))
}

#[cfg(test)]
mod tests;
