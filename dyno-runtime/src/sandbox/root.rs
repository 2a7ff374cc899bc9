//! A dyno's root directory, built from mounts in its own mount namespace.
//!
//! Every place is found below a root that the runtime made and that no app can write to, by file descriptor and without
//! following a link; what an app's directory contains decides nothing. The app's files are only ever at `/app`.
//!
//! - [`Root::attach`]: the skeleton, read-only, then the stack. [`Root::programs`], [`Root::proc`], [`Root::dev`],
//!   `content` (in [`super::content`]): what belongs there. [`Root::enter`]: it becomes the root, and the old one is gone.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, chmodat, makedev, mkdirat, mknodat, openat,
        openat2, symlinkat,
    },
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
        UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change,
        move_mount, open_tree, unmount,
    },
};
use serde::{Deserialize, Serialize};

use super::{
    content::Content,
    sys::{self, Attributes},
};

pub(super) const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
pub(super) const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
pub(super) const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
pub(super) const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;

/// Of `/proc`: what tells about the machine or changes it.
const MASKED: [&str; 10] = [
    "proc/kcore",
    "proc/keys",
    "proc/key-users",
    "proc/kallsyms",
    "proc/kmsg",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/sysrq-trigger",
    "proc/timer_list",
    "proc/vmallocinfo",
];
const EMPTIED: [&str; 2] = ["proc/acpi", "proc/scsi"];
const READ_ONLY: [&str; 4] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys"];

/// Where the dyno's disk is mounted for a moment.
pub(super) const DISK: &str = "mnt";

/// Character devices: name, major and minor number.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// What the root consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootSpec {
    /// The shared root directory.
    pub skeleton: PathBuf,
    /// An empty directory of the runtime's, where the root is attached before it is entered.
    pub mountpoint: PathBuf,
    /// What is mounted read-only, and below which name.
    pub stack: Vec<(PathBuf, String)>,
    /// What is at `/app` and `/tmp`, and where it may write.
    pub content: Content,
    /// A directory of the dyno's own, on a disk, with `passwd` and `group`, and perhaps what it writes.
    pub scratch: PathBuf,
    /// A device with an ext4 file system for what it writes instead: the dyno can fill it, and no more.
    pub disk: Option<PathBuf>,
    /// The number of the dyno's user.
    pub user: u32,
    /// Whether this is a user namespace: devices cannot be made, owners not be mapped.
    pub within: bool,
    /// Bytes that `/dev/shm` may hold.
    pub shm: u64,
}

/// A root that is being built.
pub(crate) struct Root<'a> {
    pub(super) spec: &'a RootSpec,
    root: OwnedFd,
    /// The stack's directories, taken hold of before anything was mounted.
    programs: Vec<(OwnedFd, &'a str)>,
    /// The directories of the content, in its order, as far as they are not on the dyno's own disk.
    pub(super) content: Vec<OwnedFd>,
}

impl<'a> Root<'a> {
    /// Takes hold of what is outside, and attaches the skeleton.
    pub(crate) fn attach(spec: &'a RootSpec) -> io::Result<Self> {
        // What is mounted from here on stays here.
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        let hold = |path: &Path| copy_of(CWD, path);
        let programs = spec.stack.iter().map(|(path, name)| Ok((hold(path)?, name.as_str())));
        let programs = programs.collect::<io::Result<Vec<_>>>()?;
        let root = hold(&spec.skeleton)?;
        set(&root, RDONLY | NOSUID | NODEV)?;
        let at =
            openat(CWD, &spec.mountpoint, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        put(root.as_fd(), at.as_fd())?;
        let content = spec.outside().into_iter().map(hold).collect::<io::Result<_>>()?;
        Ok(Self { spec, root, programs, content })
    }

    /// A place below the root; no link leads there.
    fn place(&self, name: &str) -> io::Result<OwnedFd> {
        let no_links = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        Ok(openat2(&self.root, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), no_links)?)
    }

    pub(super) fn put(&self, mount: &OwnedFd, name: &str) -> io::Result<()> {
        put(mount.as_fd(), self.place(name)?.as_fd())
    }

    /// The stack.
    pub(crate) fn programs(&self) -> io::Result<()> {
        self.programs.iter().try_for_each(|(mount, name)| {
            set(mount, RDONLY | NOSUID | NODEV)?;
            self.put(mount, name)
        })
    }

    /// The dyno's own processes, and of the machine what is harmless.
    pub(crate) fn proc(&self) -> io::Result<()> {
        let proc = file_system(c"proc", &[("hidepid", "2")], NOSUID | NODEV | NOEXEC)?;
        self.put(&proc, "proc")?;
        for name in READ_ONLY {
            self.cover(name, name, RDONLY | NOSUID | NODEV | NOEXEC)?;
        }
        for name in EMPTIED {
            self.cover("sys", name, RDONLY | NOSUID | NODEV | NOEXEC)?;
        }
        MASKED.iter().try_for_each(|name| self.cover("dev/null", name, RDONLY | NOSUID | NOEXEC))
    }

    /// Mounts one place over another one, if that is there.
    fn cover(&self, source: &str, name: &str, attributes: u64) -> io::Result<()> {
        let place = match self.place(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            place => place?,
        };
        let mount = copy_of(self.place(source)?.as_fd(), Path::new(""))?;
        set(&mount, attributes)?;
        put(mount.as_fd(), place.as_fd())
    }

    /// The devices that programs need and no others; shared memory, which counts as the dyno's.
    pub(crate) fn dev(&self) -> io::Result<()> {
        let dev = file_system(
            c"tmpfs",
            &[("mode", "755"), ("size", "65536"), ("nr_inodes", "64")],
            NOSUID | NOEXEC,
        )?;
        let links = [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")];
        for (name, to) in links.into_iter().chain([("ptmx", "pts/ptmx")]) {
            symlinkat(to, &dev, name)?;
        }
        for name in ["pts", "shm"] {
            mkdirat(&dev, name, Mode::from_raw_mode(0o755))?;
        }
        for (name, major, minor) in DEVICES {
            let kind = if self.spec.within { FileType::RegularFile } else { FileType::CharacterDevice };
            let number = if self.spec.within { 0 } else { makedev(major, minor) };
            mknodat(&dev, name, kind, Mode::from_raw_mode(0o666), number)?;
            chmodat(&dev, name, Mode::from_raw_mode(0o666), AtFlags::empty())?;
        }
        self.put(&dev, "dev")?;
        if self.spec.within {
            for (name, ..) in DEVICES {
                let device = copy_of(CWD, &Path::new("/dev").join(name))?;
                self.put(&device, &format!("dev/{name}"))?;
            }
        }
        let pts = file_system(
            c"devpts",
            &[("newinstance", ""), ("mode", "620"), ("ptmxmode", "666")],
            NOSUID | NOEXEC,
        )?;
        self.put(&pts, "dev/pts")?;
        let size = self.spec.shm.to_string();
        let shm = file_system(c"tmpfs", &[("mode", "1777"), ("size", &size)], NOSUID | NODEV | NOEXEC)?;
        self.put(&shm, "dev/shm")?;
        // Only the file system itself: what is mounted in it is written to.
        mount_read_only(&dev)
    }

    /// Makes it the root, and the old root unreachable.
    pub(crate) fn enter(self) -> io::Result<()> {
        rustix::process::fchdir(&self.root)?;
        rustix::process::pivot_root(".", ".")?;
        // The old root lies over the new one.
        unmount(".", UnmountFlags::DETACH)?;
        if self.spec.disk.is_some() {
            unmount(format!("/{DISK}"), UnmountFlags::DETACH)?;
        }
        Ok(rustix::process::chdir("/")?)
    }
}

/// A file system of its own, not mounted yet. A setting without a value is a flag.
pub(super) fn file_system(kind: &CStr, settings: &[(&str, &str)], attributes: u64) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in settings {
        match *value {
            "" => fsconfig_set_flag(context.as_fd(), *key)?,
            value => fsconfig_set_string(context.as_fd(), *key, value)?,
        }
    }
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::from_bits_retain(u32::try_from(attributes).unwrap_or(0));
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// A copy of a mount from `path` on, with all that is mounted below it; the same files.
pub(super) fn copy_of(at: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(open_tree(at, path, flags)?)
}

pub(super) fn set(mount: &OwnedFd, attributes: u64) -> io::Result<()> {
    sys::set_attributes(mount.as_fd(), Attributes { set: attributes, owners: None })
}

fn put(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> io::Result<()> {
    let by_file = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, "", place, "", by_file)?)
}

fn mount_read_only(mount: &OwnedFd) -> io::Result<()> {
    sys::set_attributes_of_one(mount.as_fd(), RDONLY)
}
