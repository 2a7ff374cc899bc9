//! The program: started, asked, told to publish other routes, stopped; and its log.

use std::{
    collections::BTreeMap,
    env, fmt, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// What the process has at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) rss_kib: u64,
    pub(crate) files: u64,
}

/// One line of its log.
#[derive(Debug)]
pub(crate) struct Logged {
    pub(crate) status: u16,
    pub(crate) code: Option<String>,
}

impl fmt::Display for Logged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.code.as_deref().unwrap_or("at=info"))
    }
}

pub(crate) struct Router {
    process: Child,
    folder: TempDir,
    pub(crate) address: SocketAddr,
    token: String,
}

impl Router {
    pub(crate) fn start(busbar: &Path) -> Self {
        let folder = TempDir::new().expect("a folder");
        let key = folder.path().join("key");
        let made = Command::new(busbar).args(["token", "soak", "--new-key", "--key-file"]).arg(&key).output();
        let token = String::from_utf8(made.expect("busbar runs").stdout).expect("text").trim().to_owned();
        // Free now; nobody else here asks for ports in this moment.
        let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        let config = folder.path().join("busbar.toml");
        fs::write(&config, configuration(folder.path(), free, 0)).expect("a file");
        let us = env::current_exe().expect("this program has a path");
        let process = Command::new(us)
            .args([Path::new("launch"), busbar, Path::new("router"), Path::new("--config"), &config])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("errors")).expect("a file"))
            .spawn()
            .expect("it starts");
        let router = Self { process, folder, address: free, token };
        let until = Instant::now() + Duration::from_secs(10);
        while UnixStream::connect(router.path("registry.sock")).is_err()
            || std::net::TcpStream::connect(free).is_err()
        {
            assert!(Instant::now() < until, "the router does not come up");
            std::thread::sleep(Duration::from_millis(20));
        }
        router
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw).expect("an id");
        kill_process(pid, signal).expect("it runs");
    }

    /// Publishes other routes: one more domain, another balance.
    pub(crate) fn publish(&self, number: u64) {
        fs::write(self.path("next"), configuration(self.folder.path(), self.address, number))
            .expect("a file");
        fs::rename(self.path("next"), self.path("busbar.toml")).expect("a file");
        self.signal(Signal::HUP);
    }

    pub(crate) fn sample(&self) -> Sample {
        let of = format!("/proc/{}", self.process.id());
        let status = fs::read_to_string(format!("{of}/status")).expect("the router lives");
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        let rss_kib = rss.trim().trim_end_matches(" kB").parse().expect("a number");
        Sample { rss_kib, files: fs::read_dir(format!("{of}/fd")).expect("a folder").count() as u64 }
    }

    /// The errors it has complained about, a bug among them.
    pub(crate) fn errors(&self) -> Vec<String> {
        let said = fs::read_to_string(self.path("errors")).unwrap_or_default();
        said.lines()
            .filter(|line| line.contains("ERROR") || line.contains("panicked"))
            .map(str::to_owned)
            .collect()
    }

    /// Asks the registry.
    pub(crate) fn registry(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        self.ask("registry.sock", method, path, body)
    }

    /// What it says about itself.
    pub(crate) fn state(&self) -> Value {
        self.ask("admin.sock", "GET", "/v1/state", "").1
    }

    fn ask(&self, socket: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut socket = UnixStream::connect(self.path(socket)).expect("it listens");
        write!(
            socket,
            "{method} {path} HTTP/1.1\r\nHost: busbar\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        )
        .expect("it reads");
        let mut text = String::new();
        socket.read_to_string(&mut text).expect("it answers");
        let (head, answer) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.get(9..12).and_then(|status| status.parse().ok()).expect("a status");
        (status, serde_json::from_str(answer).unwrap_or_default())
    }

    /// Ends it in order; what it has logged, by request.
    pub(crate) fn stop(mut self) -> BTreeMap<String, Vec<Logged>> {
        self.signal(Signal::TERM);
        let ended = self.process.wait().expect("it ends");
        assert!(ended.success(), "{ended}");
        let log = fs::File::open(self.path("access.log")).expect("a log");
        let mut logged: BTreeMap<String, Vec<Logged>> = BTreeMap::new();
        for line in BufReader::new(log).lines() {
            let line = line.expect("text");
            let field = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name));
            let id = field("request_id=").expect("an id").to_owned();
            let status = field("status=").and_then(|status| status.parse().ok()).unwrap_or_default();
            logged.entry(id).or_default().push(Logged { status, code: field("code=").map(str::to_owned) });
        }
        logged
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

fn configuration(folder: &Path, listen: SocketAddr, number: u64) -> String {
    let folder = folder.display();
    let balances = ["least", "p2c", "peak_ewma", "round_robin", "random", "rendezvous"];
    let balance =
        balances.into_iter().cycle().nth(usize::try_from(number / 5).unwrap_or_default()).unwrap_or("least");
    format!(
        r#"listen = ["{listen}"]
workers = 2
drain_timeout = "5s"
[log]
access = "{folder}/access.log"
[admin]
listen = "unix:{folder}/admin.sock"
[registry]
listen = ["unix:{folder}/registry.sock"]
key_file = "{folder}/key"
[[app]]
name = "soak"
domains = ["soak.example", "change-{number}.example"]
[app.routing]
balance = "{balance}"
concurrency_per_dyno = 1
queue_limit = 80
hold_timeout = "1s"
quarantine = "1s"
dyno_keepalive = "2s"
"#
    )
}
