//! Out of the dyno, into the machine.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use dyno_runtime::ConfigVars;

use crate::{
    all_refused, attempts, full_house, root,
    support::{LONG, supervise},
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
    fs::copy("/usr/bin/id", &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o6755)).unwrap();
    let mut log = house.run("worker: echo real $(id -u) set $(./id -u); exec sleep 600", |_| {}).await;
    log.until("app[worker.1]: real").await;
    let line = log.with("app[worker.1]: real")[0];
    let words: Vec<&str> = line.split(' ').collect();
    assert!(words[2] == words[4] && words[2] != "0", "{line}");
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
    wanted.extend(["new_user", "tiocsti", "family=40", "family=17", "family=38", "raw"]);
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
