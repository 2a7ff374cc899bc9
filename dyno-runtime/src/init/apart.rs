//! A dyno that is kept apart: its first process, and the process that becomes its command.

use std::{io, os::unix::net::UnixStream};

use rustix::{
    process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit},
    thread::{CapabilitySet, UnshareFlags},
};

use super::{
    Failed, First, InitStep, Order, SandboxSpec, Steps, execute, forbid_core_dumps, groups::Groups, tell,
    terminal::leave_stdin,
};
use crate::sandbox::{
    first::{self, Around, Estate},
    identity,
    network::Machine,
    root::Root,
    ruleset,
    sys::{self, Side},
    syscalls,
};

/// Open files that a dyno may have at most.
const MAX_FILES: u64 = 10_000;

/// Leaves the machine. Returns in the first process, which has nothing more to do than [`first::watch`] the command.
pub(super) fn begin(
    runtime: &mut UnixStream,
    order: &Order,
    sandbox: &SandboxSpec,
    estate: Option<Estate>,
    steps: Steps,
) -> Result<First, Failed> {
    let mut groups = steps.take(InitStep::Cgroup, || Groups::open(&order.spec.join))?;
    // So that no child ends unheard.
    sys::block_all();
    leave_machine(sandbox, steps)?;
    enter_root(sandbox, steps)?;
    let side = steps.take(InitStep::First, || {
        leave_stdin()?;
        groups.divide()
    })?;
    match side {
        Side::Child => {
            drop(estate);
            sys::reset_signals();
            let Err(failed) = become_command(runtime, order, sandbox, groups, steps);
            tell(runtime, &failed);
            sys::exit_now(126)
        }
        Side::Parent(command) => {
            steps.take(InitStep::First, || {
                first::leave_streams()?;
                // Nobody in the dyno may look into it.
                set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
                first::give_up_rights()
            })?;
            Ok(First { command, estate, around: Around::ItsDyno })
        }
    }
}

fn leave_machine(sandbox: &SandboxSpec, steps: Steps) -> Result<(), Failed> {
    let machine = steps.take(InitStep::Network, Machine::here)?;
    steps.take(InitStep::Namespaces, || {
        let own = UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
        let net = sandbox.network.as_ref().map_or(UnshareFlags::empty(), |_| UnshareFlags::NEWNET);
        sys::unshare(own | net)
    })?;
    steps.take(InitStep::Hostname, || Ok(rustix::system::sethostname(sandbox.hostname.as_bytes())?))?;
    steps.take(InitStep::Network, || sandbox.network.as_ref().map_or(Ok(()), |spec| machine.connect(spec)))
}

fn enter_root(sandbox: &SandboxSpec, steps: Steps) -> Result<(), Failed> {
    let root = steps.take(InitStep::Root, || Root::attach(&sandbox.root))?;
    steps.take(InitStep::Stack, || root.programs())?;
    steps.take(InitStep::Devices, || root.dev())?;
    steps.take(InitStep::Proc, || root.proc())?;
    steps.take(InitStep::App, || root.content())?;
    steps.take(InitStep::Pivot, || root.enter())
}

/// Gives up, one after the other, all that the command is not to have, and executes it.
fn become_command(
    runtime: &mut UnixStream,
    order: &Order,
    sandbox: &SandboxSpec,
    groups: Groups,
    steps: Steps,
) -> Result<std::convert::Infallible, Failed> {
    steps.take(InitStep::Session, || Ok(rustix::process::setsid()?))?;
    steps.take(InitStep::Cgroup, || {
        groups.enter()?;
        sys::unshare(UnshareFlags::NEWCGROUP)
    })?;
    steps.take(InitStep::Rlimit, limit)?;
    steps.take(InitStep::User, || match sandbox.user {
        Some(user) => identity::bound().and_then(|()| identity::user(user)),
        None => identity::user_within().and_then(|()| identity::bound()),
    })?;
    steps.take(InitStep::Capabilities, || identity::hold(CapabilitySet::empty()))?;
    steps.take(InitStep::NoNewPrivileges, || Ok(rustix::thread::set_no_new_privs(true)?))?;
    steps.take(InitStep::Landlock, ruleset::restrict)?;
    steps.take(InitStep::Seccomp, || syscalls::restrict(&syscalls::program()?))?;
    execute(runtime, order, steps)
}

fn limit() -> io::Result<()> {
    forbid_core_dumps()?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let files = rustix::process::getrlimit(Resource::Nofile);
    let most = files.maximum.map_or(MAX_FILES, |most| most.min(MAX_FILES));
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: Some(most) })?)
}
