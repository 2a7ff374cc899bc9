//! Builds that are kept apart: what a buildpack, or a requirement whose installation runs code, can do to the machine.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    process::Command,
};

use crate::{
    build::{build, built, levels, write},
    busbar::Place,
    wait::skipped,
};

/// Whether this is root, and there is the machine's own Python with pip.
fn can_build_apart() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skipped("only root has full isolation");
    }
    root
}

/// Tries to get at the machine. Whatever succeeds that must not is said as `evil: …`, what must as `fine: …`.
const EVIL: &str = r#"#!/bin/bash
if_it_can() { said=$1; shift; if "$@" >/dev/null 2>&1; then echo "$said"; fi; }
evil() { if_it_can "evil: $1" bash -c "$1"; }
fine() { if_it_can "fine: $1" bash -c "$1"; }
for place in /etc /usr /usr/bin /bin /lib /opt /root /home /var /var/lib /var/cache /run /srv / /proc /proc/sys/kernel /dev /env PLACE; do
    evil "touch $place/evil"
    evil "mkdir $place/evil-directory"
done
evil "cat PLACE/operator/id"
evil "ls PLACE"
evil "cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n' | grep '[h]unter2-operator'"
evil "ls /var/cache/busbar"
evil "ls /var/lib/busbar"
evil "ls /run/busbar"
evil "cat /etc/shadow"
evil "echo more >> /env/SECRET"
evil "rm /env/SECRET"
evil "echo '#!/bin/sh' > /buildpacks/0-first/bin/compile"
evil "mv /buildpacks/0-first /buildpacks/gone"
evil "mv /build /gone"
evil "mount -t tmpfs none /tmp"
evil "unshare -r true"
evil "mknod /build/disk b 259 0"
evil "chown root /build"
evil "kill -0 1"
evil "timeout 2 bash -c 'exec 3<>/dev/tcp/127.0.0.1/PORT'"
fine "cat /env/SECRET"
fine "touch /build/mine"
fine "touch /cache/mine"
fine "touch /app/mine /tmp/mine"
fine "touch $(dirname "$0")/../export"
cp /bin/true /cache/program && chmod 4755 /cache/program
setsid sleep 1000 >/dev/null 2>&1 &
(trap '' HUP TERM; sleep 1000 >/dev/null 2>&1) &
disown -a
echo "tried everything as $(id -u) in $PWD, $(stat -c '%u %a' /cache)"
"#;

/// The evil script, for this place and a port of the machine's loopback.
fn evil(place: &Path, port: u16) -> String {
    let place = place.display().to_string();
    EVIL.replace("PORT", &port.to_string()).replace("PLACE", &place)
}

#[test]
fn an_evil_buildpack_reads_and_changes_nothing_of_the_machine_and_leaves_nothing() {
    if !can_build_apart() {
        return;
    }
    let place = Place::new();
    let machine = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // All that might be, also for users that are not its owner.
    fs::set_permissions(place.directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    write(&place.path("operator"), &[("id", "hunter2-operator")]);
    let source = write(&place.path("source"), &[("Procfile", "web: x\n"), (".env", "SECRET=hunter2-app\n")]);
    let first = write(
        &place.path("first"),
        &[("bin/detect", "#!/bin/sh\necho First\n"), ("bin/compile", "#!/bin/sh\ntrue\n")],
    );
    let script = evil(place.directory.path(), machine.local_addr().unwrap().port());
    let second =
        write(&place.path("evil"), &[("bin/detect", "#!/bin/sh\necho Evil\n"), ("bin/compile", &script)]);
    let (first, second) = (first.display().to_string(), second.display().to_string());
    let flags = ["-b", &first, "-b", &second, "--isolation", "full", "--limits", "memory=512MiB,pids=200"];
    let ended = built(&place, &source, &flags);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let evil: Vec<_> = ended.out.lines().filter(|line| line.starts_with("evil: ")).collect();
    assert_eq!(evil, [] as [&str; 0]);
    let fine = ended.out.lines().filter(|line| line.starts_with("fine: ")).count();
    assert_eq!(fine, 5, "{ended:?}");
    let tried = ended.out.lines().find(|line| line.starts_with("tried everything as ")).expect("it went on");
    let user: u32 = tried.split(' ').nth(3).unwrap().parse().unwrap();
    assert!(user > 0x7000_0000 && tried.ends_with(&format!(" in /build, {user} 700")), "{tried}");
    assert_eq!(
        machine.set_nonblocking(true).and_then(|()| machine.accept().map(drop)).unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
    // What it leaves in the cache is the operator's, behind a door that only the operator opens.
    let program = fs::metadata(place.path("cache/program")).unwrap();
    assert_eq!(program.uid(), 0);
    assert_eq!(fs::metadata(place.path("cache")).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(place.path("cache/mine")).unwrap().uid(), 0);
    let strange = format!("find {} -xdev ! -user 0", place.directory.path().display());
    let found = Command::new("sh").args(["-c", &strange]).output().unwrap();
    assert_eq!(String::from_utf8(found.stdout).unwrap(), "", "files of a user that nobody has any more");
}

#[test]
fn the_code_that_installing_a_requirement_runs_is_kept_apart_as_well() {
    if !can_build_apart() {
        return;
    }
    let pip = || Command::new("/usr/bin/python3").args(["-m", "pip", "--version"]).output();
    if !pip().is_ok_and(|ended| ended.status.success()) {
        let install = "apt-get -o DPkg::Lock::Timeout=120 install -y -q python3-pip";
        let installed = Command::new("sh").args(["-c", install]).status().unwrap();
        assert!(installed.success(), "the machine's python3 needs pip for this test");
    }
    let place = Place::new();
    fs::set_permissions(place.directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    write(&place.path("operator"), &[("id", "hunter2-operator")]);
    let hook = format!(
        r#"
import os, zipfile
def tried(what, attempt):
    try:
        attempt()
        outcome = "done"
    except OSError as error:
        outcome = type(error).__name__
    with open("/build/report", "a") as report:
        report.write(f"{{what}}: {{outcome}}\n")
def build_wheel(directory, config_settings=None, metadata_directory=None):
    tried("read", lambda: open("{place}/operator/id").read())
    tried("write", lambda: open("{place}/evil", "w"))
    tried("home", lambda: open("/root/evil", "w"))
    tried("programs", lambda: open("/usr/bin/evil", "w"))
    tried("secret of the build", lambda: open("/env/SECRET").read())
    name = "evil-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        wheel.writestr("evil.py", "")
        wheel.writestr("evil-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
        wheel.writestr("evil-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("evil-1.0.dist-info/RECORD", "")
    return name
"#,
        place = place.directory.path().display()
    );
    let project = "[build-system]\nrequires = []\nbuild-backend = \"hook\"\nbackend-path = [\".\"]\n";
    let source = write(
        &place.path("source"),
        &[
            ("requirements.txt", "./evil\n"),
            ("evil/pyproject.toml", project),
            ("evil/hook.py", &hook),
            ("Procfile", "web: x\n"),
            (".env", "SECRET=x\n"),
        ],
    );
    let report = write(
        &place.path("report"),
        &[("bin/detect", "#!/bin/sh\necho Report\n"), ("bin/compile", "#!/bin/sh\ncat \"$1/report\"\n")],
    );
    let report = report.display().to_string();
    let flags = ["-b", "python", "-b", &report, "--isolation", "full", "--network", "inbound"];
    let ended = built(&place, &source, &flags);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for line in [
        "read: FileNotFoundError",
        "write: FileNotFoundError",
        "home: OSError",
        "programs: OSError",
        "secret of the build: done",
    ] {
        assert!(ended.out.contains(&format!("\n{line}\n")), "{line}: {ended:?}");
    }
}

/// What is the operator's own is out of sight, too.
const CURIOUS: &str = r#"#!/bin/bash
for place in / /etc /usr /bin /opt /run /var /proc/sys/kernel /env PLACE; do
    touch $place/evil 2>/dev/null && echo "evil: $place"
done
cat PLACE/operator/id 2>/dev/null && echo "evil: read"
ls PLACE 2>/dev/null && echo "evil: listed"
touch "$1/mine" "$2/mine" "$HOME/mine" "$TMPDIR/mine" && cat "$3/SECRET" && echo " tried as $(id -u)"
"#;

#[test]
fn a_build_of_somebody_who_is_not_root_is_kept_apart_from_what_is_theirs() {
    let place = Place::new();
    let at = |name: &str| place.path(name).display().to_string();
    write(&place.path("operator"), &[("id", "hunter2-operator")]);
    write(&place.path("source"), &[("Procfile", "web: x\n"), (".env", "SECRET=hunter2-app")]);
    let script = CURIOUS.replace("PLACE", &place.directory.path().display().to_string());
    write(&place.path("pack"), &[("bin/detect", "#!/bin/sh\necho Curious\n"), ("bin/compile", &script)]);
    fs::create_dir(place.path("run")).unwrap();
    crate::binary::copy_busbar(&place.path("busbar"));
    let mut command = if rustix::process::geteuid().is_root() {
        let own = Command::new("chown").args(["-R", "65534:65534"]).arg(place.directory.path()).status();
        assert!(own.unwrap().success());
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(place.path("busbar"));
        command
    } else {
        Command::new(place.path("busbar"))
    };
    command.args([
        "build",
        &at("source"),
        "--app",
        &place.app,
        "-o",
        &at("app.slug"),
        "--cache",
        &at("cache"),
    ]);
    command.args(["-b", &at("pack"), "--isolation", "user"]).env_clear().env("HOME", place.directory.path());
    command.env("PATH", "/usr/bin:/bin").env("XDG_RUNTIME_DIR", place.path("run"));
    let output = command.output().unwrap();
    let (said, complained) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    if complained.contains("isolation user cannot be had") || complained.contains("namespaces") {
        return skipped(&complained);
    }
    assert_eq!(output.status.code(), Some(0), "{said}{complained}");
    assert!(!said.contains("evil: "), "{said}");
    assert!(said.contains("hunter2-app tried as 1000\n"), "{said}");
    // All is the operator's, and nothing is left but what was asked for.
    let owner = fs::metadata(place.directory.path()).unwrap().uid();
    assert_eq!(fs::metadata(place.path("cache/mine")).unwrap().uid(), owner);
    assert!(
        place.path("app.slug").exists()
            && !place.path("run/busbar").join(format!("build-{}", place.app)).exists()
    );
    assert!(!place.path("evil").exists());
}

#[test]
fn a_build_that_fills_its_disk_has_no_space_left_and_its_cache_is_kept_when_it_fits() {
    if !can_build_apart() {
        return;
    }
    if !Path::new("/dev/loop-control").exists() {
        return skipped("this machine has no loop devices");
    }
    let place = Place::new();
    let source = write(&place.path("source"), &[("Procfile", "web: x\n")]);
    let fill = "#!/bin/bash\nfor place in \"$1\" \"$2\" \"$HOME\" \"$TMPDIR\"; do\n\
                head -c 100000000 /dev/zero > \"$place/big\"; echo \"filled $(stat -c %s \"$place/big\")\"; rm \"$place/big\"\n\
                done\necho \"found $(cat \"$2/deep/kept\")\"; mkdir -p \"$2/deep\"; echo again > \"$2/deep/kept\"\n\
                ln -sfn /etc \"$2/link\"; rm -f \"$2/pipe\"; mkfifo \"$2/pipe\"\n";
    let pack = write(&place.path("pack"), &[("bin/detect", "#!/bin/sh\necho Fill\n"), ("bin/compile", fill)]);
    let pack = pack.display().to_string();
    let flags = ["-b", &pack, "--isolation", "full", "--network", "inbound", "--disk", "24MiB"];
    for found in ["found ", "found again"] {
        let ended = built(&place, &source, &flags);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(ended.out.matches("No space left on device").count(), 4, "{ended:?}");
        let filled = ended.out.lines().filter_map(|line| line.strip_prefix("filled ")?.parse().ok());
        assert!(
            filled.clone().count() == 4 && filled.into_iter().all(|size: u64| size < 24 << 20),
            "{ended:?}"
        );
        assert!(ended.out.lines().any(|line| line == found), "{ended:?}");
    }
    let mut kept: Vec<_> =
        fs::read_dir(place.path("cache")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    kept.sort();
    assert_eq!(kept, ["deep", "link"], "a pipe is nothing to keep");
    fs::remove_file(place.path("app.slug")).unwrap();
    let said = built(&place, &source, &["--disk", "24MiB"]).err;
    assert!(said.contains("a disk of a dyno's own needs isolation full"), "{said}");
}

#[test]
fn directories_deeper_than_any_path_are_gone_with_the_build_that_made_them() {
    for level in levels() {
        let place = Place::new();
        let source = write(&place.path("source"), &[("Procfile", "web: x\n")]);
        let deep = "#!/usr/bin/env python3\nimport os, sys\n\
                    for place in sys.argv[2], os.environ['HOME']:\n    os.chdir(place)\n    for _ in range(60):\n        \
                    os.mkdir('d' * 200)\n        os.chdir('d' * 200)\n";
        let pack =
            write(&place.path("pack"), &[("bin/detect", "#!/bin/sh\necho Deep\n"), ("bin/compile", deep)]);
        let ended = built(&place, &source, &["-b", &pack.display().to_string(), "--isolation", level]);
        assert_eq!(ended.code, Some(0), "{level}: {ended:?}");
        assert!(
            ended.out.contains("cache had more than") && ended.out.contains("and was emptied"),
            "{ended:?}"
        );
        assert_eq!(fs::read_dir(place.path("cache")).unwrap().count(), 0);
    }
}

#[test]
fn a_program_with_the_set_user_id_bit_gets_to_nobody() {
    let Some(level) = levels().into_iter().find(|level| *level != "plain") else {
        return skipped("there is no other isolation than plain here");
    };
    let place = Place::new();
    let source = write(&place.path("source"), &[("Procfile", "web: x\n")]);
    let pack = write(
        &place.path("pack"),
        &[
            ("bin/detect", "#!/bin/sh\necho Pack\n"),
            ("bin/compile", "#!/bin/sh\ncp /bin/true \"$1/program\"; chmod 4755 \"$1/program\"\n"),
        ],
    );
    let pack = pack.display().to_string();
    let flags = ["-b", &pack, "--isolation", level];
    let ended = built(&place, &source, &flags);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let list = format!("zstd -dc {} | tar tvf - app/program", place.path("app.slug").display());
    let listed = Command::new("sh").args(["-c", &list]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.starts_with("-rwxr-xr-x 0/0 "), "no slug has set-user-ID programs: {listed}");
    // Others could execute what a build leaves there.
    fs::set_permissions(place.path("cache"), fs::Permissions::from_mode(0o755)).unwrap();
    let refused = build(&place, &source, &flags).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("is not for its owner alone") && said.contains("chmod 700"), "{said}");
}

#[test]
fn a_level_that_cannot_be_had_is_refused_before_anything_is_built() {
    let place = Place::new();
    let source = write(&place.path("source"), &[("Procfile", "web: x\n")]);
    let pack = write(&place.path("pack"), &[("bin/detect", "#!/bin/sh\necho x > /tmp/ran\n")]);
    let (level, why) = if rustix::process::geteuid().is_root() {
        ("user", "isolation user cannot be had: that is not for root; take isolation full")
    } else {
        ("full", "isolation full cannot be had: only root can do that; take isolation user")
    };
    let ended = built(&place, &source, &["-b", &pack.display().to_string(), "--isolation", level]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    assert!(ended.err.contains(why), "{ended:?}");
}
