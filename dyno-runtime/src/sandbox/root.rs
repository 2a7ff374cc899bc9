//! A dyno's root directory, built from mounts in its own mount namespace.
//!
//! Every place is found below a root that the runtime made and that no app can write to, by file descriptor and without
//! following a link; what an app's directory contains decides nothing. The app's files are only ever at `/app`.
//!
//! - [`Root::attach`]: the skeleton, read-only, then the stack. [`Root::programs`], [`Root::proc`], [`Root::dev`],
//!   [`Root::app`]: what belongs there. [`Root::enter`]: it becomes the root, and the old one is gone.

use std::{
    ffi::CStr,
    fs, io,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, chmodat, chownat, makedev, mkdirat,
        mknodat, openat, openat2, symlinkat,
    },
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
        UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change,
        move_mount, open_tree, unmount,
    },
};
use serde::{Deserialize, Serialize};

use super::{
    idmap,
    sys::{self, Attributes},
};

const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;

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
const DISK: &str = "mnt";

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
    /// The app's files; the dyno sees them at `/app` and may change its copy.
    pub app: PathBuf,
    /// A directory of the dyno's own, on a disk, with `upper`, `work`, `tmp`, `passwd` and `group`.
    pub scratch: PathBuf,
    /// A file with an ext4 file system that holds `upper`, `work` and `tmp` instead: the dyno can fill it, and no more.
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
    spec: &'a RootSpec,
    root: OwnedFd,
    /// The stack's directories, taken hold of before anything was mounted.
    programs: Vec<(OwnedFd, &'a str)>,
    app: OwnedFd,
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
        Ok(Self { spec, root, programs, app: hold(&spec.app)? })
    }

    /// A place below the root; no link leads there.
    fn place(&self, name: &str) -> io::Result<OwnedFd> {
        let no_links = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        Ok(openat2(&self.root, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), no_links)?)
    }

    fn put(&self, mount: &OwnedFd, name: &str) -> io::Result<()> {
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

    /// The app's files under a layer of the dyno's own, and `/tmp`.
    pub(crate) fn app(&self) -> io::Result<()> {
        let scratch = self.scratch()?;
        if self.spec.disk.is_some() {
            // The layer that is written to must be mounted somewhere while the overlay is made.
            self.put(&scratch, DISK)?;
        }
        for (name, mode) in [("upper", 0o755), ("work", 0o700), ("tmp", 0o1777)] {
            mkdirat(&scratch, name, Mode::from_raw_mode(mode))?;
            chmodat(&scratch, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
        }
        if !self.spec.within {
            let (user, group) = (Uid::from_raw(self.spec.user), Gid::from_raw(self.spec.user));
            chownat(&scratch, "upper", Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
            self.as_the_dynos()?;
        }
        // An overlay accepts no directory that is not mounted somewhere; under the overlay it is out of sight.
        self.put(&self.app, "app")?;
        let below = |directory: &str| -> io::Result<OwnedFd> {
            Ok(openat(&scratch, directory, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
        };
        let (upper, work) = (below("upper")?, below("work")?);
        let layer = |fd: &OwnedFd| format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(fd));
        let (lower, upper, work) = (layer(&self.app), layer(&upper), layer(&work));
        let mut settings = vec![("lowerdir", lower.as_str()), ("upperdir", &upper), ("workdir", &work)];
        settings.extend([("volatile", "")]);
        if self.spec.within {
            settings.push(("userxattr", ""));
        }
        let overlay = file_system(c"overlay", &settings, NOSUID | NODEV)?;
        self.put(&overlay, "app")?;
        let tmp = copy_of(scratch.as_fd(), Path::new("tmp"))?;
        set(&tmp, NOSUID | NODEV)?;
        self.put(&tmp, "tmp")?;
        for name in ["passwd", "group"] {
            let file = copy_of(CWD, &self.spec.scratch.join(name))?;
            set(&file, RDONLY | NOSUID | NODEV | NOEXEC)?;
            self.put(&file, &format!("etc/{name}"))?;
        }
        Ok(())
    }

    /// Where the dyno's own files are: its directory, or a disk of its own.
    fn scratch(&self) -> io::Result<OwnedFd> {
        let Some(device) = &self.spec.disk else {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            return Ok(openat(CWD, &self.spec.scratch, flags, Mode::empty())?);
        };
        let source = device.to_string_lossy();
        file_system(c"ext4", &[("source", &source)], NOSUID | NODEV)
    }

    /// What belongs to the owner of the app's directory belongs to the dyno's user, as seen from here.
    fn as_the_dynos(&self) -> io::Result<()> {
        let owner = fs::metadata(&self.spec.app)?;
        let proc = file_system(c"proc", &[], NOSUID | NODEV | NOEXEC)?;
        let owners = idmap::namespace(proc.as_fd(), (owner.uid(), owner.gid()), self.spec.user)?;
        sys::set_attributes(
            self.app.as_fd(),
            Attributes { set: RDONLY | NOSUID | NODEV, owners: Some(owners.as_fd()) },
        )
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
fn file_system(kind: &CStr, settings: &[(&str, &str)], attributes: u64) -> io::Result<OwnedFd> {
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
fn copy_of(at: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(open_tree(at, path, flags)?)
}

fn set(mount: &OwnedFd, attributes: u64) -> io::Result<()> {
    sys::set_attributes(mount.as_fd(), Attributes { set: attributes, owners: None })
}

fn put(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> io::Result<()> {
    let by_file = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, "", place, "", by_file)?)
}

fn mount_read_only(mount: &OwnedFd) -> io::Result<()> {
    sys::set_attributes_of_one(mount.as_fd(), RDONLY)
}
