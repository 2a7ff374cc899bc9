//! The router under test: one worker, one app at [`HOST`], and its log.
//!
//! - [`App`]: what the router is told about the app.
//! - [`Router`]: runs until it is dropped.
//! - [`Line`]: one line of its log, read field by field.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use busbar_registry::{
    Address, AppName, AppRecord, DynoName, DynoRecord, DynoState, Generation, Millis, ProcessType, Routing,
    WebFormation,
};
use router_core::{
    observe::{AccessLog, Totals},
    route::table::{Publisher, RouteTable},
    server::{Listener, Meter, Server, ServerOptions},
    service::RouterService,
};

use crate::{Fake, PATIENCE, Wire, fakes};

/// The app's domain.
pub const HOST: &str = "app.test";
/// The domain of a second app, which answers `probe` to everything: [`Router::still_serves`].
const PROBE: &str = "probe.test";

/// What the router is told about the app.
#[derive(Debug, Clone)]
pub struct App {
    /// Its dynos, `web.1` and so on.
    pub dynos: Vec<Address>,
    /// How its requests are routed.
    pub routing: Routing,
    /// Maintenance mode.
    pub maintenance: bool,
    /// What its runtime says about dynos that are not registered.
    pub web: WebFormation,
}

impl App {
    /// An app with these dynos, routed as Heroku does.
    pub fn new(dynos: impl IntoIterator<Item = impl Into<Address>>) -> Self {
        let dynos: Vec<_> = dynos.into_iter().map(Into::into).collect();
        let quantity = u32::try_from(dynos.len()).expect("a few");
        let web = WebFormation { quantity, ..WebFormation::default() };
        Self { dynos, routing: Routing::default(), maintenance: false, web }
    }

    /// The same app, routed differently.
    pub fn routed(mut self, change: impl FnOnce(&mut Routing)) -> Self {
        change(&mut self.routing);
        self
    }
}

/// No connection to a dyno is kept.
pub fn no_keepalive(routing: &mut Routing) {
    routing.dyno_keepalive_ms = Millis(0);
}

/// The router under test; it stops when this is dropped.
pub struct Router {
    /// Where clients connect; port 0 if that is a socket file.
    pub address: SocketAddr,
    /// Changes what the router knows.
    pub publisher: Publisher,
    log: Receiver<Vec<u8>>,
    lines: Vec<Line>,
    server: Server,
    _probe: Fake,
}

impl Router {
    /// A router for an app with this one dyno.
    pub fn to(dyno: SocketAddr) -> Self {
        Self::start(App::new([dyno]))
    }

    /// A router for an app with this one dyno, routed differently.
    pub fn with(dyno: SocketAddr, change: impl FnOnce(&mut Routing)) -> Self {
        Self::start(App::new([dyno]).routed(change))
    }

    /// A router for this app.
    pub fn start(app: App) -> Self {
        Self::start_with(app, |_| {})
    }

    /// A router for this app that works differently.
    pub fn start_with(app: App, change: impl FnOnce(&mut ServerOptions)) -> Self {
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port can be had");
        Self::start_on(listener, app, change)
    }

    /// A router for this app that works differently and listens elsewhere.
    pub fn start_on(listener: Listener, app: App, change: impl FnOnce(&mut ServerOptions)) -> Self {
        let probe = fakes::answers("probe");
        let (table, mut publisher) = RouteTable::new();
        publish(&mut publisher, "app", HOST, app);
        publish(&mut publisher, "probe", PROBE, App::new([probe.address]));
        let (sender, log) = channel();
        let access_log: Arc<dyn AccessLog> = Arc::new(Log(Mutex::new(sender)));
        let mut options = ServerOptions {
            workers: NonZeroUsize::MIN,
            access_log: Some(access_log),
            ..ServerOptions::default()
        };
        change(&mut options);
        let address = listener.address().tcp().unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
        let server = Server::start(&table, options, vec![listener]).expect("it starts");
        Self { address, publisher, log, lines: vec![], server, _probe: probe }
    }

    /// A client, connected.
    pub fn client(&self) -> Wire {
        Wire::connect(self.address)
    }

    /// What it did so far.
    pub fn totals(&self) -> Totals {
        self.server.totals()
    }

    /// Waits until what it did so far is like this.
    pub fn until(&self, what: &str, reached: impl Fn(&Totals) -> bool) {
        let start = Instant::now();
        while !reached(&self.totals()) {
            assert!(start.elapsed() < PATIENCE, "waited in vain: {what}: {:?}", self.totals());
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The same router for a server of the test's own.
    pub fn service(&self) -> RouterService {
        self.server.service()
    }

    /// Asks what it did so far, also after its end.
    pub fn meter(&self) -> Meter {
        self.server.meter()
    }

    /// Gives the server away.
    pub fn into_server(self) -> Server {
        self.server
    }

    /// Fails unless the router serves a further request on this connection.
    pub fn still_serves(&self, client: &mut Wire) {
        client.send(format!("GET / HTTP/1.1\r\nHost: {PROBE}\r\n\r\n"));
        assert_eq!(client.response().text(), "probe");
    }

    /// From now on the app, which has one dyno, is routed like this.
    pub fn route(&mut self, change: impl FnOnce(&mut Routing)) {
        let nobody: [SocketAddr; 0] = [];
        let mut record = record("app", HOST, &App::new(nobody).routed(change));
        record.web.quantity = 1;
        self.publisher.put_app(record);
    }

    /// Adds another dyno to the app.
    pub fn add_dyno(&mut self, number: u64, address: SocketAddr) {
        let name = format!("web.{number}").parse().expect("a name");
        self.publisher.put_dyno(DynoRecord::up(
            app_name("app"),
            name,
            address.into(),
            Generation(1000 + number),
        ));
    }

    /// Takes a dyno of that name and generation away.
    pub fn remove_dyno(&mut self, name: &str, generation: u64) {
        let name = name.parse().expect("a name");
        self.publisher.remove_dyno(&app_name("app"), &name, Generation(generation));
    }

    /// How many hold a dyno of the app's first generation: the table, and each request that is at it or may choose it.
    pub fn holders(&self, dyno: &str) -> usize {
        let name = dyno.parse().expect("a name");
        let dyno = self.publisher.dyno(&app_name("app"), &name, Generation(1));
        Arc::strong_count(dyno.expect("it is published"))
    }

    /// Waits until so many requests wait for a dyno.
    pub fn waits_until(&self, queue: u32) {
        let start = Instant::now();
        let app = self.publisher.app(&app_name("app")).expect("it is published");
        while app.load.waits.len() != queue {
            assert!(start.elapsed() < PATIENCE, "{} wait, not {queue}", app.load.waits.len());
            thread::yield_now();
        }
    }

    /// The next line of the log about the app.
    pub fn line(&mut self) -> Line {
        loop {
            while self.lines.is_empty() {
                let lines = self.log.recv_timeout(PATIENCE).expect("a line is logged");
                let lines = String::from_utf8(lines).expect("lines are text");
                self.lines = lines.lines().rev().map(Line::parse).collect();
            }
            let line = self.lines.pop().expect("one is there");
            if line.get("host") != PROBE {
                return line;
            }
        }
    }

    /// The code in the next line of the log about the app; empty for an answered request.
    pub fn code(&mut self) -> String {
        self.line().get("code").to_owned()
    }
}

fn app_name(name: &str) -> AppName {
    name.parse().expect("a name")
}

fn publish(publisher: &mut Publisher, name: &str, domain: &str, app: App) {
    publisher.put_app(record(name, domain, &app));
    let name = app_name(name);
    for (index, address) in (1..).zip(app.dynos) {
        publisher.put_dyno(DynoRecord {
            app: name.clone(),
            dyno: DynoName::new(ProcessType::web(), index),
            address,
            generation: Generation(1),
            state: DynoState::Up,
        });
    }
}

fn record(name: &str, domain: &str, app: &App) -> AppRecord {
    AppRecord {
        name: app_name(name),
        domains: vec![domain.parse().expect("it is a domain")],
        catch_all: false,
        maintenance: app.maintenance,
        routing: app.routing.clone(),
        web: app.web,
    }
}

struct Log(Mutex<Sender<Vec<u8>>>);

impl AccessLog for Log {
    fn write(&self, lines: Vec<u8>) -> u64 {
        let sent = self.0.lock().map(|sender| sender.send(lines));
        u64::from(!matches!(sent, Ok(Ok(()))))
    }
}

/// One line of the log.
#[derive(Debug, Clone)]
pub struct Line {
    fields: BTreeMap<String, String>,
}

impl Line {
    fn parse(line: &str) -> Self {
        let (mut fields, mut rest) = (BTreeMap::new(), line);
        while let Some((key, value)) = rest.split_once('=') {
            let (value, after) = match value.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').unwrap_or_else(|| panic!("an open quote: {line}")),
                None => value.split_once(' ').unwrap_or((value, "")),
            };
            let twice = fields.insert(key.to_owned(), value.to_owned());
            assert!(twice.is_none(), "{key} comes twice: {line}");
            rest = after.trim_start();
        }
        Self { fields }
    }

    /// A field's value; empty if it is not there.
    pub fn get(&self, key: &str) -> &str {
        self.fields.get(key).map_or("", String::as_str)
    }

    /// A field's value as a number, its unit aside.
    pub fn number(&self, key: &str) -> u64 {
        let value = self.get(key).trim_end_matches("ms");
        value.parse().unwrap_or_else(|_| panic!("{key} is no number: {self:?}"))
    }
}
