//! `busbar doctor`: looks, and says what it found.

use dyno_runtime::{InitProgram, sandbox::probe::probes};

use crate::{failure::Failure, out, say};

/// Tries what this machine allows, by making dynos that do nothing.
///
/// # Errors
/// [`Failure::OutputClosed`], [`Failure::System`].
pub(crate) fn doctor(json: bool) -> Result<(), Failure> {
    super::run(async move {
        let found = probes(&InitProgram::default()).await;
        if json { out::print_json(&found) } else { out::print(&say::doctor::doctor(&found)) }
    })
}
