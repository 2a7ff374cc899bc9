//! The system calls that no crate offers safely, each in a small function. All but [`clone_init`] are for `dyno-init`,
//! which has one thread.
#![expect(unsafe_code, reason = "these calls have no safe form")]

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    ptr,
};

use rustix::{process::Pid, thread::UnshareFlags};

/// What a new process is started with.
pub(crate) struct Birth<'a> {
    /// The program, opened.
    pub(crate) program: BorrowedFd<'a>,
    /// Its arguments, with its name before them.
    pub(crate) arguments: &'a [&'a CStr],
    /// What becomes its files 0, 1, 2 …: numbers above those they become.
    pub(crate) files: &'a [BorrowedFd<'a>],
    /// `CLONE_NEW…`
    pub(crate) namespaces: libc::c_int,
    /// The user and group that are to be root in its own user namespace.
    pub(crate) root_is: Option<(u32, u32)>,
}

/// What the child needs, made before it exists: it shares our memory, and may neither allocate nor lock.
struct Orders {
    program: RawFd,
    arguments: Vec<*const libc::c_char>,
    files: Vec<RawFd>,
    maps: Option<[Vec<u8>; 2]>,
    errno: i32,
}

const STACK: usize = 64 << 10;

/// Starts a process that executes `program` with an empty environment and all signals blocked. Our memory is not
/// copied, however large; this thread waits until the program is executed.
///
/// # Errors
/// Those of `clone`, `dup2` and `execveat`; then there is no process.
pub(crate) fn clone_init(birth: &Birth<'_>) -> io::Result<(Pid, OwnedFd)> {
    let mut arguments: Vec<_> = birth.arguments.iter().map(|argument| argument.as_ptr()).collect();
    arguments.push(ptr::null());
    let map = |id: u32| format!("0 {id} 1\n").into_bytes();
    let mut orders = Orders {
        program: birth.program.as_raw_fd(),
        arguments,
        files: birth.files.iter().map(|file| file.as_raw_fd()).collect(),
        maps: birth.root_is.map(|(uid, gid)| [map(uid), map(gid)]),
        errno: 0,
    };
    let mut stack = vec![0u128; STACK / 16];
    let mut pidfd: libc::c_int = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD | birth.namespaces;
    let _mask = Blocked::all()?;
    // SAFETY: the stack grows down from its aligned end and outlives the child's use of it, because CLONE_VFORK holds
    // this thread until the child has executed a program or ended; so do `orders` and `pidfd`. The child calls
    // nothing that allocates, locks or unwinds, and no signal handler can run in it.
    let pid = unsafe {
        let top = stack.as_mut_ptr().add(stack.len());
        let orders: *mut Orders = &raw mut orders;
        libc::clone(begin, top.cast(), flags, orders.cast(), &raw mut pidfd)
    };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened it for us.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
    // SAFETY: `orders` lives; the child has written to it, which the compiler cannot know.
    let errno = unsafe { ptr::read_volatile(&raw const orders.errno) };
    if errno != 0 {
        let _reaped = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        return Err(io::Error::from_raw_os_error(errno));
    }
    Ok((pid, pidfd))
}

/// The child's whole life before `dyno-init`.
extern "C" fn begin(orders: *mut libc::c_void) -> libc::c_int {
    // SAFETY: it is the `Orders` of `clone_init`, which waits, so that nobody else uses it.
    let orders = unsafe { &mut *orders.cast::<Orders>() };
    orders.errno = become_init(orders);
    126
}

/// Returns the error number of the first call that failed, and only then.
fn become_init(orders: &Orders) -> i32 {
    let errno = || io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    if let Some([uids, gids]) = &orders.maps {
        for (file, text) in [
            (c"/proc/self/setgroups", b"deny".as_slice()),
            (c"/proc/self/uid_map", uids),
            (c"/proc/self/gid_map", gids),
        ] {
            if !write_once(file, text) {
                return errno();
            }
        }
    }
    for (to, from) in (0..).zip(&orders.files) {
        // SAFETY: numbers of open files; the table is the child's own.
        if unsafe { libc::dup2(*from, to) } < 0 {
            return errno();
        }
    }
    let beyond = orders.files.len() as libc::c_uint;
    let no_environment: [*const libc::c_char; 1] = [ptr::null()];
    // SAFETY: the lists end with a null pointer, the strings live as long as the parent waits.
    unsafe {
        libc::syscall(libc::SYS_close_range, beyond, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
        libc::syscall(
            libc::SYS_execveat,
            orders.program,
            c"".as_ptr(),
            orders.arguments.as_ptr(),
            no_environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    errno()
}

fn write_once(path: &CStr, text: &[u8]) -> bool {
    // SAFETY: a string that ends with NUL, and a buffer of that length.
    unsafe {
        let file = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        file >= 0 && libc::write(file, text.as_ptr().cast(), text.len()) == text.len() as isize
    }
}

/// All signals are blocked in this thread as long as this lives.
struct Blocked(libc::sigset_t);

impl Blocked {
    fn all() -> io::Result<Self> {
        // SAFETY: both sets are ours, and filled before they are read.
        unsafe {
            let mut all = std::mem::zeroed();
            let mut before = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            match libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before) {
                0 => Ok(Self(before)),
                errno => Err(io::Error::from_raw_os_error(errno)),
            }
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set was filled by `pthread_sigmask`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
    }
}

/// Becomes another program, with these arguments and without an environment. Returns only when that fails.
pub(crate) fn execute(program: BorrowedFd<'_>, arguments: &[&CStr]) -> io::Result<std::convert::Infallible> {
    let mut arguments: Vec<_> = arguments.iter().map(|argument| argument.as_ptr()).collect();
    arguments.push(ptr::null());
    let no_environment: [*const libc::c_char; 1] = [ptr::null()];
    // SAFETY: the lists end with a null pointer, and the strings live during the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            arguments.as_ptr(),
            no_environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    Err(io::Error::last_os_error())
}

/// Gives every signal its ordinary treatment, and blocks none.
pub(crate) fn reset_signals() {
    // SAFETY: no handler of this process is in use; the set is filled before it is read. Those that cannot be changed
    // refuse.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Which side of [`fork`] this is.
pub(crate) enum Side {
    Child,
    Parent(Pid),
}

/// Makes a copy of this process, which must have one thread.
pub(crate) fn fork() -> io::Result<Side> {
    // SAFETY: with one thread nobody can hold a lock that the child would wait for.
    match unsafe { libc::fork() } {
        0 => Ok(Side::Child),
        pid => Pid::from_raw(pid).filter(|_| pid > 0).map(Side::Parent).ok_or_else(io::Error::last_os_error),
    }
}

/// The same; the copy is born in a control group of version 2, of which the directory is given.
pub(crate) fn fork_into(group: BorrowedFd<'_>) -> io::Result<Side> {
    const INTO_CGROUP: u64 = 0x2_0000_0000;
    divide(INTO_CGROUP, u64::from(group.as_raw_fd().unsigned_abs()))
}

/// The same; the copy is born in a user namespace of its own.
pub(crate) fn fork_into_user_namespace() -> io::Result<Side> {
    divide(u64::from(libc::CLONE_NEWUSER.unsigned_abs()), 0)
}

fn divide(flags: u64, cgroup: u64) -> io::Result<Side> {
    // SAFETY: a structure of numbers; zero says nothing in each of its fields.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = flags;
    arguments.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    arguments.cgroup = cgroup;
    // SAFETY: without shared memory and with one thread it is what `fork` does; the C library's own handlers of a fork only
    // settle locks, which nobody holds.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) } {
        0 => Ok(Side::Child),
        -1 => Err(io::Error::last_os_error()),
        pid => {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            pid.map(Side::Parent).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
        }
    }
}

/// Leaves namespaces for new ones.
pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: the table of files is not among them; this process has one thread.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// Attributes of a mount and of all below it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attributes<'a> {
    /// `MOUNT_ATTR_…`
    pub(crate) set: u64,
    /// The user namespace through which owners are seen.
    pub(crate) owners: Option<BorrowedFd<'a>>,
}

/// Changes a mount that is held by a file and all mounts below it.
pub(crate) fn set_attributes(mount: BorrowedFd<'_>, attributes: Attributes<'_>) -> io::Result<()> {
    mount_setattr(mount, attributes, libc::AT_RECURSIVE)
}

/// Changes just the mount that is held by a file.
pub(crate) fn set_attributes_of_one(mount: BorrowedFd<'_>, set: u64) -> io::Result<()> {
    mount_setattr(mount, Attributes { set, owners: None }, 0)
}

fn mount_setattr(mount: BorrowedFd<'_>, attributes: Attributes<'_>, which: libc::c_int) -> io::Result<()> {
    let idmap = attributes.owners.map_or(0, |_| libc::MOUNT_ATTR_IDMAP);
    let arguments = libc::mount_attr {
        attr_set: attributes.set | idmap,
        attr_clr: 0,
        propagation: 0,
        userns_fd: attributes.owners.map_or(0, |owners| u64::try_from(owners.as_raw_fd()).unwrap_or(0)),
    };
    // SAFETY: an open file, an empty path, and a structure of the size that is told.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | which,
            &raw const arguments,
            size_of::<libc::mount_attr>(),
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Waits for one of these signals, which must be blocked.
pub(crate) fn next_signal(signals: &[libc::c_int]) -> libc::c_int {
    let mut signal = 0;
    // SAFETY: the set is filled before it is read, and a number is written to.
    unsafe {
        let set = set_of(signals);
        libc::sigwait(&raw const set, &raw mut signal);
    }
    signal
}

/// Blocks all signals, so that they wait for [`next_signal`].
pub(crate) fn block_all() {
    // SAFETY: the set is filled before it is read.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, ptr::null_mut());
    }
}

/// # Safety
/// Always sound; it is unsafe because its calls are.
unsafe fn set_of(signals: &[libc::c_int]) -> libc::sigset_t {
    // SAFETY: an empty set is made before signals are added.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        set
    }
}

/// Sends a signal to every other process of this process's pid namespace.
pub(crate) fn signal_all(signal: libc::c_int) {
    // SAFETY: it takes two numbers.
    unsafe { libc::kill(-1, signal) };
}

/// Ends this process without running anything of it.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: nothing of this process is needed any more.
    unsafe { libc::_exit(status) }
}

/// Takes over a file that this process was started with, if it was.
pub(crate) fn take_file(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: it is only borrowed for a call that asks whether it is open.
    let open = unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0;
    // SAFETY: it is open, and nothing in this process but its starter knows of it.
    open.then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

/// Sees to it that what this process inherited beyond its standard streams is closed by `exec`: a shell, a `make`, or a
/// service manager may have left files open that are none of the app's business.
pub(crate) fn close_the_rest_on_exec() -> io::Result<()> {
    // SAFETY: it takes numbers, and changes flags.
    let done =
        unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    match done {
        0 => Ok(()),
        _ => one_by_one(),
    }
}

/// For kernels before 5.11.
fn one_by_one() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse().ok()).filter(|n| *n > 2)
        else {
            continue;
        };
        // SAFETY: it is borrowed for the one call below, which changes a flag and neither reads, writes nor closes.
        let file = unsafe { BorrowedFd::borrow_raw(number) };
        // The list contains the one that it is read from; that is close-on-exec already.
        rustix::io::fcntl_setfd(file, rustix::io::FdFlags::CLOEXEC)?;
    }
    Ok(())
}

/// Attaches a file to a free loop device, which clears itself when nobody uses it any more. Returns its path, and keeps it
/// in use until the file is closed.
pub(crate) fn attach_loop(file: &std::fs::File) -> io::Result<(std::path::PathBuf, OwnedFd)> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let open = |path: &std::path::Path| {
        std::fs::OpenOptions::new().read(true).write(true).custom_flags(libc::O_CLOEXEC).open(path)
    };
    let control = open("/dev/loop-control".as_ref())?;
    let config = LoopConfig {
        fd: file.as_raw_fd().unsigned_abs(),
        block_size: 0,
        of_the_file: [0; 5],
        of_the_device: [0; 3],
        flags: LO_FLAGS_AUTOCLEAR,
        names: [0; 160],
        others: [0; 10],
    };
    // Another process can take the same one between the two calls.
    for _ in 0..64 {
        // SAFETY: it takes no argument and returns a number.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        let path = std::path::PathBuf::from(format!("/dev/loop{number}"));
        let device = open(&path)?;
        // SAFETY: an open loop device and a structure as the kernel defines it, which lives during the call.
        if unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) } == 0 {
            return Ok((path, device.into()));
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EBUSY) {
            return Err(error);
        }
    }
    Err(io::Error::from_raw_os_error(libc::EBUSY))
}

const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// `struct loop_config`
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    // From here on `struct loop_info64`, with all but its flags unsaid.
    of_the_file: [u64; 5],
    of_the_device: [u32; 3],
    flags: u32,
    names: [u8; 160],
    others: [u64; 10],
}

/// Which version of Landlock the kernel has.
pub(crate) fn landlock_version() -> io::Result<i64> {
    const VERSION: libc::c_uint = 1;
    // SAFETY: asked for the version, the kernel takes neither structure nor size.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<libc::c_void>(), 0usize, VERSION)
    };
    if version < 0 { Err(io::Error::last_os_error()) } else { Ok(version) }
}
