//! A dyno among the machine's other processes: a session and groups of its own. Its first process stays beside it, so that
//! it can outlive the runtime.

use std::os::unix::net::UnixStream;

use rustix::process::{PTracer, getpid, set_child_subreaper, set_ptracer};

use super::{Failed, First, InitStep, Order, Steps, execute, forbid_core_dumps, groups::Groups, tell};
use crate::sandbox::{
    first::{self, Around, Estate},
    sys::{self, Side},
};

/// Divides. Returns in the first process, which has nothing more to do than [`first::watch`] the command. Both are of one
/// session and process group.
pub(super) fn begin(
    runtime: &mut UnixStream,
    order: &Order,
    estate: Estate,
    steps: Steps,
) -> Result<First, Failed> {
    let mut groups = steps.take(InitStep::Cgroup, || Groups::open(&order.spec.join))?;
    let side = steps.take(InitStep::First, || {
        sys::block_all();
        set_child_subreaper(Some(getpid()))?;
        groups.divide()
    })?;
    match side {
        Side::Child => {
            drop(estate);
            sys::reset_signals();
            let Err(failed) = enter_and_become(runtime, order, groups, steps);
            tell(runtime, &failed);
            sys::exit_now(126)
        }
        Side::Parent(command) => {
            steps.take(InitStep::First, first::leave_streams)?;
            // Where only a parent may take a file from a process (Yama), the next runtime may too: it has the same user.
            let _without_yama = set_ptracer(PTracer::Any);
            Ok(First { command, estate: Some(estate), around: Around::TheMachine })
        }
    }
}

/// The same without a first process.
pub(super) fn become_command(
    runtime: &mut UnixStream,
    order: &Order,
    steps: Steps,
) -> Result<std::convert::Infallible, Failed> {
    let groups = steps.take(InitStep::Cgroup, || Groups::open(&order.spec.join))?;
    enter_and_become(runtime, order, groups, steps)
}

/// Enters its groups, gives up what no command is to have, and executes it.
fn enter_and_become(
    runtime: &mut UnixStream,
    order: &Order,
    groups: Groups,
    steps: Steps,
) -> Result<std::convert::Infallible, Failed> {
    steps.take(InitStep::Cgroup, || groups.enter())?;
    steps.take(InitStep::Rlimit, forbid_core_dumps)?;
    steps.take(InitStep::NoNewPrivileges, || Ok(rustix::thread::set_no_new_privs(true)?))?;
    execute(runtime, order, steps)
}
