//! `busbar up`, in the order in which it starts.

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    sync::Arc,
    thread::available_parallelism,
    time::{Duration, Instant, SystemTime},
};

use busbar_registry::{Address, AppName, AppRecord, Bounds, Memory, Registry, Routing, WebFormation};
use dyno_runtime::{AppDefinition, LogLine, Runtime, Speaker};
use router_core::{
    route::{roster::Roster, table::RouteTable},
    tls::{Certificate, TlsPolicy},
};
use tokio::sync::watch;

use super::{
    access_log::{LineThread, Sink},
    certificates::Shown,
    edge::{self, Edge},
    feed::Feed,
    local::{Local, kill},
    router::{admin_socket, finished},
    signals::Signals,
    systemd,
};
use crate::{
    admin::{self, Admin, Readiness},
    cli::Up,
    config::{ListenAt, units::Span},
    failure::Failure,
    local_ca::{self, LocalCa},
    out,
};

/// How long requests may go on after Ctrl-C: somebody sits there and waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where TLS is spoken when nobody says.
const TLS_PORT: u16 = 8443;
/// How often it is seen whether the app's certificate is to be renewed.
const HOUR: Duration = Duration::from_secs(3600);

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
    let Up { app, workers, admin, life, idle_after, .. } = flags;
    let conditions = app.conditions();
    let (mut definition, slug) = app.definition()?;
    life.apply(&mut definition);
    definition.idle_after = idle_after.map(|Span(span)| span).filter(|span| !span.is_zero());
    let app = definition.name.clone();
    let mut signals = Signals::listen()?;
    let mut shown = Shown::start(&[], None, None, None)?;
    let mut listeners = edge::listeners(&[Address::from(address).into()], "--port", &mut shown)?;
    let mut encrypted = None;
    if flags.tls {
        address.set_port(flags.tls_port.unwrap_or(TLS_PORT));
        let place =
            ListenAt { tls: Some(TlsPolicy::Intermediate), http2: true, ..Address::from(address).into() };
        listeners.extend(edge::listeners(&[place], "--tls-port", &mut shown)?);
        encrypted = Some(Encrypted::begin(&app, &shown)?);
    }
    let socket = admin_socket(admin.as_ref()).await?;
    let registry: Arc<dyn Registry> = Memory::start(Bounds::default());
    registry.put_app(record(&definition)?, None).await?;
    let (table, publisher) = RouteTable::new();
    let feed = Feed::start(Arc::clone(&registry), Roster::new(publisher));
    let started = Local::start(definition, slug, conditions, registry, Some(&feed), &mut signals).await?;
    let Some(local) = started else { return Ok(()) };
    let log = LineThread::start(AppLog { runtime: Arc::clone(&local.app.runtime), app: app.clone() })?;
    let workers = workers.or(available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
    let edge =
        Edge::start(&table, listeners, workers, Default::default(), Default::default(), Some(log.inlet()))?;

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
            renewals: None,
            uploads: None,
            dynos: Some(local.app.clone()),
            reloads: None,
            stop: stopped,
        };
        tokio::spawn(admin::serve(Arc::new(admin), socket))
    });
    readiness.ready();
    systemd::ready();
    announce(&edge, &app);
    encrypted.iter().for_each(Encrypted::explain);

    tokio::select! {
        _ = signals.next() => {} // any: a terminal that is closed hangs up
        () = renew(encrypted.as_mut(), &app, &shown) => {}
    }

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
    for (address, scheme) in edge.addresses().iter().filter_map(Address::tcp).zip(["http", "https"]) {
        let port = address.port();
        let here = if address.ip().is_loopback() {
            format!("{scheme}://{app}.localhost:{port} or ")
        } else {
            String::new()
        };
        out::note(format_args!("{app} is at {here}{scheme}://{address} (Ctrl-C to stop)"));
    }
}

/// What `--tls` needs.
struct Encrypted {
    ca: LocalCa,
    certificate: Certificate,
}

impl Encrypted {
    fn begin(app: &AppName, shown: &Shown) -> Result<Self, Failure> {
        let ca = LocalCa::open()?;
        let certificate = ca.sign(app, SystemTime::now())?;
        shown.show_made(certificate.clone());
        Ok(Self { ca, certificate })
    }

    fn explain(&self) {
        let file = self.ca.file.display();
        if self.ca.is_new {
            out::note(format_args!(
                "made a certificate authority for this machine: {file}; it can sign for localhost and names below it only"
            ));
        }
        out::note(format_args!(
            "browsers warn until they trust {file} (docs/tls.md says how); curl: --cacert {file}"
        ));
    }

    /// Shows a new certificate when the old one has had half its life.
    fn renew(&mut self, app: &AppName, shown: &Shown, now: SystemTime) {
        if !local_ca::wants_renewal(&self.certificate, now) {
            return;
        }
        match self.ca.sign(app, now) {
            Ok(certificate) => {
                shown.show_made(certificate.clone());
                self.certificate = certificate;
            }
            Err(failure) => out::note(format_args!("the certificate was not renewed: {failure}")),
        }
    }
}

/// Goes on for ever.
async fn renew(mut encrypted: Option<&mut Encrypted>, app: &AppName, shown: &Shown) {
    let mut hours = tokio::time::interval(HOUR);
    loop {
        hours.tick().await;
        if let Some(encrypted) = &mut encrypted {
            encrypted.renew(app, shown, SystemTime::now());
        }
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
