//! The level that nobody has to be root for.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
};

use dyno_runtime::{Isolation, Runtime, RuntimeOptions};

use crate::{
    root,
    support::{House, copy_program, supervise},
};

#[tokio::test]
async fn root_is_not_given_the_level_that_would_leave_its_dynos_roots_files() {
    if !root() {
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let options = RuntimeOptions {
        isolation: Isolation::User,
        state_directory: Some(state.path().to_owned()),
        ..RuntimeOptions::default()
    };
    let refused =
        Runtime::start(options, busbar_registry::Memory::start(Default::default())).await.unwrap_err();
    assert!(refused.to_string().contains("full"), "{refused}");
}

#[tokio::test]
async fn a_dyno_with_the_machines_files_has_the_machines_shell_whatever_the_stack_has() {
    if !std::path::Path::new("/bin/bash").exists() {
        return eprintln!("skipped: this machine has no bash");
    }
    let empty = tempfile::tempdir().unwrap();
    let house = House::open(|options| options.sandbox.stack = empty.path().to_owned()).await;
    let mut log = house.run("worker: echo by ${BASH_VERSION:+bash}; exec sleep 600", |_| {}).await;
    log.until("app[worker.1]: by").await;
    assert_eq!(log.with("app[worker.1]: by"), ["app[worker.1]: by bash"]);
    house.close().await;
}

#[tokio::test]
async fn somebody_who_is_not_root_has_dynos_that_are_kept_apart_from_the_machine() {
    // The directories are somebody else's, if this is root.
    let place = tempfile::tempdir().unwrap();
    let (app, state) = (place.path().join("app"), place.path().join("state"));
    for directory in [place.path(), &app, &state] {
        fs::create_dir_all(directory).unwrap();
        fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).unwrap();
    }
    fs::write(app.join("probe.py"), include_str!("probe.py")).unwrap();
    let tries = "files see create=/app/x create=/x write=/etc/passwd list=/sys/fs/cgroup syscall=mount new_user \
                 status=CapEff status=NoNewPrivs status=Seccomp read=/etc/hostname";
    fs::write(app.join("Procfile"), format!("worker: id; python3 probe.py {tries}; exec sleep 600\n"))
        .unwrap();
    let mut command = if rustix::process::geteuid().is_root() {
        let program = place.path().join("supervise");
        copy_program(supervise(), &program);
        std::os::unix::fs::chown(&state, Some(65534), Some(65534)).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(supervise())
    };
    let instance = format!("test-user-{}", std::process::id());
    command.args([
        app.as_os_str(),
        state.as_os_str(),
        "off".as_ref(),
        instance.as_ref(),
        "user".as_ref(),
        "host".as_ref(),
    ]);
    let mut supervisor = command.current_dir("/").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(supervisor.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut seen = vec![];
    for line in lines.by_ref() {
        let end =
            line.contains("tried everything") || line.contains("crashed") || line.contains("cannot be had");
        seen.push(line);
        if end {
            break;
        }
    }
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&supervisor),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    seen.extend(lines);
    supervisor.wait().unwrap();
    if seen.iter().any(|line| line.contains("namespaces"))
        && fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap().trim() == "0"
    {
        eprintln!("skipped: this machine has no user namespaces");
        return;
    }
    for said in [
        "uid=1000(dyno) gid=1000(dyno)",
        "files: [0, 1, 2] cwd=/app root=/",
        "create=/app/x: created",
        "create=/x: EROFS",
        "write=/etc/passwd: E",
        "list=/sys/fs/cgroup: ENOENT",
        "syscall=mount: EPERM",
        "new_user: EPERM",
        "status=CapEff: 0000000000000000",
        "status=NoNewPrivs: 1",
        "status=Seccomp: 2",
        "read=/etc/hostname: ENOENT",
    ] {
        assert!(seen.iter().any(|line| line.contains(said)), "{said}: {seen:#?}");
    }
    assert!(!app.join("x").exists(), "the app's own files stay as they are");
    assert_eq!(fs::read_dir(state.join("dynos")).unwrap().count(), 0);
}
