//! Out of the dyno, into the machine.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use dyno_runtime::ConfigVars;

use crate::{
    all_refused, attempts, full, full_house, root,
    support::{House, LONG, copy_program, supervise},
};

const DENIED: [&str; 4] = ["EACCES", "EPERM", "EROFS", "ENOENT"];

#[tokio::test]
async fn f24_no_program_of_the_machine_can_be_overwritten_from_within() {
    if !root() {
        return;
    }
    let house = full_house().await;
    let before = fs::read(supervise()).unwrap();
    let tried = attempts(
        &house,
        &[
            "write=/proc/1/exe",
            "write=/proc/self/exe",
            "write=/usr/bin/python3",
            "write=/bin/sh",
            "create=/usr/bin/new",
        ],
    )
    .await;
    all_refused(&tried, &["EACCES", "EPERM", "EROFS", "ENOENT", "ETXTBSY"]);
    assert!(fs::read(supervise()).unwrap() == before);
    house.close().await;
}

#[tokio::test]
async fn f25_a_dyno_has_three_files_and_a_directory_and_root_of_its_own() {
    if !root() {
        return;
    }
    let house = full_house().await;
    // Without close-on-exec, as a shell or a careless program leaves them.
    let _leaks = [(); 5].map(|()| rustix::io::dup(std::io::stderr()).unwrap());
    let tried =
        attempts(&house, &["files", "read=/proc/1/root/etc/hostname", "list=/proc/1/cwd", "list=/proc/1/fd"])
            .await;
    assert_eq!(tried["files"], "[0, 1, 2] cwd=/app root=/");
    all_refused(&tried.into_iter().filter(|(name, _)| name != "files").collect(), &DENIED);
    house.close().await;
}

#[tokio::test]
async fn f26_links_in_an_apps_directory_redirect_nothing() {
    if !root() {
        return;
    }
    let house = full_house().await;
    let canary = tempfile::tempdir().unwrap();
    fs::set_permissions(canary.path(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(canary.path().join("file"), "untouched").unwrap();
    for name in ["app", "proc", "dev", "tmp", "etc", "bin", "usr", "mnt", "upper", "work", "passwd"] {
        std::os::unix::fs::symlink(canary.path(), house.directory.path().join(name)).unwrap();
    }
    let through = format!(
        "create=/app/tmp/x write={0}/file create={0}/y create=/tmp/own list=/mnt",
        canary.path().display()
    );
    let through: Vec<&str> = through.split(' ').collect();
    let tried = attempts(&house, &through).await;
    assert_eq!(tried["create=/tmp/own"], "created");
    assert_eq!(tried["list=/mnt"], "[]");
    let rest = tried.into_iter().filter(|(name, _)| !name.ends_with("/own") && !name.ends_with("/mnt"));
    all_refused(&rest.collect(), &["ENOENT"]);
    assert_eq!(fs::read_to_string(canary.path().join("file")).unwrap(), "untouched");
    assert_eq!(fs::read_dir(canary.path()).unwrap().count(), 1);
    assert!(!Path::new("/tmp/own").exists());
    house.close().await;
}

#[tokio::test]
async fn a_dyno_changes_its_own_copy_of_the_apps_files_and_never_the_originals() {
    if !root() {
        return;
    }
    let house = full_house().await;
    let directory = house.directory.path();
    fs::create_dir(directory.join("deep")).unwrap();
    fs::write(directory.join("deep/file"), "original").unwrap();
    fs::set_permissions(directory.join("deep/file"), fs::Permissions::from_mode(0o600)).unwrap();
    let tried =
        attempts(&house, &["read=/app/deep/file", "write=/app/deep/file", "create=/app/deep/new"]).await;
    assert_eq!(tried["read=/app/deep/file"], "read b'original'");
    assert_eq!(
        (tried["write=/app/deep/file"].as_str(), tried["create=/app/deep/new"].as_str()),
        ("wrote 1", "created")
    );
    assert_eq!(fs::read_to_string(directory.join("deep/file")).unwrap(), "original");
    assert!(!directory.join("deep/new").exists());
    house.close().await;
}

#[tokio::test]
async fn f28_a_set_user_id_program_gains_nothing() {
    if !root() {
        return;
    }
    let house = full_house().await;
    let program = house.directory.path().join("id");
    copy_program("/usr/bin/id", &program);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o6755)).unwrap();
    let mut log = house.run("worker: echo real $(id -u) set $(./id -u); exec sleep 600", |_| {}).await;
    log.until("app[worker.1]: real").await;
    let line = log.with("app[worker.1]: real")[0];
    let words: Vec<&str> = line.split(' ').collect();
    assert!(words[2] == words[4] && words[2] != "0", "{line}");
    house.close().await;
}

/// Gives a file `cap_net_raw+ep`, as `setcap` does; whether the file system takes it.
fn grant(program: &Path) -> bool {
    // Version 2, effective; permitted: capability 13.
    let capability: Vec<u8> =
        [0x0200_0001_u32, 1 << 13, 0, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
    rustix::fs::setxattr(program, "security.capability", &capability, rustix::fs::XattrFlags::empty()).is_ok()
}

/// Copies a program of the machine and the libraries it needs to where they are below a stack.
fn bring(stack: &Path, program: &str) {
    let needed = std::process::Command::new("ldd").arg(program).output().unwrap();
    let needed = String::from_utf8(needed.stdout).unwrap();
    let libraries = needed.split_whitespace().filter(|word| word.starts_with('/'));
    for file in libraries.chain([program]) {
        let to = stack.join(file.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        copy_program(file, &to);
    }
}

#[tokio::test]
async fn f28_a_program_with_file_capabilities_gains_nothing_from_the_apps_files_or_the_stack() {
    if !root() {
        return;
    }
    let stack = tempfile::tempdir().unwrap();
    // The dyno's user is somebody else.
    fs::set_permissions(stack.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for program in ["/bin/sh", "/bin/cat", "/bin/sleep", "/bin/grep"] {
        bring(stack.path(), program);
    }
    let in_stack = stack.path().join("bin/mighty");
    copy_program("/bin/grep", &in_stack);
    let house = House::open(|options| {
        full(options);
        options.sandbox.stack = stack.path().to_owned();
    })
    .await;
    let in_app = house.directory.path().join("mighty");
    copy_program("/bin/grep", &in_app);
    if !grant(&in_app) || !grant(&in_stack) {
        house.close().await;
        return eprintln!("skipped: the file system has no capabilities of files");
    }
    // Elsewhere it does gain something.
    let mut outside = std::process::Command::new("setpriv");
    outside.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&in_stack);
    let outside = outside.args(["CapPrm", "/proc/self/status"]).output().unwrap();
    assert_eq!(String::from_utf8(outside.stdout).unwrap().trim(), "CapPrm:\t0000000000002000");
    let show = "worker: for it in ./mighty /bin/mighty; do $it CapPrm /proc/self/status; $it CapEff /proc/self/status; done; \
                echo done; exec sleep 600";
    let mut log = house.run(show, |_| {}).await;
    log.until("app[worker.1]: done").await;
    for set in ["CapPrm", "CapEff"] {
        let line = format!("app[worker.1]: {set}:\t0000000000000000");
        assert_eq!(log.with(&line).len(), 2, "{:#?}", log.seen);
    }
    house.close().await;
}

#[tokio::test]
async fn f28_a_dyno_has_no_capability_and_cannot_get_one() {
    if !root() {
        return;
    }
    let house = full_house().await;
    let names = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|name| format!("status={name}"));
    let mut wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    wanted.extend(["status=NoNewPrivs", "status=Seccomp", "setuid"]);
    let tried = attempts(&house, &wanted).await;
    assert!(names.iter().all(|name| tried[name] == "0000000000000000"), "{tried:?}");
    assert_eq!((tried["status=NoNewPrivs"].as_str(), tried["status=Seccomp"].as_str()), ("1", "2"));
    assert_eq!(tried["setuid"], "EPERM");
    house.close().await;
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn f29_system_calls_that_reach_into_the_kernel_are_refused() {
    if !root() {
        return;
    }
    let house = full_house().await;
    let calls = [
        "mount",
        "umount2",
        "pivot_root",
        "chroot",
        "unshare",
        "setns",
        "ptrace",
        "bpf",
        "keyctl",
        "add_key",
        "kexec_load",
        "init_module",
        "io_uring_setup",
        "userfaultfd",
        "open_by_handle_at",
        "perf_event_open",
        "fsopen",
        "open_tree",
        "process_vm_readv",
        "pidfd_getfd",
        "reboot",
        "swapon",
        "syslog",
        "settimeofday",
        "sethostname",
        "fanotify_init",
        "mount_setattr",
        "acct",
        "quotactl",
    ];
    let calls = calls.map(|name| format!("syscall={name}"));
    let mut wanted: Vec<&str> = calls.iter().map(String::as_str).collect();
    // AF_VSOCK, AF_PACKET, AF_ALG, AF_NETLINK for anything but routes would be 40, 17, 38.
    wanted.extend(["new_user", "tiocsti", "family=40", "family=17", "family=38", "raw", "pair=2", "pair=30"]);
    let refused = attempts(&house, &wanted).await;
    all_refused(&refused, &["EPERM"]);
    house.close().await;
    let house = full_house().await;
    let missing = attempts(&house, &["syscall=clone3", "x32"]).await;
    // The C library falls back on `clone`, whose flags can be seen.
    all_refused(&missing, &["ENOSYS"]);
    house.close().await;
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn f29_a_program_of_another_architecture_is_ended() {
    if !root() {
        return;
    }
    let house = full_house().await;
    // `getpid` by the i386 interface, from a 64-bit program.
    let source =
        "int main(void) { long n = 20; __asm__ volatile(\"int $0x80\" : \"+a\"(n)); return n > 0 ? 0 : 1; }";
    let (file, program) = (house.directory.path().join("i386.c"), house.directory.path().join("i386"));
    fs::write(&file, source).unwrap();
    let built = std::process::Command::new("cc").arg("-o").arg(&program).arg(&file).status();
    assert!(built.unwrap().success(), "a C compiler is needed, as for Rust");
    let mut log = house.run("worker: ./i386; echo ended with $?; exec sleep 600", |_| {}).await;
    log.until("app[worker.1]: ended").await;
    // SIGSYS
    assert_eq!(log.with("app[worker.1]: ended"), ["app[worker.1]: ended with 159"]);
    house.close().await;
}

#[tokio::test]
async fn f30_what_changes_or_shows_the_machine_is_unwritable_and_unreadable() {
    if !root() {
        return;
    }
    let house = full_house().await;
    let refused = attempts(
        &house,
        &[
            "write=/proc/sys/kernel/hostname",
            "write=/proc/sys/vm/drop_caches",
            "write=/proc/sys/kernel/core_pattern",
            "create=/proc/sys/x",
            "create=/x",
            "create=/etc/x",
            "create=/dev/x",
            "create=/run/x",
            "create=/var/x",
            "write=/etc/passwd",
            "read=/sys/kernel/notes",
            "read=/etc/shadow",
            "list=/sys/fs/cgroup",
            "read=/proc/1/environ",
            "read=/proc/1/maps",
        ],
    )
    .await;
    all_refused(&refused, &DENIED);
    house.close().await;
    let house = full_house().await;
    let masked = ["kcore", "keys", "key-users", "kallsyms", "kmsg", "timer_list"]
        .map(|name| format!("read=/proc/{name}"));
    let masked: Vec<&str> = masked.iter().map(String::as_str).collect();
    let empty = attempts(&house, &masked).await;
    all_refused(&empty, &["read b''", "EACCES", "ENOENT"]);
    house.close().await;
}

#[tokio::test]
async fn f31_there_are_no_devices_but_harmless_ones_and_none_can_be_made() {
    if !root() {
        return;
    }
    let house = full_house().await;
    let tried = attempts(
        &house,
        &[
            "list=/dev",
            "mknod=/tmp/disk",
            "mknod=/app/disk",
            "mknod=/dev/shm/disk",
            "read=/dev/vda",
            "read=/dev/kvm",
            "read=/dev/mem",
        ],
    )
    .await;
    assert_eq!(
        tried["list=/dev"],
        "['fd', 'full', 'null', 'ptmx', 'pts', 'random', 'shm', 'stderr', 'stdin', 'stdout', 'tty', 'urandom', 'zero']"
    );
    all_refused(&tried.into_iter().filter(|(name, _)| name != "list=/dev").collect(), &["EPERM", "ENOENT"]);
    house.close().await;
}

#[tokio::test]
async fn f34_config_vars_are_in_the_dynos_environment_and_nowhere_else() {
    if !root() {
        return;
    }
    let house = full_house().await;
    let vars = ConfigVars::from_iter([("SECRET", "hunter2")]);
    let mut log = house
        .run("worker: ulimit -c; test \"$SECRET\" = hunter2 && echo has it; exec sleep 600", |app| {
            app.config_vars = vars;
        })
        .await;
    log.until("app[worker.1]: has it").await;
    assert_eq!(log.with("app[worker.1]: 0").len(), 1, "core dumps are off");
    let first = house.runtime.ps(&house.app).await.unwrap()[0].pid.unwrap();
    for file in ["environ", "cmdline"] {
        let text = fs::read(format!("/proc/{first}/{file}")).unwrap();
        assert!(!text.windows(7).any(|part| part == b"hunter2"), "{file} of the first process");
    }
    assert_eq!(fs::read(format!("/proc/{first}/environ")).unwrap(), b"");
    house.close().await;
}

#[tokio::test]
async fn f36_a_dyno_sees_no_control_group_above_its_own() {
    if !root() {
        return;
    }
    let house = full_house().await;
    let tried =
        attempts(&house, &["read=/proc/self/cgroup", "list=/sys/fs/cgroup", "exists=/sys/fs/cgroup"]).await;
    assert!(!tried["read=/proc/self/cgroup"].contains("busbar"), "{tried:?}");
    assert_eq!(
        (tried["list=/sys/fs/cgroup"].as_str(), tried["exists=/sys/fs/cgroup"].as_str()),
        ("ENOENT", "False")
    );
    house.close().await;
}

#[tokio::test]
async fn f37_an_environment_too_large_is_an_error_and_odd_bytes_are_kept() {
    if !root() {
        return;
    }
    let house = full_house().await;
    let huge = ConfigVars::from_iter([("HUGE", "hunter2".repeat(1 << 18))]);
    let slow = dyno_runtime::RestartPolicy { base: LONG, ..Default::default() };
    let mut log = house
        .run("worker: true", |app| {
            app.config_vars = huge;
            app.restart = slow;
        })
        .await;
    log.until("to crashed").await;
    let error = log.with("R99")[0];
    assert!(error.contains("could not execute the command: Argument list too long"), "{error}");
    house.close().await;
    let house = full_house().await;
    let vars = ConfigVars::from_iter([("ODD", "a=b\n\u{1F9A6} \"'$x"), ("EMPTY", "")]);
    let mut log = house
        .run("worker: python3 -c 'import os; print(ascii([os.environ[\"ODD\"], os.environ[\"EMPTY\"]]))'; exec sleep 600", |app| {
            app.config_vars = vars;
        })
        .await;
    log.until("app[worker.1]: [").await;
    assert_eq!(log.with("app[worker.1]: ["), ["app[worker.1]: ['a=b\\n\\U0001f9a6 \"\\'$x', '']"]);
    house.close().await;
}

#[tokio::test]
async fn f37_a_nul_in_a_config_var_or_a_command_is_refused_by_name_and_without_its_value() {
    let slow = || dyno_runtime::RestartPolicy { base: LONG, ..Default::default() };
    let house = House::open(|_| {}).await;
    let mut log = house
        .run("worker: echo it ran", |app| {
            app.config_vars = ConfigVars::from_iter([("ODD", "hunter2\0more")]);
            app.restart = slow();
        })
        .await;
    log.until("to crashed").await;
    let said = "R99 (Platform error) -> the config var \"ODD\" has a NUL byte, which no process can be given; take it out";
    assert!(!log.with(said).is_empty(), "{:#?}", log.seen);
    assert_eq!((log.with("hunter2").len(), log.with("app[worker.1]").len()), (0, 0), "{:#?}", log.seen);
    house.close().await;
    let house = House::open(|_| {}).await;
    let worker = ("worker".parse().unwrap(), "echo it ran\0 || true".to_owned());
    let mut log = house
        .run("worker: x", |app| {
            app.procfile = dyno_runtime::Procfile::from_commands([worker].into());
            app.restart = slow();
        })
        .await;
    log.until("to crashed").await;
    let said = log.with("R99 (Platform error) -> the command has a NUL byte");
    assert!(!said.is_empty() && log.with("app[worker.1]").is_empty(), "{:#?}", log.seen);
    house.close().await;
}

/// What the runtime's environment has is the dyno's, whatever it is; config vars are text.
#[test]
fn f37_bytes_that_are_no_text_are_kept_in_an_environment() {
    use std::{io::BufRead as _, os::unix::ffi::OsStrExt as _};
    let (app, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let show =
        "worker: python3 -c 'import os; print(\"odd\", os.environb[b\"ODD\"].hex())'; exec sleep 600\n";
    fs::write(app.path().join("Procfile"), show).unwrap();
    let mut supervisor = std::process::Command::new(supervise())
        .args([app.path(), state.path()])
        .args(["off", &format!("test-odd-{}", std::process::id()), "plain"])
        .env("ODD", std::ffi::OsStr::from_bytes(b"a\xff\xfe\xc3=\n"))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(supervisor.stdout.take().unwrap()).lines().map(Result::unwrap);
    let odd = lines.by_ref().find(|line| line.contains("]: odd ") || line.contains("crashed"));
    let pid = rustix::process::Pid::from_child(&supervisor);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    lines.for_each(drop);
    supervisor.wait().unwrap();
    assert!(odd.as_ref().is_some_and(|line| line.ends_with(": odd 61fffec33d0a")), "{odd:?}");
}
