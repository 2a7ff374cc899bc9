//! Who a dyno is: a user of its own, without any right.

use std::{fs, io};

use rustix::{
    process::{Gid, Uid},
    thread::{CapabilitySet, CapabilitySets, UnshareFlags},
};

use super::sys;

/// The number of the dyno's user within a user namespace of its own.
pub(crate) const WITHIN: u32 = 1000;

/// Becomes the user `id` of group `id` and of no other, for good.
pub(crate) fn user(id: u32) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

/// The same for a process that is root in a user namespace without other users: it enters one below that, where it is
/// an ordinary user. `/proc` must be the one of its pid namespace.
pub(crate) fn user_within() -> io::Result<()> {
    sys::unshare(UnshareFlags::NEWUSER)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{WITHIN} 0 1"))?;
    fs::write("/proc/self/gid_map", format!("{WITHIN} 0 1"))
}

/// Nothing executed from here on can have any capability. Needs the right to say so.
pub(crate) fn bound() -> io::Result<()> {
    rustix::thread::clear_ambient_capability_set()?;
    for number in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::remove_capability_from_bounding_set(one) {
            // The kernel has no more of them.
            Err(rustix::io::Errno::INVAL) => break,
            dropped => dropped?,
        }
    }
    Ok(())
}

/// Gives up all capabilities but these.
pub(crate) fn hold(kept: CapabilitySet) -> io::Result<()> {
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

/// The same, and what root executes has them too, if [`pass_on`] came before [`bound`].
pub(crate) fn hold_and_pass_on(kept: CapabilitySet) -> io::Result<()> {
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: kept };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

/// Lets what is executed inherit these, besides those that this process has.
pub(crate) fn pass_on(passed: CapabilitySet) -> io::Result<()> {
    let sets = CapabilitySets { inheritable: passed, ..rustix::thread::capabilities(None)? };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}
