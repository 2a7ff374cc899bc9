//! `busbar up`, in the order in which it starts.

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    sync::Arc,
    thread::available_parallelism,
    time::{Duration, Instant},
};

use busbar_registry::{Address, AppName, AppRecord, Bounds, Memory, Registry, Routing, WebFormation};
use dyno_runtime::{AppDefinition, LogLine, Runtime, Speaker};
use router_core::route::{roster::Roster, table::RouteTable};
use tokio::sync::watch;

use super::{
    access_log::{LineThread, Sink},
    certificates::Shown,
    drained::DrainedHere,
    edge::{self, Edge},
    feed::Feed,
    local::{Local, Wanted, kill},
    router::{admin_socket, finished},
    signals::Signals,
    systemd,
};
use crate::{
    admin::{self, Admin, Readiness},
    cli::Up,
    config::EdgeRules,
    failure::Failure,
    out,
};

/// How long requests may go on after Ctrl-C: somebody sits there and waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the app of a directory until it is told to stop.
///
/// # Errors
/// [`Failure`]: it did not start, or was told to stop at once.
pub(crate) fn up(flags: Up) -> Result<(), Failure> {
    super::run(run(flags))
}

async fn run(flags: Up) -> Result<(), Failure> {
    let mut address = flags.listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)));
    address.set_port(flags.port.unwrap_or(address.port()));
    let Up { directory, app, formation, size, env_file, limits, workers, admin, .. } = flags;
    let wanted = Wanted { directory, app, formation, size, env_file, limits };
    let must_limit = wanted.must_limit();
    let definition = wanted.definition()?;
    let app = definition.name.clone();
    let mut signals = Signals::listen()?;
    let mut shown = Shown::start(&[], None)?;
    let listeners = edge::listeners(&[Address::from(address).into()], "--port", &mut shown)?;
    let socket = admin_socket(admin.as_ref()).await?;
    let registry: Arc<dyn Registry> = Memory::start(Bounds::default());
    registry.put_app(record(&definition)?, None).await?;
    let (table, publisher) = RouteTable::new();
    let feed = Feed::start(Arc::clone(&registry), Roster::new(publisher));
    let local =
        Local::start(definition, must_limit, registry, Some(Arc::new(DrainedHere::new(&feed)))).await?;
    let log = LineThread::start(AppLog { runtime: Arc::clone(&local.app.runtime), app: app.clone() })?;
    let workers = workers.or(available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
    let edge =
        Edge::start(&table, listeners, workers, Default::default(), EdgeRules::default(), Some(log.inlet()))?;

    let (stop, stopped) = watch::channel(false);
    let readiness = Readiness::default();
    let admin = socket.map(|socket| {
        let admin = Admin {
            began: Instant::now(),
            role: "up",
            readiness: readiness.clone(),
            known: Some(feed.known()),
            meter: Some(edge.meter()),
            certificates: Some(shown.store()),
            dynos: Some(local.app.clone()),
            reloads: None,
            stop: stopped,
        };
        tokio::spawn(admin::serve(Arc::new(admin), socket))
    });
    readiness.ready();
    systemd::ready();
    announce(&edge, &app);

    signals.next().await; // any: a terminal that is closed hangs up

    readiness.draining();
    systemd::stopping();
    out::note("stopping; Ctrl-C again to stop at once");
    let dynos = local.process_groups().await;
    let ending = async {
        let drained = edge.drain(PATIENCE).await;
        log.finish().await;
        local.stop().await;
        stop.send_replace(true);
        finished(admin, None).await;
        out::note(format_args!("stopped; {drained}"));
    };
    tokio::select! {
        () = ending => Ok(()),
        () = signals.stop() => {
            kill(dynos);
            Err(Failure::Interrupted)
        }
    }
}

/// It answers to its name, and to every other host too: `localhost`, an address, a tunnel's name.
fn record(definition: &AppDefinition) -> Result<AppRecord, Failure> {
    let domain = format!("{}.localhost", definition.name).parse();
    let quantity =
        definition.formation.iter().find(|(t, _)| t.is_web()).map_or(0, |(_, share)| share.quantity);
    Ok(AppRecord {
        name: definition.name.clone(),
        domains: vec![domain.map_err(busbar_registry::Refusal::from)?],
        catch_all: true,
        maintenance: false,
        routing: Routing::default(),
        web: WebFormation { quantity, starting: quantity, crashed: 0 },
    })
}

fn announce(edge: &Edge, app: &AppName) {
    for address in edge.addresses().iter().filter_map(Address::tcp) {
        let port = address.port();
        let here = if address.ip().is_loopback() {
            format!("http://{app}.localhost:{port} or ")
        } else {
            String::new()
        };
        out::note(format_args!("{app} is at {here}http://{address} (Ctrl-C to stop)"));
    }
}

/// The router's lines go into the app's log.
struct AppLog {
    runtime: Arc<Runtime>,
    app: AppName,
}

impl Sink for AppLog {
    fn lines(&mut self, lines: &[u8]) {
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line = LogLine::heroku(Speaker::Router, String::from_utf8_lossy(line));
            let _the_app_is_gone = self.runtime.say(&self.app, line);
        }
    }
}
