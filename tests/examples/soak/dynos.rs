//! Processes that answer one request at a time, in 20 ms, and are killed; each is registered and kept so over the registry's wire.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::Duration,
};

use crate::{die_with_parent, router::Router};

const DYNOS: u32 = 4;
/// Renewed every second.
const LEASE_MS: u32 = 5000;

/// A dyno's process: says where it listens, then serves until it is killed.
pub(crate) fn serve() -> ExitCode {
    die_with_parent();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    for stream in listener.incoming().flatten() {
        thread::spawn(move || while answer(&stream).is_some() {});
    }
    ExitCode::SUCCESS
}

fn answer(stream: &TcpStream) -> Option<()> {
    let (mut reader, mut length) = (BufReader::new(stream), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).ok()?;
    let mut stream = stream;
    thread::sleep(Duration::from_millis(5));
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello ").ok()?;
    thread::sleep(Duration::from_millis(15));
    stream.write_all(b"world\n").ok()
}

struct Dyno {
    number: u32,
    process: Child,
    lease: String,
}

impl Dyno {
    fn start(number: u32, router: &Router) -> Self {
        let us = env::current_exe().expect("this program has a path");
        let mut process =
            Command::new(us).arg("dyno").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("a dyno");
        let mut line = String::new();
        let out = process.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut line).expect("its address");
        let address: SocketAddr = line.trim().parse().expect("an address");
        let asked = serde_json::json!({
            "app": "soak", "dyno": format!("web.{number}"), "address": address, "ttl_ms": LEASE_MS,
        });
        let (status, lease) = router.registry("POST", "/v1/apps/soak/dynos", &asked.to_string());
        assert_eq!(status, 201, "{lease}");
        let lease = lease["id"].as_str().expect("an id").to_owned();
        Self { number, process, lease }
    }

    fn kill(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// All of them.
pub(crate) struct Dynos {
    dynos: Vec<Dyno>,
    /// How many died of SIGKILL without warning.
    pub(crate) killed: u32,
}

impl Dynos {
    pub(crate) fn start(router: &Router) -> Self {
        let dynos = (1..=DYNOS).map(|number| Dyno::start(number, router)).collect();
        Self { dynos, killed: 0 }
    }

    /// What happens in that second: leases are renewed; every third one a dyno is killed and the one before comes back with
    /// another process; every tenth one another drains in order.
    pub(crate) fn trouble(&mut self, second: u64, router: &Router) {
        for dyno in &self.dynos {
            let (status, answer) = router.registry("POST", &format!("/v1/leases/{}/renew", dyno.lease), "");
            assert!(status == 200, "web.{}: {answer}", dyno.number);
        }
        if second.is_multiple_of(3) {
            let mut dyno = self.dynos.remove(0);
            dyno.kill();
            self.killed += 1;
            thread::sleep(Duration::from_millis(200)); // nobody knows yet
            self.dynos.push(Dyno::start(dyno.number, router));
        }
        if second.is_multiple_of(10) {
            let mut dyno = self.dynos.remove(0);
            router.registry("POST", &format!("/v1/leases/{}/drain", dyno.lease), "");
            thread::sleep(Duration::from_millis(100));
            router.registry("DELETE", &format!("/v1/leases/{}", dyno.lease), "");
            dyno.kill();
            self.dynos.push(Dyno::start(dyno.number, router));
        }
    }
}

impl Drop for Dynos {
    fn drop(&mut self) {
        self.dynos.iter_mut().for_each(Dyno::kill);
    }
}
