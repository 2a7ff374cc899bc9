//! `busbar router`, in the order in which it starts.

use std::{path::PathBuf, sync::Arc, time::Instant};

use busbar_registry::{Bounds, Memory, Registry};
use router_core::{
    route::{roster::Roster, table::RouteTable},
    tls::{Certificate, Challenges},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use super::{
    access_log::{LineThread, Opened, Writer},
    certificates::{self, Shown},
    edge::{self, Edge},
    feed::Feed,
    registry_wire::RegistryWire,
    signals::{Signal, Signals},
    systemd,
};
use crate::{
    acme::AcmeTask,
    admin::{self, Admin, Outcome, Readiness, Reloads, socket::AdminSocket},
    config::{self, AdminListen, Config, Overrides, Refused, address::Endpoint},
    failure::Failure,
    out,
};

/// Routes until it is told to stop.
///
/// # Errors
/// [`Failure`]: it did not start, or was told to stop at once.
pub(crate) fn router(file: PathBuf, overrides: Overrides) -> Result<(), Failure> {
    let config = config::read(&file, &overrides)?;
    super::run(route(Source { file, overrides }, config))
}

/// Where the configuration comes from, again and again.
struct Source {
    file: PathBuf,
    overrides: Overrides,
}

async fn route(source: Source, config: Config) -> Result<(), Failure> {
    raise_file_limit();
    let mut signals = Signals::listen()?;
    let challenges = config.acme.as_ref().map(|_| Challenges::new());
    let (uploads, ticket_keys) = (config.uploads.as_ref(), config.ticket_keys.as_deref());
    let mut shown = Shown::start(&config.certificates, uploads, ticket_keys, challenges.clone())?;
    let listeners = edge::listeners(&config.listen, "`listen`", &mut shown)?;
    let socket = admin_socket(config.admin.as_ref()).await?;
    let wire = match &config.registry {
        Some(registry) => Some(RegistryWire::bind(registry).await?),
        None => None,
    };
    let log = LineThread::start(Writer::new(Opened::open(&config.access_log)?))?;
    let registry: Arc<dyn Registry> = Memory::start(Bounds::default());
    let (table, publisher) = RouteTable::new();
    let feed = Feed::start(Arc::clone(&registry), Roster::new(publisher));
    feed.declare(config.apps.clone()).await?;
    let acme = requested(&config, &mut shown, challenges.as_ref(), &table)?;
    let inlet = (config.access_log != config::AccessLogTo::Off).then(|| log.inlet());
    let bounds = (config.limits, config.handshakes, config.http2);
    let rules = (config.edge.clone(), challenges);
    let edge = Edge::start(&table, listeners, config.workers, bounds, rules, inlet)?;

    let (stop, stopped) = watch::channel(false);
    let (reloads, asked) = Reloads::new();
    let readiness = Readiness::default();
    let at = socket.as_ref().map(AdminSocket::endpoint);
    let admin = socket.map(|socket| {
        let admin = Admin {
            began: Instant::now(),
            role: "router",
            readiness: readiness.clone(),
            known: Some(feed.known()),
            meter: Some(edge.meter()),
            certificates: Some(shown.store()),
            renewals: acme.as_ref().map(AcmeTask::renewals),
            uploads: config.uploads.clone(),
            dynos: None,
            reloads: Some(reloads),
            stop: stopped.clone(),
        };
        tokio::spawn(admin::serve(Arc::new(admin), socket))
    });
    let wire = wire.map(|wire| wire.serve(&registry, &stopped));
    readiness.ready();
    systemd::ready();
    announce(&edge, &config, at.as_ref());

    let mut routing = Routing { source, config, feed, log, shown, acme };
    routing.until_stop(&mut signals, asked).await;

    readiness.draining();
    systemd::stopping();
    let patience = routing.config.drain_timeout;
    out::note(format_args!(
        "stopping: requests may go on for {} s; stop again to end at once",
        patience.as_secs_f32()
    ));
    let ending = async {
        sleep(routing.config.drain_delay).await;
        out::note(edge.drain(patience).await);
        stop.send_replace(true);
        routing.log.finish().await;
        finished(admin, wire).await;
    };
    tokio::select! {
        () = ending => Ok(()),
        () = signals.stop() => Err(Failure::Interrupted),
    }
}

/// Starts what requests certificates, and shows those that it has kept.
fn requested(
    config: &Config,
    shown: &mut Shown,
    challenges: Option<&Arc<Challenges>>,
    table: &RouteTable,
) -> Result<Option<AcmeTask>, Failure> {
    let (Some(acme), Some(challenges)) = (&config.acme, challenges) else { return Ok(None) };
    let (wanted, has) = (config.wanted.clone(), shown.in_files());
    let mut task = AcmeTask::start(acme.clone(), wanted, has, Arc::clone(challenges), table.clone())?;
    shown.show_requested(task.certificates());
    Ok(Some(task))
}

/// Requested certificates, as soon as there are others.
async fn others(acme: &mut Option<AcmeTask>) -> Vec<Certificate> {
    match acme {
        Some(acme) => acme.others().await,
        None => std::future::pending().await,
    }
}

/// Each connection is a file, and the usual limit (1024) is for programs that use select(2). What may be had is taken.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        let _then_with_fewer = setrlimit(Resource::Nofile, limit);
    }
}

/// Takes the admin socket, unless there is to be none.
pub(super) async fn admin_socket(listen: Option<&AdminListen>) -> Result<Option<AdminSocket>, Failure> {
    Ok(match listen {
        Some(AdminListen::Off) => None,
        Some(AdminListen::At(endpoint)) => Some(AdminSocket::bind(Some(endpoint)).await?),
        None => Some(AdminSocket::bind(None).await?),
    })
}

fn announce(edge: &Edge, config: &Config, admin: Option<&Endpoint>) {
    for (address, listener) in edge.addresses().iter().zip(&config.listen) {
        let scheme = match (address.tcp(), listener.tls) {
            (Some(_), Some(_)) => "https://",
            (Some(_), None) => "http://",
            (None, _) => "",
        };
        out::note(format_args!("listening on {scheme}{address}"));
    }
    let admin = admin.map_or_else(|| "off".to_owned(), Endpoint::to_string);
    out::note(format_args!("routing {}; workers: {}; admin API: {admin}", config.tally(), config.workers));
}

/// Waits for the answers under way. Their sockets go with them.
pub(super) async fn finished(admin: Option<JoinHandle<()>>, wire: Option<JoinSet<()>>) {
    if let Some(admin) = admin {
        let _panicked = admin.await;
    }
    if let Some(wire) = wire {
        wire.join_all().await;
    }
}

/// What can change while it runs.
struct Routing {
    source: Source,
    config: Config,
    feed: Feed,
    log: LineThread,
    shown: Shown,
    acme: Option<AcmeTask>,
}

impl Routing {
    /// Reads the configuration again whenever somebody wants that, until somebody wants an end.
    async fn until_stop(
        &mut self,
        signals: &mut Signals,
        mut asked: mpsc::Receiver<oneshot::Sender<Outcome>>,
    ) {
        let mut look = tokio::time::interval(certificates::LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = look.tick() => if self.shown.look() {
                    self.want_others().await;
                },
                requested = others(&mut self.acme) => self.shown.show_requested(requested),
                signal = signals.next() => match signal {
                    Signal::Stop => return,
                    Signal::HangUp => drop(self.reload().await),
                },
                Some(answer) = asked.recv() => {
                    let _whoever_asked_is_gone = answer.send(self.reload().await);
                }
            }
        }
    }

    async fn reload(&mut self) -> Outcome {
        systemd::reloading();
        let outcome = self.read_again().await;
        systemd::ready();
        match &outcome {
            Ok(summary) => out::note(format_args!("configuration read again: {summary}")),
            Err(why) => {
                out::note(format_args!("configuration not applied, the old one stays in force: {why}"));
            }
        }
        outcome
    }

    /// The file is applied as a whole, or not at all.
    async fn read_again(&mut self) -> Outcome {
        let Source { file, overrides } = &self.source;
        let next = config::read(file, overrides).map_err(|refused| match refused {
            Refused::Wrong(_) => format!("mistakes in {}\n{refused}", file.display()),
            unreadable => unreadable.to_string(),
        })?;
        if let Some(keys) = self.config.fixed_keys_that_differ(&next) {
            let file = file.display();
            return Err(format!("only a restart can change {keys} as {file} does; nothing was changed"));
        }
        let log = Opened::open(&next.access_log).map_err(|failure| failure.to_string())?;
        let certificates = self.shown.read(&next.certificates).map_err(|error| error.to_string())?;
        self.feed.declare(next.apps.clone()).await.map_err(|refused| refused.to_string())?;
        self.shown.show(certificates);
        if !self.log.reopen(log) {
            tracing::warn!(
                "the access log is too far behind to be opened again; reload once more when it has caught up"
            );
        }
        self.config = next;
        self.want_others().await;
        Ok(self.config.tally().to_string())
    }

    /// Certificates are requested for what has none in files, and for nothing else.
    async fn want_others(&self) {
        if let Some(acme) = &self.acme {
            acme.want(self.config.wanted.clone(), self.shown.in_files()).await;
        }
    }
}
