//! The router within pingora: what it decides there is what it decides in its own server.

#![expect(clippy::expect_used, reason = "a test says what it needs by failing")]

use std::{
    env,
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use busbar_registry::{AppName, AppRecord, DynoProtocol, DynoRecord, Generation, Routing, WebFormation};
use it::{Dyno, PATIENCE, Wire, dyno::Refusing, fakes, http2::Http2};
use pingora::{
    proxy::http_proxy_service,
    server::{RunArgs, Server, ShutdownSignal, ShutdownSignalWatch, configuration::ServerConf},
};
use router_core::{
    observe::AccessLog,
    pingora::PingoraRouter,
    route::table::{Publisher, RouteTable},
    server::ServerOptions,
};
use tokio::sync::Notify;

const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\nAccept: text/plain\r\n\r\n";

/// A pingora with the router in it, on a socket file; it ends when this is dropped.
struct Within {
    folder: tempfile::TempDir,
    publisher: Publisher,
    log: Receiver<String>,
    end: Arc<Notify>,
    server: Option<thread::JoinHandle<()>>,
}

impl Within {
    fn routing(dynos: &[SocketAddr], change: impl FnOnce(&mut Routing)) -> Self {
        let (table, mut publisher) = RouteTable::new();
        let mut app = AppRecord::new(app(), ["app.test".parse().expect("a domain")]);
        change(&mut app.routing);
        let quantity = u32::try_from(dynos.len()).expect("a few");
        app.web = WebFormation { quantity, ..WebFormation::default() };
        publisher.put_app(app);
        for (number, address) in (1u64..).zip(dynos) {
            let name = format!("web.{number}").parse().expect("a name");
            publisher.put_dyno(DynoRecord::up(self::app(), name, (*address).into(), Generation(1)));
        }
        let (sender, log) = channel();
        let options = ServerOptions { access_log: Some(Arc::new(Log(sender))), ..ServerOptions::default() };
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("edge").to_str().expect("text").to_owned();
        let end = Arc::new(Notify::new());
        let signal = End(Arc::clone(&end));
        let server = thread::spawn(move || {
            let settings = ServerConf { threads: 2, ..ServerConf::default() };
            let mut server = Server::new_with_opt_and_conf(None, settings);
            server.bootstrap();
            let mut service = http_proxy_service(&server.configuration, PingoraRouter::new(table, options));
            service.add_uds(&socket, None);
            server.add_service(service);
            server.run(RunArgs { shutdown_signal: Box::new(signal) });
        });
        Self { folder, publisher, log, end, server: Some(server) }
    }

    fn to(dynos: &[SocketAddr]) -> Self {
        Self::routing(dynos, |_| {})
    }

    fn client(&self) -> Wire {
        let socket = self.folder.path().join("edge");
        Wire::over_unix(patiently("it listens", || UnixStream::connect(&socket).ok()))
    }

    /// The status, the body and the access line of what is asked.
    fn ask(&self, request: &str) -> (u16, String, String) {
        let mut client = self.client();
        client.send(request);
        let response = client.response();
        (response.status(), response.text(), self.line())
    }

    fn line(&self) -> String {
        self.log.recv_timeout(PATIENCE).expect("a line")
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        self.end.notify_one();
        drop(self.server.take().map(thread::JoinHandle::join));
    }
}

struct End(Arc<Notify>);

#[async_trait]
impl ShutdownSignalWatch for End {
    async fn recv(&self) -> ShutdownSignal {
        self.0.notified().await;
        ShutdownSignal::FastShutdown
    }
}

struct Log(Sender<String>);

impl AccessLog for Log {
    fn write(&self, lines: Vec<u8>) -> u64 {
        u64::from(self.0.send(String::from_utf8_lossy(&lines).into_owned()).is_err())
    }
}

fn app() -> AppName {
    "app".parse().expect("a name")
}

fn patiently<T>(what: &str, mut deed: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(done) = deed() {
            return done;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_request_within_pingora_reaches_its_dyno_with_the_routers_headers() {
    let dyno = Dyno::listening();
    let within = Within::to(&[dyno.address]);
    let mut client = within.client();
    client.send(
        "POST /a?b=1 HTTP/1.1\r\nHost: App.Test\r\nConnection: X-Secret\r\nX-Secret: 1\r\nProxy: evil\r\n\
         X_Forwarded_For: evil\r\nX-Forwarded-Proto: https\r\nX-Request-Id: 0123456789-0123456789\r\n\
         Content-Length: 5\r\n\r\nhello",
    );
    let mut wire = dyno.accept();
    let request = wire.request();
    assert_eq!((request.method(), request.target(), request.text().as_str()), ("POST", "/a?b=1", "hello"));
    assert_eq!((request.get("host"), request.get("via")), (Some("App.Test"), Some("1.1 busbar")));
    assert_eq!(request.all("x-forwarded-proto"), ["http"]);
    assert_eq!(request.get("x-request-id"), Some("0123456789-0123456789"));
    for dropped in ["x-secret", "proxy", "x_forwarded_for"] {
        assert_eq!(request.get(dropped), None, "{dropped}");
    }
    wire.send(fakes::ok("hi"));
    let response = client.response();
    assert_eq!((response.text().as_str(), response.get("via")), ("hi", Some("1.1 busbar")));
    let line = within.line();
    assert!(line.starts_with("at=info method=POST path=\"/a?b=1\" host=App.Test "), "{line}");
    assert!(line.contains(" dyno=web.1 ") && line.contains(" status=200 "), "{line}");
}

#[test]
fn faults_within_pingora_are_the_routers_pages_and_lines() {
    let (closes, garbage) = (fakes::closes_without_a_byte(), fakes::speaks_garbage());
    for (dynos, status, code) in
        [(&[][..], 503, "H14"), (&[closes.address], 503, "H13"), (&[garbage.address], 503, "H17")]
    {
        let (got, page, line) = Within::to(dynos).ask(GET);
        assert!(page.contains(code), "{code}: {page}");
        assert!(line.contains(&format!(" code={code} ")), "{line}");
        assert_eq!(got, status, "{code}");
    }
    let (status, _, line) = Within::to(&[]).ask("GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n");
    assert_eq!(status, 404, "{line}");
    let maintenance = Within::to(&[]);
    let (status, _, _) = maintenance.ask("GET / HTTP/1.1\r\nHost: app.test/x\r\n\r\n");
    assert_eq!(status, 400);
}

#[test]
fn a_dyno_that_refuses_within_pingora_is_passed_over_and_left_alone() {
    let (dead, alive) = (Refusing::new(), fakes::answers("alive"));
    let within = Within::to(&[dead.address, alive.address]);
    for _ in 0..8 {
        let (status, body, line) = within.ask(GET);
        assert_eq!((status, body.as_str()), (200, "alive"), "{line}");
        assert!(line.contains(" dyno=web.2 "), "{line}");
    }
    let name = "web.1".parse().expect("a name");
    let dyno = within.publisher.dyno(&app(), &name, Generation(1)).expect("it is published");
    assert_eq!(dyno.load.failures(), 1);
}

#[test]
fn a_request_within_pingora_is_in_flight_until_it_is_over_and_the_next_one_waits_for_its_place() {
    let dyno = Dyno::listening();
    let within = Within::routing(&[dyno.address], |routing| routing.concurrency_per_dyno = 1.try_into().ok());
    let load = &within.publisher.app(&app()).expect("it is published").load;
    let (mut one, mut two) = (within.client(), within.client());
    one.send(GET);
    let mut wire = dyno.accept();
    wire.request();
    two.send(GET);
    patiently("the second one waits", || (load.waits.len() == 1).then_some(()));
    dyno.nobody_else_came();
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\none");
    assert_eq!(one.response().text(), "one");
    drop(wire);
    let mut wire = dyno.accept();
    assert!(wire.request().get("x-queue-time").is_some());
    wire.send(fakes::ok("two"));
    assert_eq!(two.response().text(), "two");
    patiently("nothing is in flight", || (load.in_flight() == 0).then_some(()));
}

#[test]
fn a_dyno_within_pingora_may_speak_http2_in_the_clear_and_not_over_tls() {
    let dyno = Dyno::listening();
    let within = Within::routing(&[dyno.address], |routing| routing.dyno_protocol = DynoProtocol::H2c);
    let mut client = within.client();
    client.send(GET);
    let mut wire = Http2::accept(&dyno);
    let (stream, _) = wire.request();
    wire.answer(stream, "by HTTP/2");
    assert_eq!(client.response().text(), "by HTTP/2");
    let within = Within::routing(&[dyno.address], |routing| routing.dyno_protocol = DynoProtocol::H2);
    let (status, page, line) = within.ask(GET);
    assert!(status == 503 && page.contains("H21") && line.contains(" code=H21 "), "{status} {line}");
    dyno.nobody_else_came();
}

#[test]
fn the_pingora_example_serves_two_dynos() {
    let (one, two) = (fakes::answers("one"), fakes::echoes());
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port can be had");
    let listen = free.local_addr().expect("it is bound");
    drop(free);
    let mut program = Command::new(example("pingora"))
        .args([listen, one.address, two.address].map(|address| address.to_string()))
        .stdout(Stdio::piped())
        .spawn()
        .expect("it is built: cargo build -p router-core --features pingora --example pingora");
    let stream = patiently("it listens", || TcpStream::connect(listen).ok());
    let mut client = Wire::new(stream);
    let answers: Vec<_> = (0..64)
        .map(|_| {
            client.send("GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n");
            client.response().text()
        })
        .collect();
    let (ones, echoes): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| *answer == "one");
    assert!(!ones.is_empty() && !echoes.is_empty(), "{answers:?}");
    assert!(echoes.iter().all(|echo| echo.contains(r#"["X-Forwarded-For","127.0.0.1"]"#)), "{echoes:?}");
    let mut lines = BufReader::new(program.stdout.take().expect("it is piped")).lines();
    let line = lines.next().expect("a line").expect("text");
    assert!(line.contains("host=shop.localhost") && line.contains(r#"fwd="127.0.0.1""#), "{line}");
    program.kill().expect("it runs");
    program.wait().expect("it ended");
}

/// Built by cargo beside the tests.
fn example(name: &str) -> PathBuf {
    let here = env::current_exe().expect("a test has a file");
    let target = here.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps/pingora-…");
    target.join("examples").join(name)
}
