//! Landlock, as far as the kernel has it: a second wall behind the mount namespace.
//!
//! Whatever a process manages to mount or enter, it can write only below what it was given here, and reach no abstract
//! socket and signal no process outside its own. A kernel without Landlock, or with an old one, has fewer of these walls
//! or none; the others stand on their own.

use std::io;

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus, Scope,
};

/// The newest version whose rights are known here.
const KNOWN: ABI = ABI::V6;

/// Where a dyno may write; the last three are there while it is a step of a build.
const OWN: [&str; 7] = ["/app", "/tmp", "/dev", "/proc", "/build", "/cache", "/buildpacks"];

/// Restricts this process and all that come from it. How far the kernel went along.
///
/// # Errors
/// A kernel that has Landlock refused.
pub(crate) fn restrict() -> io::Result<RulesetStatus> {
    let rules = || -> Result<RulesetStatus, landlock::RulesetError> {
        let all = AccessFs::from_all(KNOWN);
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(all)?
            .scope(Scope::AbstractUnixSocket)?
            .scope(Scope::Signal)?
            .create()?;
        if let Ok(root) = PathFd::new("/") {
            rules = rules.add_rule(PathBeneath::new(root, AccessFs::from_read(KNOWN)))?;
        }
        for path in OWN {
            if let Ok(own) = PathFd::new(path) {
                rules = rules.add_rule(PathBeneath::new(own, all))?;
            }
        }
        Ok(rules.restrict_self()?.ruleset)
    };
    rules().map_err(io::Error::other)
}
