//! What a runtime has prepared so that its dynos can be kept apart: for every level but `Plain`.
//!
//! - [`Walls::raise`], once. [`Walls::quarters`], [`Walls::spec`]: for each dyno.

use std::{
    fs::{DirBuilder, File, TryLockError},
    io,
    net::Ipv4Addr,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use serde::{Deserialize, Serialize};

use super::{
    content::Content,
    disk::{Disk, Disks},
    identity,
    network::NetworkSpec,
    quarters::{self, Quarters},
    root::RootSpec,
    skeleton::Skeleton,
    uplink::Uplink,
};
use crate::{
    options::{Isolation, Network, RuntimeOptions, Sandbox, shell},
    private::{is_at, private_directory, temporary_directory},
    remove::remove_tree,
};

/// Where it is kept which numbers are taken on this machine.
const NUMBERS: &str = "/run/busbar/numbers";

/// What makes a dyno's process one that is kept apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// The number of its user on this machine; `None`: that of the runtime, in a user namespace.
    pub user: Option<u32>,
    /// What its machine is called.
    pub hostname: String,
    /// Its root directory.
    pub root: RootSpec,
    /// Its network; `None`: the machine's.
    pub network: Option<NetworkSpec>,
}

/// What a runtime has prepared.
#[derive(Debug)]
pub(crate) struct Walls {
    level: Isolation,
    sandbox: Sandbox,
    skeleton: Skeleton,
    /// Those of earlier runtimes, in which dynos live that this one may adopt.
    old_roots: Vec<PathBuf>,
    mountpoint: PathBuf,
    scratch: PathBuf,
    /// Of that directory: what others have there is removed.
    _lock: File,
    disks: Option<Disks>,
    /// Also while nobody asks for it, the way out stays open.
    uplink: Option<Uplink>,
    /// They are to stand when the runtime is gone.
    stand: AtomicBool,
}

impl Walls {
    /// Prepares what dynos at the wanted level need; nothing at the level `Plain`. `state` is the runtime's directory.
    /// `kept` are the quarters of dynos that a killed runtime has left and that live; of all others nothing stays.
    ///
    /// # Errors
    /// What is missing, in words.
    pub(crate) fn raise(
        options: &RuntimeOptions,
        state: &Path,
        kept: &[Quarters],
    ) -> io::Result<Option<Self>> {
        Self::raise_with(options, state, kept, &[])
    }

    /// The same; there are also these `places` to mount to.
    ///
    /// # Errors
    /// What is missing, in words.
    pub(crate) fn raise_with(
        options: &RuntimeOptions,
        state: &Path,
        kept: &[Quarters],
        places: &[&str],
    ) -> io::Result<Option<Self>> {
        let level = options.isolation;
        if options.sandbox.disk.is_some() && level != Isolation::Full {
            return Err(io::Error::other("a disk of a dyno's own needs isolation full"));
        }
        if level == Isolation::Plain {
            return Ok(None);
        }
        let dynos = options.sandbox.dynos;
        if dynos.to_bits().trailing_zeros() < 32 - u32::from(PREFIX_LENGTH) {
            return Err(io::Error::other(format!(
                "the network of all dynos begins at an address like 10.253.0.0, not at {dynos}"
            )));
        }
        match (level, rustix::process::geteuid().is_root()) {
            (Isolation::Full, false) => {
                return Err(io::Error::other("only root can do that; take isolation user"));
            }
            // In its user namespace the dyno would still be the owner of all that is root's.
            (Isolation::User, true) => {
                return Err(io::Error::other("that is not for root; take isolation full"));
            }
            _ => {}
        }
        let sandbox = options.sandbox.clone();
        let mountpoint = state.join("mountpoint");
        DirBuilder::new().recursive(true).mode(0o700).create(&mountpoint)?;
        let (root, old_roots) = place_for_root(state, kept);
        let skeleton = Skeleton::make(root, &sandbox.stack, places)?;
        let scratch = sandbox.scratch.clone().map_or_else(default_scratch, Ok)?.join(&options.instance);
        keeps_its_state(state, &scratch)?;
        let lock = take(&scratch)?;
        forget_others(&scratch, kept)?;
        let cabled = level == Isolation::Full && sandbox.network != Network::Host;
        let uplink = if cabled && sandbox.network == Network::Outbound {
            way_out(&options.instance, sandbox.dynos)
        } else {
            None
        };
        let disks = match sandbox.disk {
            Some(size) => Some(Disks::open(size, &scratch)?),
            None => None,
        };
        Ok(Some(Self {
            level,
            sandbox,
            skeleton,
            old_roots,
            mountpoint,
            scratch,
            _lock: lock,
            disks,
            uplink,
            stand: AtomicBool::new(false),
        }))
    }

    /// Nothing of them is removed any more: dynos go on within them, without this runtime.
    pub(crate) fn leave(&self) {
        self.stand.store(true, Ordering::Relaxed);
    }

    /// What one dyno gets.
    ///
    /// # Errors
    /// There is no room for it.
    pub(crate) fn quarters(&self, key: &str) -> io::Result<Quarters> {
        let full = self.level == Isolation::Full;
        let cabled = full && self.sandbox.network != Network::Host;
        Quarters::take(full.then_some(Path::new(NUMBERS)), cabled, self.scratch.join(key))
    }

    /// A disk for one dyno, to be kept until the dyno is launched; `None`: it writes to its directory.
    ///
    /// # Errors
    /// None can be made.
    pub(crate) async fn disk(&self) -> io::Result<Option<Disk>> {
        let Some(disks) = self.disks.clone() else { return Ok(None) };
        let refill = disks.clone();
        let disk = tokio::task::spawn_blocking(move || disks.take()).await.map_err(io::Error::other)??;
        let _ahead = tokio::task::spawn_blocking(move || {
            refill.refill().inspect_err(|error| tracing::warn!(%error, "no disk can be made ahead"))
        });
        Ok(Some(disk))
    }

    /// How the dyno with these quarters is made; `app` is the directory of its files.
    ///
    /// # Errors
    /// Its directory cannot be made.
    pub(crate) fn spec(
        &self,
        quarters: &Quarters,
        disk: Option<&Disk>,
        app: &Path,
        hostname: String,
    ) -> io::Result<SandboxSpec> {
        let app = std::fs::canonicalize(app).unwrap_or_else(|_| app.to_owned());
        self.spec_with(quarters, disk, Content::App(app), hostname)
    }

    /// The same, with any content.
    ///
    /// # Errors
    /// Its directory cannot be made.
    pub(crate) fn spec_with(
        &self,
        quarters: &Quarters,
        disk: Option<&Disk>,
        content: Content,
        hostname: String,
    ) -> io::Result<SandboxSpec> {
        let user = quarters.user();
        let shown = user.unwrap_or(identity::WITHIN);
        quarters.furnish(shown, shell(&self.sandbox.stack))?;
        let root = RootSpec {
            skeleton: self.skeleton.root.clone(),
            mountpoint: self.mountpoint.clone(),
            stack: self.skeleton.stack.clone(),
            content,
            scratch: quarters.scratch.clone(),
            disk: disk.map(|disk| disk.device.clone()),
            user: shown,
            within: user.is_none(),
            shm: self.sandbox.shm,
        };
        let network =
            quarters.interface().zip(quarters.address(self.sandbox.dynos)).map(|(interface, address)| {
                let dynos = (self.sandbox.dynos, PREFIX_LENGTH);
                NetworkSpec { interface, address, dynos, outbound: self.uplink.is_some() }
            });
        Ok(SandboxSpec { user, hostname, root, network })
    }

    /// The address of the dyno with these quarters.
    pub(crate) fn address(&self, quarters: &Quarters) -> Option<Ipv4Addr> {
        quarters.address(self.sandbox.dynos)
    }
}

impl Drop for Walls {
    fn drop(&mut self) {
        if *self.stand.get_mut() {
            // The rules of the network, too, are among what keeps dynos apart.
            return std::mem::forget(self.uplink.take());
        }
        // Only if no dyno has anything in it any more.
        let _not_empty = std::fs::remove_dir(&self.scratch);
        for root in self.old_roots.iter().chain([&self.skeleton.root]) {
            let _still_used = remove_tree(root);
        }
    }
}

/// Where the root directory is to be made, and where those of earlier runtimes are. One that dynos live in stays as it is:
/// with a directory that something is mounted on, the mount would go, too.
fn place_for_root(state: &Path, kept: &[Quarters]) -> (PathBuf, Vec<PathBuf>) {
    let is_root = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
            name.strip_prefix("root").is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
    };
    let entries = std::fs::read_dir(state).into_iter().flatten().flatten().map(|entry| entry.path());
    let old: Vec<PathBuf> = entries.filter(is_root).collect();
    if kept.is_empty() {
        for root in &old {
            let _said_when_it_is_made_again = remove_tree(root);
        }
        return (state.join("root"), vec![]);
    }
    (state.join(format!("root-{:08x}", fastrand::u32(..))), old)
}

/// Where dynos write is emptied when a runtime starts.
fn keeps_its_state(state: &Path, scratch: &Path) -> io::Result<()> {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if !real(state).starts_with(real(scratch)) {
        return Ok(());
    }
    let (state, scratch) = (state.display(), scratch.display());
    Err(io::Error::other(format!(
        "what dynos write goes to {scratch}, where the runtime has its state ({state}); give it another directory"
    )))
}

/// Makes the directory where dynos write, and takes it for this runtime alone.
fn take(scratch: &Path) -> io::Result<File> {
    loop {
        DirBuilder::new().recursive(true).mode(0o700).create(scratch)?;
        let there = std::fs::symlink_metadata(scratch)?;
        if !there.is_dir() || there.uid() != rustix::process::geteuid().as_raw() {
            let scratch = scratch.display();
            return Err(io::Error::other(format!(
                "{scratch}, where dynos would write, is not this user's directory"
            )));
        }
        let lock = File::open(scratch)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => {
                let scratch = scratch.display();
                return Err(io::Error::other(format!(
                    "dynos of another runtime write to {scratch}; stop it, or give this one another instance name"
                )));
            }
        }
        // Whose runtime ends takes it away.
        if is_at(&lock, scratch) {
            return Ok(lock);
        }
    }
}

/// Removes what dynos had that nobody knows any more: what they wrote, and their numbers. A runtime can be killed between
/// taking something and writing it down.
fn forget_others(scratch: &Path, kept: &[Quarters]) -> io::Result<()> {
    for entry in std::fs::read_dir(scratch)? {
        let path = entry?.path();
        if kept.iter().all(|quarters| quarters.scratch != path) {
            remove_tree(&path)?;
        }
    }
    quarters::forget_numbers(Path::new(NUMBERS), |of| {
        of.starts_with(scratch) && kept.iter().all(|quarters| quarters.scratch != of)
    })
}

/// How many bits of a dyno's address are those of all dynos.
const PREFIX_LENGTH: u8 = 16;

fn way_out(instance: &str, dynos: Ipv4Addr) -> Option<Uplink> {
    match Uplink::open(instance, (dynos, PREFIX_LENGTH)) {
        Ok(uplink) => {
            tracing::info!(interface = uplink.interface, "dynos reach the world by NAT");
            Some(uplink)
        }
        Err(error) => {
            tracing::warn!(%error, "dynos can be called but CANNOT CALL the world: there is no NAT on this machine");
            None
        }
    }
}

/// On a disk: what a dyno writes to a file system in memory would count as its memory.
fn default_scratch() -> io::Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/busbar".into());
    }
    let home = || std::env::home_dir().map(|home| home.join(".local/state"));
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(state) = state.or_else(home) {
        return Ok(state.join("busbar"));
    }
    let shared = temporary_directory();
    private_directory(&shared)?;
    Ok(shared.join("scratch"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_of_all_dynos_begins_where_a_network_can() {
        let place = tempfile::tempdir().unwrap();
        let mut options = RuntimeOptions { isolation: Isolation::Full, ..RuntimeOptions::default() };
        options.sandbox.dynos = Ipv4Addr::new(10, 253, 128, 0);
        let refused = Walls::raise(&options, place.path(), &[]).unwrap_err().to_string();
        assert!(refused.contains("not at 10.253.128.0"), "{refused}");
    }

    #[test]
    fn where_one_runtimes_dynos_write_no_other_runtime_removes_anything() {
        let place = tempfile::tempdir().unwrap();
        let scratch = place.path().join("scratch");
        let held = take(&scratch).unwrap();
        assert!(take(&scratch).unwrap_err().to_string().contains("another runtime"));
        drop(held);
        take(&scratch).unwrap();
        std::os::unix::fs::symlink(&scratch, place.path().join("link")).unwrap();
        assert!(take(&place.path().join("link")).unwrap_err().to_string().contains("not this user's"));
    }

    #[test]
    fn a_runtime_does_not_empty_the_directory_of_its_own_state() {
        let place = tempfile::tempdir().unwrap();
        let (one, other) = (place.path().join("shop"), place.path().join("shop-2"));
        std::fs::create_dir(&one).unwrap();
        std::os::unix::fs::symlink(&one, place.path().join("link")).unwrap();
        keeps_its_state(&one, &other).unwrap();
        keeps_its_state(&one, &one.join("scratch")).unwrap();
        for scratch in [one.clone(), place.path().to_owned(), place.path().join("link")] {
            let refused = keeps_its_state(&one, &scratch).unwrap_err().to_string();
            assert!(refused.contains("give it another directory"), "{refused}");
        }
    }
}
