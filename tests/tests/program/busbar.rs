//! Runs the program, and leaves nothing of it behind, however the test ends.
//!
//! - [`Place`]: a directory and a name of its own for each test. [`Busbar`]: one that runs, started by [`Place::up`] or
//!   [`Place::router`]. [`Place::verb`]: one that ends by itself.
//! - [`Dyno`]: what `ps` says. [`processes_of`], [`groups_of`]: what the system says.

use std::{
    fs,
    io::{Read, Write},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use it::Wire;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    binary,
    wait::{PATIENCE, Said, until},
};

/// A directory for sockets and files, and an app's name, that no other test has.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
    /// Also the name of the runtime's state directory and control group.
    pub(crate) app: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = tempfile::Builder::new().prefix("busbar-it-").tempdir().expect("a directory");
        Self { directory, app: format!("it-{}-{number}", std::process::id()) }
    }

    /// A path in the directory.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    /// Writes a file in the directory.
    pub(crate) fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.path(file);
        fs::write(&path, text).expect("it can be written");
        path
    }

    /// A directory with this Procfile.
    pub(crate) fn app_with(&self, procfile: &str) -> PathBuf {
        let app = self.path("app");
        fs::create_dir_all(&app).expect("it can be made");
        fs::write(app.join("Procfile"), procfile).expect("it can be written");
        app
    }

    pub(crate) fn admin(&self) -> PathBuf {
        self.path("admin.sock")
    }

    /// `busbar` with these arguments, not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary::busbar());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("BUSBAR_") {
                command.env_remove(name);
            }
        }
        command.env("BUSBAR_ADMIN", format!("unix:{}", self.admin().display()));
        command.env("XDG_RUNTIME_DIR", self.directory.path());
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end.
    pub(crate) fn verb(&self, arguments: &[&str]) -> Ended {
        let output = self.command(arguments).output().expect("busbar can be run");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it says text");
        Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// `busbar up` for this directory, with a port of its own and these flags; returns when it takes requests.
    pub(crate) fn up(self, app: &Path, flags: &[&str]) -> Busbar {
        let name = self.app.clone();
        let app = app.display().to_string();
        let mut arguments = vec!["up", &app, "--app", &name, "--listen", "127.0.0.1:0"];
        arguments.extend(flags);
        let command = self.command(&arguments);
        Busbar::start(self, command)
    }

    /// `busbar router` with this configuration, which listens on port 0.
    pub(crate) fn router(self, config: &str, flags: &[&str]) -> Busbar {
        let file = self.write("edge.toml", config).display().to_string();
        let mut arguments = vec!["router", "--config", &file];
        arguments.extend(flags);
        let command = self.command(&arguments);
        Busbar::start(self, command)
    }
}

/// An app of this repository.
pub(crate) fn app(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(path)
}

/// How a verb ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// Its output, which must be JSON.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Its output, if it went well.
    #[track_caller]
    pub(crate) fn said(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self.out
    }

    /// Fails unless it failed with this code and said nothing on standard output.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!((self.code, self.out.as_str()), (Some(code), ""), "{}", self.err);
        self.err
    }
}

/// A `busbar` that runs.
pub(crate) struct Busbar {
    pub(crate) place: Place,
    pub(crate) address: SocketAddr,
    /// Standard output.
    pub(crate) out: Said,
    /// Standard error.
    pub(crate) err: Said,
    child: Child,
}

/// One dyno, as `ps` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dyno {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) pid: i32,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) crashes: u64,
}

impl Busbar {
    /// Starts it, and returns when it takes requests.
    pub(crate) fn start(place: Place, command: Command) -> Self {
        let mut busbar = Self::spawn(place, command);
        busbar.address = busbar.err.find("address", |line| {
            let (_, address) = line.strip_prefix("busbar: ")?.rsplit_once("http://")?;
            address.split(' ').next()?.parse().ok()
        });
        busbar
    }

    /// Starts it. It has no address.
    pub(crate) fn spawn(place: Place, mut command: Command) -> Self {
        let mut child = command.spawn().expect("busbar can be run");
        let out = Said::listen(child.stdout.take().expect("it is piped"));
        let err = Said::listen(child.stderr.take().expect("it is piped"));
        Self { place, address: ([127, 0, 0, 1], 0).into(), out, err, child }
    }

    /// A client, connected.
    pub(crate) fn client(&self) -> Wire {
        Wire::connect(self.address)
    }

    /// The status and the body of a GET.
    pub(crate) fn get(&self, host: &str, target: &str) -> (u16, String) {
        let mut client = self.client();
        get(&mut client, host, target)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends it, and only it, a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it runs");
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        until("busbar ends", || self.child.try_wait().expect("it is ours"))
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is ours").is_some()
    }

    /// Asks it through another `busbar`.
    pub(crate) fn verb(&self, arguments: &[&str]) -> Ended {
        self.place.verb(arguments)
    }

    /// The status and the body of `GET path` from the admin API.
    pub(crate) fn admin(&self, path: &str) -> Option<(u16, String)> {
        let socket = UnixStream::connect(self.place.admin()).ok()?;
        exchange(socket, &format!("GET {path} HTTP/1.1\r\nHost: busbar\r\nConnection: close\r\n\r\n"))
    }

    /// Its dynos.
    pub(crate) fn ps(&self) -> Vec<Dyno> {
        let (_, body) = self.admin("/v1/ps").expect("the admin API answers");
        let groups: Value = serde_json::from_str(&body).expect("JSON");
        let groups = groups.as_array().expect("groups").iter();
        let dynos = groups.flat_map(|group| group["dynos"].as_array().expect("dynos"));
        dynos.map(Dyno::read).collect()
    }

    /// Waits until these dynos run and no others, in this order; the web dynos are registered then.
    #[track_caller]
    pub(crate) fn runs(&self, names: &[&str]) -> Vec<Dyno> {
        let web = names.iter().filter(|name| name.starts_with("web.")).count();
        let what = format!("{names:?} are up");
        until(&what, || {
            let dynos = self.ps();
            let all_up = dynos.iter().all(|dyno| dyno.state == "up" && dyno.pid > 0);
            let right = dynos.iter().map(|dyno| dyno.name.as_str()).eq(names.iter().copied());
            (all_up && right && self.registered() == (web, 0)).then_some(dynos)
        })
    }

    /// The same where the router is elsewhere.
    #[track_caller]
    pub(crate) fn runs_elsewhere(&self, names: &[&str]) -> Vec<Dyno> {
        until(&format!("{names:?} are up"), || {
            // It may not listen yet.
            self.admin("/health")?;
            let dynos = self.ps();
            let all_up = dynos.iter().all(|dyno| dyno.state == "up" && dyno.pid > 0);
            let right = dynos.iter().map(|dyno| dyno.name.as_str()).eq(names.iter().copied());
            (all_up && right).then_some(dynos)
        })
    }

    /// How many dynos get requests, and how many only finish theirs.
    pub(crate) fn registered(&self) -> (usize, usize) {
        let (_, body) = self.admin("/v1/state").expect("the admin API answers");
        let state: Value = serde_json::from_str(&body).expect("JSON");
        let dynos = state["snapshot"]["dynos"].as_array().expect("dynos");
        let up = dynos.iter().filter(|dyno| dyno["state"] == "up").count();
        (up, dynos.len() - up)
    }

    /// Fails if a process, a control group or the admin socket is left of what has ended.
    pub(crate) fn left_nothing(&self) {
        let app = &self.place.app;
        assert_eq!(processes_of(app), [] as [i32; 0], "processes of {app}");
        assert_eq!(first_processes_of(app), [] as [i32; 0], "first processes of {app}");
        assert_eq!(groups_of(app), [] as [PathBuf; 0], "control groups of {app}");
        assert!(!self.place.admin().exists(), "the admin socket is left");
    }
}

impl Dyno {
    fn read(dyno: &Value) -> Self {
        let text = |key: &str| dyno[key].as_str().expect("a text").to_owned();
        Self {
            name: text("name"),
            state: text("state"),
            pid: dyno["pid"].as_i64().map_or(0, |pid| i32::try_from(pid).expect("a pid")),
            address: dyno["address"].as_str().and_then(|address| address.parse().ok()),
            crashes: dyno["crashes"].as_u64().unwrap_or(0),
        }
    }

    /// SIGKILL to all its processes: its first one leads a process group.
    pub(crate) fn kill(&self) {
        let group = Pid::from_raw(self.pid).expect("a pid");
        kill_process_group(group, Signal::KILL).expect("it runs");
    }
}

impl Drop for Busbar {
    /// Asks it to end, twice; then takes what is left by force.
    fn drop(&mut self) {
        let ends_within = |child: &mut Child, tenths: u32| {
            (0..tenths).any(|_| {
                let ended = !matches!(child.try_wait(), Ok(None));
                if !ended {
                    std::thread::sleep(PATIENCE / 600);
                }
                ended
            })
        };
        for tenths in [100, 20] {
            if !ends_within(&mut self.child, 1) {
                let _gone = kill_process(self.pid(), Signal::TERM);
                ends_within(&mut self.child, tenths);
            }
        }
        let _ended = self.child.kill();
        let _ended = self.child.wait();
        clean(&self.place);
    }
}

/// Kills what carries the mark of the app's dynos and their first processes, and removes its groups and its state.
fn clean(place: &Place) {
    let all = processes_of(&place.app).into_iter().chain(first_processes_of(&place.app));
    for pid in all.filter_map(Pid::from_raw) {
        let _gone = kill_process(pid, Signal::KILL);
    }
    for group in groups_of(&place.app) {
        let below = fs::read_dir(&group).into_iter().flatten().flatten().map(|entry| entry.path());
        for directory in below.filter(|path| path.is_dir()).chain([group.clone()]) {
            let _busy_or_gone = fs::remove_dir(directory);
        }
    }
    let _not_there = fs::remove_dir_all(Path::new("/run/busbar").join(&place.app));
}

/// The status and the body of a GET on this connection.
pub(crate) fn get(client: &mut Wire, host: &str, target: &str) -> (u16, String) {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n\r\n"));
    let response = client.response();
    (response.status(), response.text())
}

/// The status and the body of the answer to a request that says `Connection: close`; nothing if there is none.
pub(crate) fn exchange(mut socket: impl Read + Write, request: &str) -> Option<(u16, String)> {
    socket.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// The processes that carry the mark of the app's dynos.
pub(crate) fn processes_of(app: &str) -> Vec<i32> {
    let mark = format!("BUSBAR_DYNO_INSTANCE={app}/").into_bytes();
    let carries = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(&mark))
    };
    let all = fs::read_dir("/proc").expect("/proc").flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(carries).collect()
}

/// The first processes of the app's dynos: they carry no mark, and each holds the file where it tells how its dyno ended, as
/// a runtime may too.
pub(crate) fn first_processes_of(app: &str) -> Vec<i32> {
    let below = format!("/{app}/dynos/");
    let holds = |pid: &i32| {
        fs::read_link(format!("/proc/{pid}/fd/3")).is_ok_and(|file| file.to_string_lossy().contains(&below))
    };
    let is_first =
        |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "dyno-init\n");
    let all = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_first(pid) && holds(pid)).collect()
}

/// The control groups of the app's runtime, in all hierarchies.
pub(crate) fn groups_of(app: &str) -> Vec<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").expect("/proc");
    let below = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) =
            (parts.next()?.to_owned(), parts.next()?.trim_start_matches('/').to_owned());
        let name = if controllers.is_empty() { "unified" } else { controllers.trim_start_matches("name=") };
        let mounts = [Path::new("/sys/fs/cgroup").join(name), PathBuf::from("/sys/fs/cgroup")];
        Some(mounts.into_iter().flat_map(move |mount| [mount.join(&path), mount]))
    };
    let places = own.lines().filter_map(below).flatten().map(|place| place.join("busbar").join(app));
    let mut there: Vec<_> = places.filter(|group| group.exists()).collect();
    there.dedup();
    there
}
