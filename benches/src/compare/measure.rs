//! One measurement: origin and proxy are started, loaded, read and stopped.

use std::{
    cell::Cell,
    fs, io,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    Scenario, Wish,
    change::Changer,
    duties,
    peer::Found,
    stage::{HOST, Stage},
};
use crate::{
    load::{
        self, Idle, Plan, Stop, Watcher,
        plan::{Bound, Pace, Protocol, Request},
    },
    process::{
        self,
        child::{Child, Program},
        usage::CoreClock,
    },
    results::{Machine, Measurement, comparison::IdleCost},
};

/// How long a proxy may take until it answers.
const PATIENCE: Duration = Duration::from_secs(15);
/// Others may use so much of the proxy's core before a measurement counts as noisy.
const NOISE: f64 = 0.12;
/// For so long cores are watched to see whether they are quiet.
const GLANCE: Duration = Duration::from_millis(200);
/// Files a process needs besides those of idle connections.
const OTHER_FILES: u64 = 2000;

/// Where measurements are taken.
pub(super) struct Bench<'a> {
    wish: &'a Wish,
    machine: &'a Machine,
    stop: &'a Stop,
    /// What is left of [`Wish::patience`].
    patience: Cell<Duration>,
}

/// Everything that runs during a measurement; ended when dropped, the proxy first.
struct Running {
    proxy: Option<Arc<std::sync::Mutex<Child>>>,
    _origin: Child,
    stage: Arc<Stage>,
    target: SocketAddr,
    _folder: tempfile::TempDir,
}

impl<'a> Bench<'a> {
    /// Pins this thread, and so everything it starts, to the core of the generator.
    pub(super) fn new(wish: &'a Wish, machine: &'a Machine, stop: &'a Stop) -> io::Result<Self> {
        process::pin(machine.load_core)?;
        Ok(Self { wish, machine, stop, patience: Cell::new(wish.patience) })
    }

    /// What a proxy neglects of its duties, as far as that can be seen in plain HTTP.
    pub(super) fn duties(&self, scenario: &Scenario, found: &Found) -> Vec<String> {
        if found.peer.is_direct() || !scenario.is_plain() {
            return Vec::new();
        }
        let seen = self.start(scenario, found).and_then(|running| {
            duties::neglected(found.peer.name, running.target).map_err(|error| error.to_string())
        });
        seen.unwrap_or_else(|error| vec![format!("{}: {error}", found.peer.name)])
    }

    /// Measures once the cores are quiet, and again if they were not, as long as patience lasts. Only the noise decides
    /// whether a measurement is repeated, never its result.
    pub(super) fn measure_in_quiet(
        &self,
        scenario: &Scenario,
        found: &Found,
        pace: Pace,
        notes: &mut Vec<String>,
    ) -> Measurement {
        loop {
            while !self.patience.get().is_zero() && !self.stop.is_pulled() && !self.is_quiet() {
                self.lose_patience(GLANCE);
            }
            let began = Instant::now();
            let measurement = self.measure(scenario, found, pace, notes);
            if !measurement.noisy || self.patience.get().is_zero() || self.stop.is_pulled() {
                return measurement;
            }
            self.lose_patience(began.elapsed());
        }
    }

    fn lose_patience(&self, spent: Duration) {
        self.patience.set(self.patience.get().saturating_sub(spent));
    }

    /// Whether nobody uses the cores just now.
    fn is_quiet(&self) -> bool {
        let cores = [self.machine.proxy_core, self.machine.load_core];
        let before = cores.map(CoreClock::read);
        thread::sleep(GLANCE);
        let busy = cores
            .iter()
            .zip(before)
            .filter_map(|(core, before)| Some(CoreClock::read(*core)?.busy_since(before?).1));
        busy.fold(0.0, f64::max) <= NOISE
    }

    fn measure(
        &self,
        scenario: &Scenario,
        found: &Found,
        pace: Pace,
        notes: &mut Vec<String>,
    ) -> Measurement {
        let taken =
            self.start(scenario, found).and_then(|running| self.take(scenario, found, pace, &running, notes));
        taken.unwrap_or_else(|failure| Measurement {
            failure: Some(failure),
            ..Measurement::nothing(found.peer.name)
        })
    }

    fn start(&self, scenario: &Scenario, found: &Found) -> Result<Running, String> {
        let folder = tempfile::tempdir().map_err(|error| format!("no folder: {error}"))?;
        let (origin, dynos) = self.start_origin(scenario, folder.path())?;
        let direct = *dynos.first().ok_or("there is no dyno")?;
        let stage = Stage::set(folder.path(), scenario, dynos, &found.peer);
        let stage = Arc::new(stage.map_err(|error| format!("cannot prepare: {error}"))?);
        let Some(program) = found.peer.program(&found.path, &stage) else {
            return Ok(Running { proxy: None, _origin: origin, stage, target: direct, _folder: folder });
        };
        let program = program.map_err(|error| format!("cannot write its configuration: {error}"))?;
        let core = self.machine.proxy_core;
        let mut proxy = Child::start(&self.wish.launcher, "proxy", &program, core, folder.path())
            .map_err(|error| format!("cannot be started: {error}"))?;
        let target = stage.listen;
        self.wait_until_it_answers(scenario, target, &mut proxy)?;
        let proxy = Some(Arc::new(std::sync::Mutex::new(proxy)));
        Ok(Running { proxy, _origin: origin, stage, target, _folder: folder })
    }

    fn start_origin(&self, scenario: &Scenario, folder: &Path) -> Result<(Child, Vec<SocketAddr>), String> {
        let dynos = &scenario.dynos;
        let mut program = Program {
            path: self.wish.launcher.clone(),
            arguments: vec!["origin".into()],
            ..Program::default()
        };
        for number in 0..dynos.number {
            let factor = if number == 0 { dynos.slow_one.unwrap_or(1.0) } else { 1.0 };
            let mut listener = format!("127.0.0.1:0?latency={}", dynos.latency.times(factor));
            if let Some(concurrency) = dynos.concurrency {
                listener.push_str(&format!("&concurrency={concurrency}"));
            }
            program.arguments.extend(["--listen".into(), listener.into()]);
        }
        let core = self.machine.load_core;
        let mut origin = Child::start(&self.wish.launcher, "origin", &program, core, folder)
            .map_err(|error| format!("the origin cannot be started: {error}"))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = fs::read_to_string(folder.join("origin.out")).unwrap_or_default();
            let addresses = said.lines().filter_map(|line| line.strip_prefix("listening ")?.parse().ok());
            let addresses: Vec<SocketAddr> = addresses.collect();
            if addresses.len() == dynos.number {
                return Ok((origin, addresses));
            }
            if let Some(end) = origin.obituary() {
                return Err(format!("the origin: {end}"));
            }
            if Instant::now() > deadline {
                return Err("the origin does not start".into());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn wait_until_it_answers(
        &self,
        scenario: &Scenario,
        target: SocketAddr,
        proxy: &mut Child,
    ) -> Result<(), String> {
        let mut plan = self.plan(scenario, target, Pace::Closed);
        (plan.connections, plan.warmup, plan.threads) = (1, Duration::ZERO, 1);
        plan.bound = Bound { time: Duration::from_secs(1), requests: Some(1) };
        plan.give_up = Duration::from_secs(1);
        let deadline = Instant::now() + PATIENCE;
        let mut last = String::from("it does not listen");
        while Instant::now() < deadline {
            match load::run(&plan, self.stop, &mut ()) {
                Ok(run) if run.ok > 0 => return Ok(()),
                Ok(run) => last = format!("instead of answering: {:?}", run.errors),
                Err(_) => {}
            }
            if let Some(end) = proxy.obituary() {
                return Err(end);
            }
            if self.stop.is_pulled() {
                return Err("interrupted".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(format!("not ready after {PATIENCE:?}: {last}"))
    }

    fn plan(&self, scenario: &Scenario, target: SocketAddr, pace: Pace) -> Plan {
        let load = &scenario.load;
        let method = if load.upload > 0 && load.protocol != Protocol::WebSocket {
            http::Method::POST
        } else {
            http::Method::GET
        };
        let host = HOST.to_owned();
        Plan {
            request: Request { method, host, path: load.path.clone(), fields: Vec::new(), body: load.upload },
            protocol: load.protocol,
            tls: load.tls,
            connections: load.connections,
            pace,
            bound: Bound { time: self.wish.time, requests: None },
            warmup: self.wish.warmup,
            timeout: load.timeout,
            ..Plan::simple(target, HOST, &load.path)
        }
    }

    fn take(
        &self,
        scenario: &Scenario,
        found: &Found,
        pace: Pace,
        running: &Running,
        notes: &mut Vec<String>,
    ) -> Result<Measurement, String> {
        let plan = self.plan(scenario, running.target, pace);
        let idle = self.hold_idle(scenario, &plan, running, notes)?;
        let changer = self.change_routes(scenario, found, running)?;
        let mut meter = Meter::new(self.machine, running);
        let run = load::run(&plan, self.stop, &mut meter).map_err(|error| error.to_string())?;
        if let Some(changer) = changer {
            let note = format!("{}: {} route changes during a run", found.peer.name, changer.done());
            notes.push(note);
        }
        let cpu = running.cpu().zip(meter.cpu_at_start).and(meter.cpu);
        let foreign = meter.proxy_core_busy.saturating_sub(cpu.unwrap_or_default()).as_secs_f64();
        let foreign_load = foreign / meter.elapsed.as_secs_f64().max(1e-9);
        Ok(Measurement {
            cpu_seconds: cpu.map(|cpu| cpu.as_secs_f64()),
            cpu_us_per_request: cpu.filter(|_| run.ok > 0).map(|cpu| cpu.as_secs_f64() * 1e6 / run.ok as f64),
            rss_bytes: running.rss_bytes(),
            idle: idle.map(|(_, cost)| cost),
            foreign_load,
            noisy: foreign_load > NOISE,
            load_core_busy: meter.load_core_share,
            run: Some(run),
            ..Measurement::nothing(found.peer.name)
        })
    }

    /// Opens the idle connections of the scenario, and says what they cost.
    fn hold_idle(
        &self,
        scenario: &Scenario,
        plan: &Plan,
        running: &Running,
        notes: &mut Vec<String>,
    ) -> Result<Option<(Idle, IdleCost)>, String> {
        let wanted = scenario.load.idle_connections;
        if wanted == 0 {
            return Ok(None);
        }
        let room = self.machine.open_files.saturating_sub(OTHER_FILES) / 2; // a proxy may need two for each
        let number = wanted.min(usize::try_from(room).unwrap_or(usize::MAX));
        if number < wanted {
            let note = format!(
                "{number} idle connections instead of {wanted}: {} open files",
                self.machine.open_files
            );
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        let warm = Plan {
            warmup: Duration::ZERO,
            bound: Bound { time: self.wish.warmup, requests: None },
            ..plan.clone()
        };
        load::run(&warm, self.stop, &mut ()).map_err(|error| error.to_string())?;
        let before = running.rss_bytes();
        let idle = Idle::open(plan, number).map_err(|error| format!("no idle connections: {error}"))?;
        let grown = running.rss_bytes().zip(before).map_or(0, |(after, before)| after.saturating_sub(before));
        let cost = IdleCost {
            connections: idle.connections,
            bytes_each: grown as f64 / idle.connections.max(1) as f64,
        };
        Ok(Some((idle, cost)))
    }

    fn change_routes(
        &self,
        scenario: &Scenario,
        found: &Found,
        running: &Running,
    ) -> Result<Option<Changer>, String> {
        let (Some(every), Some(change), Some(proxy)) =
            (scenario.change_every, found.peer.kind.change, &running.proxy)
        else {
            return Ok(None);
        };
        let (stage, proxy) = (Arc::clone(&running.stage), Arc::clone(proxy));
        let change = move |number| match proxy.lock() {
            Ok(proxy) => change(&stage, &proxy, number),
            Err(_) => Err(io::Error::other("a bug")),
        };
        Changer::start(every, change).map(Some).map_err(|error| format!("cannot change routes: {error}"))
    }
}

impl Running {
    fn usage(&self) -> Option<process::usage::Usage> {
        Some(self.proxy.as_ref()?.lock().ok()?.usage())
    }

    fn cpu(&self) -> Option<Duration> {
        self.usage().map(|usage| usage.cpu)
    }

    fn rss_bytes(&self) -> Option<u64> {
        self.usage().map(|usage| usage.rss_bytes)
    }
}

/// Reads the clocks when everything begins to count, and when it is over.
struct Meter<'a> {
    running: &'a Running,
    cores: (usize, usize),
    began: Option<(Instant, Option<CoreClock>, Option<CoreClock>)>,
    cpu_at_start: Option<Duration>,
    cpu: Option<Duration>,
    elapsed: Duration,
    proxy_core_busy: Duration,
    load_core_share: f64,
}

impl<'a> Meter<'a> {
    fn new(machine: &Machine, running: &'a Running) -> Self {
        Self {
            running,
            cores: (machine.proxy_core, machine.load_core),
            began: None,
            cpu_at_start: None,
            cpu: None,
            elapsed: Duration::ZERO,
            proxy_core_busy: Duration::ZERO,
            load_core_share: 0.0,
        }
    }

    fn clocks(&self) -> (Option<CoreClock>, Option<CoreClock>) {
        (CoreClock::read(self.cores.0), CoreClock::read(self.cores.1))
    }
}

impl Watcher for Meter<'_> {
    fn started(&mut self) {
        let (proxy, load) = self.clocks();
        self.cpu_at_start = self.running.cpu();
        self.began = Some((Instant::now(), proxy, load));
    }

    fn finished(&mut self) {
        let Some((began, proxy_then, load_then)) = self.began else { return };
        self.cpu = self.running.cpu().zip(self.cpu_at_start).map(|(now, then)| now.saturating_sub(then));
        let (proxy, load) = self.clocks();
        self.elapsed = began.elapsed();
        self.proxy_core_busy =
            proxy.zip(proxy_then).map_or(Duration::ZERO, |(now, then)| now.busy_since(then).0);
        self.load_core_share = load.zip(load_then).map_or(0.0, |(now, then)| now.busy_since(then).1);
    }
}

impl Measurement {
    fn nothing(peer: &str) -> Self {
        Self {
            peer: peer.to_owned(),
            round: 0,
            run: None,
            failure: None,
            cpu_seconds: None,
            cpu_us_per_request: None,
            rss_bytes: None,
            idle: None,
            foreign_load: 0.0,
            noisy: false,
            load_core_busy: 0.0,
        }
    }
}
