//! The system calls a dyno may make: those on a list, and no others.
//!
//! A call that is not on the list does not exist for a dyno (ENOSYS), so that a program falls back on an older one, as
//! with `clone3`, whose flags a filter cannot see. One that is known and refused is "not permitted" (EPERM), so that
//! the program can say so. Calls of another architecture (i386) end the process; those of x32 are on no list.
//!
//! [`program`] is what the kernel is given; it is the same for all dynos.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Is, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

use libc as c;

use super::allow_list::allow_list;

/// Allowed with whatever arguments.
#[rustfmt::skip]
const ALLOWED: &[i64] = &[
    // Files.
    c::SYS_read, c::SYS_write, c::SYS_readv, c::SYS_writev, c::SYS_pread64, c::SYS_pwrite64, c::SYS_preadv, c::SYS_pwritev,
    c::SYS_preadv2, c::SYS_pwritev2, c::SYS_openat, c::SYS_openat2, c::SYS_close, c::SYS_close_range, c::SYS_fstat, c::SYS_newfstatat,
    c::SYS_statx, c::SYS_statfs, c::SYS_fstatfs, c::SYS_lseek, c::SYS_dup, c::SYS_dup3, c::SYS_fcntl, c::SYS_flock, c::SYS_fsync,
    c::SYS_fdatasync, c::SYS_sync, c::SYS_syncfs, c::SYS_sync_file_range, c::SYS_truncate, c::SYS_ftruncate, c::SYS_fallocate,
    c::SYS_fadvise64, c::SYS_readahead, c::SYS_getdents64, c::SYS_getcwd, c::SYS_chdir, c::SYS_fchdir, c::SYS_mkdirat, c::SYS_unlinkat,
    c::SYS_renameat2, c::SYS_linkat, c::SYS_symlinkat, c::SYS_readlinkat, c::SYS_fchmod, c::SYS_fchmodat,
    c::SYS_fchown, c::SYS_fchownat, c::SYS_faccessat, c::SYS_faccessat2, c::SYS_utimensat, c::SYS_umask, c::SYS_mknodat,
    c::SYS_copy_file_range, c::SYS_sendfile, c::SYS_splice, c::SYS_tee, c::SYS_vmsplice,
    c::SYS_getxattr, c::SYS_lgetxattr, c::SYS_fgetxattr, c::SYS_setxattr, c::SYS_lsetxattr, c::SYS_fsetxattr, c::SYS_listxattr,
    c::SYS_llistxattr, c::SYS_flistxattr, c::SYS_removexattr, c::SYS_lremovexattr, c::SYS_fremovexattr,
    c::SYS_inotify_init1, c::SYS_inotify_add_watch, c::SYS_inotify_rm_watch, c::SYS_memfd_create,
    // Memory.
    c::SYS_brk, c::SYS_mmap, c::SYS_munmap, c::SYS_mremap, c::SYS_mprotect, c::SYS_madvise, c::SYS_msync, c::SYS_mincore, c::SYS_mlock,
    c::SYS_mlock2, c::SYS_munlock, c::SYS_mlockall, c::SYS_munlockall, c::SYS_membarrier, c::SYS_pkey_alloc, c::SYS_pkey_free,
    c::SYS_pkey_mprotect, c::SYS_get_mempolicy, c::SYS_shmget, c::SYS_shmat, c::SYS_shmdt, c::SYS_shmctl, c::SYS_semget, c::SYS_semop,
    c::SYS_semtimedop, c::SYS_semctl, c::SYS_msgget, c::SYS_msgsnd, c::SYS_msgrcv, c::SYS_msgctl, c::SYS_mq_open, c::SYS_mq_unlink,
    c::SYS_mq_timedsend, c::SYS_mq_timedreceive, c::SYS_mq_notify, c::SYS_mq_getsetattr,
    // Processes, threads and who they are.
    c::SYS_execve, c::SYS_execveat, c::SYS_exit, c::SYS_exit_group, c::SYS_wait4, c::SYS_waitid, c::SYS_kill, c::SYS_tkill, c::SYS_tgkill,
    c::SYS_getpid, c::SYS_getppid, c::SYS_gettid, c::SYS_getpgid, c::SYS_setpgid, c::SYS_getsid, c::SYS_setsid, c::SYS_getuid, c::SYS_geteuid,
    c::SYS_getgid, c::SYS_getegid, c::SYS_getresuid, c::SYS_getresgid, c::SYS_getgroups, c::SYS_setuid, c::SYS_setgid, c::SYS_setreuid,
    c::SYS_setregid, c::SYS_setresuid, c::SYS_setresgid, c::SYS_setgroups, c::SYS_setfsuid, c::SYS_setfsgid, c::SYS_capget, c::SYS_capset,
    c::SYS_prctl, c::SYS_prlimit64, c::SYS_getrlimit, c::SYS_setrlimit, c::SYS_getrusage, c::SYS_getpriority, c::SYS_setpriority,
    c::SYS_ioprio_get, c::SYS_ioprio_set, c::SYS_sched_yield, c::SYS_sched_getaffinity, c::SYS_sched_setaffinity, c::SYS_sched_getparam,
    c::SYS_sched_setparam, c::SYS_sched_getscheduler, c::SYS_sched_setscheduler, c::SYS_sched_getattr, c::SYS_sched_setattr,
    c::SYS_sched_get_priority_max, c::SYS_sched_get_priority_min, c::SYS_sched_rr_get_interval, c::SYS_set_tid_address,
    c::SYS_set_robust_list, c::SYS_get_robust_list, c::SYS_futex, c::SYS_rseq, c::SYS_getcpu, c::SYS_pidfd_open,
    c::SYS_pidfd_send_signal, c::SYS_seccomp, c::SYS_landlock_create_ruleset, c::SYS_landlock_add_rule, c::SYS_landlock_restrict_self,
    c::SYS_futex_waitv,
    // Signals and time.
    c::SYS_rt_sigaction, c::SYS_rt_sigprocmask, c::SYS_rt_sigpending, c::SYS_rt_sigsuspend, c::SYS_rt_sigtimedwait, c::SYS_rt_sigqueueinfo,
    c::SYS_rt_tgsigqueueinfo, c::SYS_rt_sigreturn, c::SYS_sigaltstack, c::SYS_signalfd4, c::SYS_restart_syscall, c::SYS_nanosleep,
    c::SYS_clock_nanosleep, c::SYS_clock_gettime, c::SYS_clock_getres, c::SYS_gettimeofday, c::SYS_times, c::SYS_getitimer, c::SYS_setitimer,
    c::SYS_timer_create, c::SYS_timer_settime, c::SYS_timer_gettime, c::SYS_timer_getoverrun, c::SYS_timer_delete, c::SYS_timerfd_create,
    c::SYS_timerfd_settime, c::SYS_timerfd_gettime,
    // Waiting and talking.
    c::SYS_ppoll, c::SYS_pselect6, c::SYS_epoll_create1, c::SYS_epoll_ctl, c::SYS_epoll_pwait, c::SYS_epoll_pwait2, c::SYS_eventfd2,
    c::SYS_pipe2, c::SYS_bind, c::SYS_listen, c::SYS_accept, c::SYS_accept4, c::SYS_connect, c::SYS_getsockname,
    c::SYS_getpeername, c::SYS_sendto, c::SYS_recvfrom, c::SYS_sendmsg, c::SYS_recvmsg, c::SYS_sendmmsg, c::SYS_recvmmsg, c::SYS_shutdown,
    c::SYS_setsockopt, c::SYS_getsockopt, c::SYS_io_setup, c::SYS_io_destroy, c::SYS_io_submit, c::SYS_io_cancel, c::SYS_io_getevents,
    // The machine, as far as it may be known.
    c::SYS_uname, c::SYS_sysinfo, c::SYS_getrandom,
];

/// The older forms of some of these, on the one architecture that still has them.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const ALLOWED_HERE: &[i64] = &[
    c::SYS_open, c::SYS_creat, c::SYS_stat, c::SYS_lstat, c::SYS_access, c::SYS_dup2, c::SYS_pipe, c::SYS_poll, c::SYS_select, c::SYS_mkdir,
    c::SYS_rmdir, c::SYS_unlink, c::SYS_rename, c::SYS_renameat, c::SYS_link, c::SYS_symlink, c::SYS_readlink, c::SYS_chmod, c::SYS_chown, c::SYS_lchown, c::SYS_mknod,
    c::SYS_getdents, c::SYS_utime, c::SYS_utimes, c::SYS_futimesat, c::SYS_alarm, c::SYS_pause, c::SYS_time, c::SYS_fork, c::SYS_vfork,
    c::SYS_getpgrp, c::SYS_epoll_create, c::SYS_epoll_wait, c::SYS_inotify_init, c::SYS_signalfd, c::SYS_eventfd, c::SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[i64] = &[c::SYS_renameat];

/// Known and refused: what changes or looks into the machine, the kernel or another process.
#[rustfmt::skip]
const REFUSED: &[i64] = &[
    c::SYS_mount, c::SYS_umount2, c::SYS_pivot_root, c::SYS_chroot, c::SYS_fsopen, c::SYS_fsconfig, c::SYS_fsmount, c::SYS_fspick,
    c::SYS_open_tree, c::SYS_move_mount, c::SYS_mount_setattr, c::SYS_unshare, c::SYS_setns, c::SYS_ptrace, c::SYS_process_vm_readv,
    c::SYS_process_vm_writev, c::SYS_process_madvise, c::SYS_kcmp, c::SYS_pidfd_getfd, c::SYS_bpf, c::SYS_perf_event_open,
    c::SYS_keyctl, c::SYS_add_key, c::SYS_request_key, c::SYS_kexec_load, c::SYS_kexec_file_load, c::SYS_init_module,
    c::SYS_finit_module, c::SYS_delete_module, c::SYS_reboot, c::SYS_swapon, c::SYS_swapoff, c::SYS_acct, c::SYS_quotactl, c::SYS_syslog,
    c::SYS_sethostname, c::SYS_setdomainname, c::SYS_settimeofday, c::SYS_clock_settime, c::SYS_clock_adjtime, c::SYS_adjtimex,
    c::SYS_io_uring_setup, c::SYS_io_uring_enter, c::SYS_io_uring_register, c::SYS_userfaultfd, c::SYS_open_by_handle_at,
    c::SYS_name_to_handle_at, c::SYS_fanotify_init, c::SYS_fanotify_mark, c::SYS_mbind, c::SYS_set_mempolicy, c::SYS_move_pages,
    c::SYS_migrate_pages, c::SYS_lookup_dcookie, c::SYS_nfsservctl, c::SYS_vhangup,
];

/// Flags of `clone` that make a new namespace.
const NAMESPACES: u64 = (c::CLONE_NEWNS
    | c::CLONE_NEWUSER
    | c::CLONE_NEWPID
    | c::CLONE_NEWNET
    | c::CLONE_NEWIPC
    | c::CLONE_NEWUTS
    | c::CLONE_NEWCGROUP) as u64;

/// Kinds of sockets that may be made: among processes, over the Internet, and to ask about interfaces.
const FAMILIES: [c::c_int; 3] = [c::AF_UNIX, c::AF_INET, c::AF_INET6];

/// What a terminal can be made to read as if it had been typed (`TIOCSTI`), and what the console can (`TIOCLINUX`).
const TYPING: [u64; 2] = [0x5412, 0x541c];

/// One filter: those that may, and what happens to the others. Installed in this order.
pub(crate) fn program() -> io::Result<[BpfProgram; 2]> {
    let arch: TargetArch = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
    let build = |rules, others, these| -> Result<BpfProgram, seccompiler::BackendError> {
        SeccompFilter::new(rules, others, these, arch)?.try_into()
    };
    let errno = |number: i32| SeccompAction::Errno(number.unsigned_abs());
    let refused = refused().map_err(io::Error::other)?;
    Ok([
        allow_list(&allowed(), u16::try_from(c::ENOSYS).map_err(io::Error::other)?, arch),
        // Of two equal answers that of the later filter counts.
        build(refused, SeccompAction::Allow, errno(c::EPERM)).map_err(io::Error::other)?,
    ])
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn allowed() -> BTreeSet<u32> {
    // Only what the second filter looks at more closely.
    let closely = [c::SYS_clone, c::SYS_socket, c::SYS_socketpair, c::SYS_ioctl, c::SYS_personality];
    let all = ALLOWED.iter().chain(ALLOWED_HERE).chain(&closely);
    all.filter_map(|call| u32::try_from(*call).ok()).collect()
}

fn refused() -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = REFUSED.iter().map(|call| (*call, vec![])).collect();
    let mut refuse = |call: i64, conditions: Vec<SeccompCondition>| {
        rules.entry(call).or_default().push(SeccompRule::new(conditions)?);
        Ok::<_, seccompiler::BackendError>(())
    };
    for bit in (0..64).map(|bit| 1 << bit).filter(|bit| NAMESPACES & bit != 0) {
        refuse(c::SYS_clone, vec![SeccompCondition::new(0, Width::Qword, Is::MaskedEq(bit), bit)?])?;
    }
    for request in TYPING {
        refuse(c::SYS_ioctl, vec![SeccompCondition::new(1, Width::Dword, Is::Eq, request)?])?;
    }
    let number = |number: c::c_int| u64::from(number.unsigned_abs());
    let no_family = FAMILIES.iter().chain([&c::AF_NETLINK]);
    let no_family = no_family.map(|family| SeccompCondition::new(0, Width::Dword, Is::Ne, number(*family)));
    refuse(c::SYS_socket, no_family.collect::<Result<_, _>>()?)?;
    let other_netlink = vec![
        SeccompCondition::new(0, Width::Dword, Is::Eq, number(c::AF_NETLINK))?,
        SeccompCondition::new(2, Width::Dword, Is::Ne, number(c::NETLINK_ROUTE))?,
    ];
    refuse(c::SYS_socket, other_netlink)?;
    // For any other family the kernel loads its module before it says that there are no pairs.
    let no_pairs = SeccompCondition::new(0, Width::Dword, Is::Ne, number(c::AF_UNIX))?;
    refuse(c::SYS_socketpair, vec![no_pairs])?;
    // Linux as it is, without tricks of older ABIs; only asking is allowed.
    let usual = [0, 0xffff_ffff];
    let other = usual.map(|persona| SeccompCondition::new(0, Width::Dword, Is::Ne, persona));
    refuse(c::SYS_personality, other.into_iter().collect::<Result<_, _>>()?)?;
    Ok(rules)
}

/// Allows this process and all that come from it nothing else. No new privileges must have been given up before.
///
/// # Errors
/// The kernel has no filters for system calls.
pub(crate) fn restrict(program: &[BpfProgram; 2]) -> io::Result<()> {
    program.iter().try_for_each(|filter| {
        seccompiler::apply_filter(filter).map_err(|error| match error {
            seccompiler::Error::Prctl(source) | seccompiler::Error::Seccomp(source) => source,
            other => io::Error::other(other),
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_call_is_both_allowed_and_refused_or_stands_there_twice() {
        let all: Vec<i64> = ALLOWED.iter().chain(ALLOWED_HERE).chain(REFUSED).copied().collect();
        let different: HashSet<i64> = all.iter().copied().collect();
        let twice: Vec<&i64> =
            all.iter().filter(|call| all.iter().filter(|c| c == call).count() > 1).collect();
        assert_eq!(all.len(), different.len(), "{twice:?}");
        assert!(!different.contains(&c::SYS_clone3), "its flags cannot be seen");
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_documentation_says_how_many_calls_are_allowed() {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/isolation.md");
        let docs = std::fs::read_to_string(docs).unwrap();
        let said = format!("| {} allowed on x86-64; no `ptrace`", allowed().len());
        assert!(docs.contains(&said), "{said}");
    }

    #[test]
    fn the_filter_fits_the_kernels_limit() {
        assert!(program().unwrap().iter().all(|filter| filter.len() < 4096));
    }
}
