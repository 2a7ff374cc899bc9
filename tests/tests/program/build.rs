//! Source becomes a slug by buildpacks, and the slug an app.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Signal;

use crate::{
    binary::write_script,
    busbar::{Busbar, Ended, Place, groups_of, processes_of},
    wait::until,
};

/// Writes files; what is in a `bin` can be executed.
pub(crate) fn write(directory: &Path, files: &[(&str, &str)]) -> PathBuf {
    for (name, text) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if name.contains("bin/") {
            write_script(&path, text);
        } else {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        }
    }
    directory.to_owned()
}

/// `busbar build` with these flags, not run yet; its slug is `app.slug` in the place.
pub(crate) fn build(place: &Place, source: &Path, flags: &[&str]) -> Command {
    let mut command = place.command(&["build", &source.display().to_string(), "--app", &place.app]);
    command.arg("-o").arg(place.path("app.slug")).arg("--cache").arg(place.path("cache")).args(flags);
    // Where its own directories are is seen by the test.
    fs::create_dir_all(place.path("tmp")).unwrap();
    command.env("TMPDIR", place.path("tmp"));
    command
}

pub(crate) fn built(place: &Place, source: &Path, flags: &[&str]) -> Ended {
    let output = build(place, source, flags).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let ended = Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
    assert_eq!(
        fs::read_dir(place.path("tmp")).unwrap().count(),
        0,
        "the build left its directory: {ended:?}"
    );
    let instance = format!("build-{}", place.app);
    assert_eq!(processes_of(&instance), [] as [i32; 0]);
    assert_eq!(groups_of(&instance), [] as [PathBuf; 0]);
    assert_eq!(kept_of(place), [] as [PathBuf; 0]);
    assert_eq!(place.path("app.slug").exists(), ended.code == Some(0), "{ended:?}");
    ended
}

/// How builds can be kept apart here, and as they are by default.
pub(crate) fn levels() -> Vec<&'static str> {
    let other = if rustix::process::geteuid().is_root() { "full" } else { "user" };
    let report = Place::new().verb(&["doctor", "--json"]).json();
    let name = format!("isolation {other}");
    let can = report.as_array().unwrap().iter().any(|probe| probe["name"] == name && probe["there"] == true);
    if can { vec!["plain", other] } else { vec!["plain"] }
}

/// What a build keeps on the machine while it goes on, besides its groups.
fn kept_of(place: &Place) -> Vec<PathBuf> {
    let instance = format!("build-{}", place.app);
    let kept = [Path::new("/run/busbar"), &place.path("busbar"), Path::new("/var/lib/busbar")];
    kept.into_iter().map(|place| place.join(&instance)).filter(|path| path.exists()).collect()
}

fn up(place: Place) -> Busbar {
    let (slug, store) = (place.path("app.slug"), place.path("slugs").display().to_string());
    place.up(&slug, &["--slug-store", &store])
}

#[test]
fn a_site_of_files_is_built_and_served_by_our_own_buildpack() {
    let place = Place::new();
    let source = write(
        &place.path("site"),
        &[
            ("public/index.html", "<h1>home</h1>"),
            ("public/about.html", "about"),
            ("public/docs/index.html", "docs"),
            ("public/app.mjs", "export {}"),
            ("public/404.html", "our own page"),
            ("public/.secret", "hunter2"),
            ("secret.txt", "hunter2"),
        ],
    );
    std::os::unix::fs::symlink("/etc/passwd", source.join("public/passwd")).unwrap();
    let ended = built(&place, &source, &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.out.starts_with("-----> Static site app detected\n-----> Serving the files in public\n"),
        "{ended:?}"
    );
    assert!(ended.out.contains("web: python3 .busbar/static/server.py"), "{ended:?}");

    let busbar = up(place);
    busbar.runs(&["web.1"]);
    for (path, status, body) in [
        ("/", 200, "<h1>home</h1>"),
        ("/about", 200, "about"),
        ("/docs/", 200, "docs"),
        ("/docs", 301, ""),
        ("//evil.example/..//docs", 404, "our own page"),
        ("/nothing", 404, "our own page"),
        ("/.secret", 404, "our own page"),
        ("/../secret.txt", 404, "our own page"),
        ("/%2e%2e/secret.txt", 404, "our own page"),
        ("/passwd", 404, "our own page"),
    ] {
        assert_eq!(busbar.get("site.example", path), (status, body.to_owned()), "{path}");
    }
    let url = format!("http://{}/app.mjs", busbar.address);
    let curl = |flags: &[&str]| {
        let output = Command::new("curl")
            .args(["-s", "-i", "--max-time", "20"])
            .args(flags)
            .arg(&url)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let whole = curl(&[]);
    assert!(whole.starts_with("HTTP/1.1 200 ") && whole.ends_with("export {}"), "{whole}");
    assert!(whole.contains("text/javascript; charset=utf-8"), "{whole}");
    let etag = whole.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap().trim();
    assert!(curl(&["-H", &format!("If-None-Match: {etag}")]).starts_with("HTTP/1.1 304 "));
    let part = curl(&["-H", "Range: bytes=0-5"]);
    assert!(part.starts_with("HTTP/1.1 206 ") && part.ends_with("\r\n\r\nexport"), "{part}");
    assert!(curl(&["-H", "Range: bytes=99-"]).starts_with("HTTP/1.1 416 "));
}

/// A wheel, which is a zip file, made by Python's own tools.
const WHEEL: &str = r#"
import os, sys, zipfile
os.makedirs(sys.argv[1])
files = {
    "greeting/__init__.py": "def hello(): return 'hello from a wheel'\n",
    "greeting-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n",
    "greeting-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
files["greeting-1.0.dist-info/RECORD"] = "".join(f"{name},,\n" for name in [*files, "greeting-1.0.dist-info/RECORD"])
with zipfile.ZipFile(os.path.join(sys.argv[1], "greeting-1.0-py3-none-any.whl"), "w") as wheel:
    for name, text in files.items():
        wheel.writestr(name, text)
"#;

const APP: &str = r#"
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
import greeting

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = f"{greeting.hello()} {os.environ['HOME'] == os.getcwd()} {os.environ.get('COUNT')}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

HTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
"#;

#[test]
fn a_python_app_is_built_from_a_folder_of_wheels_and_runs_with_its_profile_read_once() {
    let place = Place::new();
    if Command::new("python3")
        .args(["-m", "pip", "--version"])
        .output()
        .is_ok_and(|ended| !ended.status.success())
    {
        let install = "apt-get -o DPkg::Lock::Timeout=120 install -y -q python3-pip";
        let installed = Command::new("sh").args(["-c", install]).status().unwrap();
        assert!(installed.success(), "python3 needs pip for this test");
    }
    let source = write(
        &place.path("source"),
        &[("requirements.txt", "greeting==1.0\n"), ("app.py", APP), (".profile", "export COUNT=x$COUNT\n")],
    );
    let made = Command::new("python3").args(["-c", WHEEL]).arg(source.join("wheels")).status().unwrap();
    assert!(made.success());
    let ended = built(&place, &source, &["--source-version", "abc"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for line in [
        "-----> Python app detected\n",
        "-----> Installing requirements from the folder wheels\n",
        "-----> Done\n",
    ] {
        assert!(ended.out.contains(line), "{ended:?}");
    }
    assert!(ended.out.ends_with("\nweb: python3 app.py\n"), "{ended:?}");
    // Nothing was written to the source.
    assert_eq!(fs::read_dir(&source).unwrap().count(), 4);
    // The same source is the same slug.
    let slug = fs::read(place.path("app.slug")).unwrap();
    fs::remove_file(place.path("app.slug")).unwrap();
    assert_eq!(built(&place, &source, &["--source-version", "abc"]).code, Some(0));
    assert!(fs::read(place.path("app.slug")).unwrap() == slug, "another slug of the same source");

    let mut busbar = up(place);
    busbar.runs(&["web.1"]);
    assert_eq!(busbar.get("app.example", "/"), (200, "hello from a wheel True x".to_owned()));
    busbar.signal(Signal::INT);
    busbar.ended();
    busbar.left_nothing();
}

/// A buildpack that says what it is given. `grep` does not find its own argument list: what is in that is no match.
const TALKATIVE: [(&str, &str); 3] = [
    ("bin/detect", "#!/bin/sh\n[ -f \"$1/first.txt\" ] && echo First\n"),
    (
        "bin/compile",
        "#!/bin/sh\necho \"-----> Compiling for $STACK at $SOURCE_VERSION\"\necho \"       args $#, secret in environment: ${SECRET:-no}\"\n\
         echo \"       secret in file: $(cat \"$3/SECRET\"), mode $(stat -c %a \"$3/SECRET\")\"\n\
         echo \"       in an argument list: $(cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c '[h]unter2-xyz')\"\n\
         echo \"       built $(cat \"$2/count\" 2>/dev/null | wc -l) times before\"; echo x >> \"$2/count\"\n\
         echo 'export FROM_FIRST=yes PATH=/opt/first:$PATH' > \"$(dirname \"$0\")/../export\"\n\
         mkdir -p \"$1/.profile.d\"; echo 'echo profile of first' > \"$1/.profile.d/first.sh\"\nsleep 1000 &\n",
    ),
    ("bin/release", "#!/bin/sh\nprintf 'default_process_types:\\n  web: never\\n'\n"),
];
const SECOND: [(&str, &str); 3] = [
    ("bin/detect", "#!/bin/sh\necho Second\n"),
    ("bin/compile", "#!/bin/sh\necho \"-----> From first: $FROM_FIRST ${PATH%%:*}\"; echo oops >&2\n"),
    (
        "bin/release",
        "#!/bin/sh\necho --- \necho 'addons: [postgresql]'\necho 'config_vars: {GIVEN: given, MINE: theirs}'\n\
         echo 'default_process_types: {worker: \"echo $GIVEN $MINE; exec sleep 1000\", other: other}'\n",
    ),
];

#[test]
fn buildpacks_follow_each_other_in_order_and_are_given_what_herokus_are() {
    for level in levels() {
        follow_each_other(level);
    }
}

fn follow_each_other(level: &str) {
    let place = Place::new();
    let source = write(
        &place.path("source"),
        &[
            ("first.txt", ""),
            (".env", "SECRET=hunter2-xyz\n"),
            ("Procfile", "other: mine\n"),
            (
                "app.json",
                r#"{"buildpacks":[{"url":"../first"},{"url":"../second"}],"formation":{"worker":{"quantity":1}}}"#,
            ),
        ],
    );
    write(&place.path("first"), &TALKATIVE);
    write(&place.path("second"), &SECOND);
    let ended = built(&place, &source, &["--source-version", "abc123", "--isolation", level]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let stack = ended.out.lines().find_map(|line| line.strip_prefix("stack:")).unwrap().trim();
    let (said, shown) = ended.out.split_once("\n===").unwrap();
    let mut said: Vec<_> = said.lines().collect();
    let oops = said.iter().position(|line| *line == "oops").expect("standard error is said, too");
    said.remove(oops);
    assert_eq!(
        said,
        [
            "-----> First app detected",
            "-----> Second app detected",
            &format!("-----> Compiling for {stack} at abc123"),
            "       args 3, secret in environment: no",
            "       secret in file: hunter2-xyz, mode 600",
            "       in an argument list: 0",
            "       built 0 times before",
            "-----> From first: yes /opt/first",
        ]
    );
    assert!(shown.contains("packs:    First, Second\n"), "{shown}");
    assert!(shown.contains("other: mine\n") && !shown.contains("web: never"), "{shown}");
    assert!(ended.err.contains("asks for the add-ons postgresql"), "{ended:?}");
    // The cache is the app's.
    let again = built(&place, &source, &["--isolation", level]);
    assert!(again.out.contains("built 1 times before"), "{again:?}");

    let vars = place.write("vars", "MINE=mine\n").display().to_string();
    let (slug, store) = (place.path("app.slug"), place.path("slugs").display().to_string());
    let busbar = place.up(&slug, &["--slug-store", &store, "--env-file", &vars]);
    busbar.out.line("given mine");
    let profiles = busbar.out.lines().iter().filter(|line| line.contains("profile of first")).count();
    assert_eq!(profiles, 1);
}

#[test]
fn a_build_that_fails_says_which_step_of_which_buildpack_and_how() {
    let place = Place::new();
    let source = write(&place.path("source"), &[("x", "")]);
    let pack = place.path("broken");
    let fails_within = |timeout: &str, files: &[(&str, &str)]| {
        let _not_there = fs::remove_dir_all(&pack);
        write(&pack, files);
        let ended =
            built(&place, &source, &["--buildpack", &pack.display().to_string(), "--timeout", timeout]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        ended.err
    };
    let fails = |files: &[(&str, &str)]| fails_within("60s", files);
    let (detect, compile) =
        (("bin/detect", "#!/bin/sh\necho Broken\n"), ("bin/compile", "#!/bin/sh\necho no >&2; exit 7\n"));
    let good = ("bin/compile", "#!/bin/sh\ntrue\n");
    assert!(fails(&[detect, compile]).contains("bin/compile of buildpack broken ended with status 7"));
    let killed = ("bin/compile", "#!/bin/sh\nkill -9 $$\n");
    assert!(fails(&[detect, killed]).contains("ended with signal 9"));
    assert!(fails(&[detect]).contains("buildpack broken has no bin/compile that can be executed"));
    let said = fails(&[("bin/detect", "#!/bin/sh\nexit 1\n"), good]);
    assert!(said.contains("the app is none for buildpack broken"), "{said}");
    let said = fails(&[detect, good, ("bin/release", "#!/bin/sh\necho 'web: x'\n")]);
    assert!(said.contains("buildpack broken: bin/release:1: there is no key \"web\""), "{said}");
    assert!(fails(&[detect, good]).contains("has no Procfile"));
    // Its children are gone with it; `built` looks.
    let hangs = ("bin/compile", "#!/bin/sh\nsleep 1000 & sleep 1000\n");
    assert!(
        fails_within("5s", &[detect, hangs])
            .contains("bin/compile of buildpack broken was not done when the build's 5 s were over")
    );
    // Nobody knows what it is: who was asked is told.
    let ended = built(&place, &source, &[]);
    assert!(ended.err.contains("no buildpack knows what this app is; asked: python, static"), "{ended:?}");
    let ended = built(&place, &source, &["--buildpack", "heroku/ruby"]);
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.err.contains("there is no buildpack \"heroku/ruby\": name one of python, static"),
        "{ended:?}"
    );
}

#[test]
fn a_build_that_is_interrupted_leaves_nothing_and_one_that_is_killed_is_swept_by_the_next() {
    for level in levels() {
        interrupted_and_killed(level);
    }
}

fn interrupted_and_killed(level: &str) {
    let place = Place::new();
    let source = write(&place.path("source"), &[("Procfile", "web: x\n")]);
    let pack = write(
        &place.path("slow"),
        &[
            ("bin/detect", "#!/bin/sh\necho Slow\n"),
            (
                "bin/compile",
                "#!/bin/sh\n[ -f \"$1/quick\" ] && exit 0\necho working; touch \"$2/works\"; sleep 1000\n",
            ),
        ],
    );
    let flag = pack.display().to_string();
    let group = format!("build-{}", place.app);
    let start = || build(&place, &source, &["--buildpack", &flag, "--isolation", level]).spawn().unwrap();

    let mut child = start();
    until("it works", || place.path("cache/works").exists().then_some(()));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(fs::read_dir(place.path("tmp")).unwrap().count(), 0);
    assert_eq!(processes_of(&group), [] as [i32; 0]);
    assert_eq!(groups_of(&group), [] as [PathBuf; 0]);
    assert_eq!(kept_of(&place), [] as [PathBuf; 0]);
    fs::remove_file(place.path("cache/works")).unwrap();

    let mut child = start();
    until("it works", || place.path("cache/works").exists().then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    until("its processes are seen", || (!processes_of(&group).is_empty()).then_some(()));
    assert_eq!(fs::read_dir(place.path("tmp")).unwrap().count(), 1);
    fs::write(source.join("quick"), "").unwrap();
    let swept = built(&place, &source, &["--buildpack", &flag, "--isolation", level]);
    assert_eq!(swept.code, Some(0), "{swept:?}");
}
