//! How a dyno is kept apart from the others and from the machine.
//!
//! In the runtime, before a dyno lives:
//! - [`quarters`]: what it has on the machine: a number, from which its user, its address and the name of its network
//!   interface follow, and a directory for what it writes. [`skeleton`]: the root directory that all dynos share.
//! - [`uplink`]: the way out of the machine, shared by all. [`walls`]: all that a runtime prepares.
//! - [`disk`]: a disk of its own, which it can fill. [`probe`]: what this machine allows, and what to do about it.
//!
//! In `dyno-init`, one step after the other:
//! - [`root`]: its root directory, from mounts; [`content`]: what is at `/app` and `/tmp`. [`idmap`]: these files become
//!   its user's.
//! - [`network`]: its network, by [`netlink`] and [`nft`].
//! - [`identity`]: its user, without rights. [`syscalls`]: the system calls it may make. [`ruleset`]: Landlock.
//! - [`first`]: the first process, which buries the others and tells how the app ended.
//! - [`sys`]: the system calls that no crate offers safely.

mod allow_list;
pub(crate) mod content;
pub(crate) mod disk;
pub(crate) mod first;
pub(crate) mod identity;
pub(crate) mod idmap;
pub(crate) mod netlink;
pub(crate) mod network;
pub(crate) mod nft;
pub mod probe;
pub(crate) mod quarters;
pub(crate) mod resident;
pub(crate) mod root;
pub(crate) mod ruleset;
pub(crate) mod skeleton;
pub(crate) mod sys;
pub(crate) mod syscalls;
pub(crate) mod uplink;
pub(crate) mod walls;
