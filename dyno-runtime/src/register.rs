//! A web dyno and the registry: when it is ready, that it stays registered, how it leaves.
//!
//! - [`accepting`]: returns when `$PORT` accepts connections.
//! - [`Membership`]: one registered dyno: its lease is renewed at a third of its time, and taken anew when it is lost.
//! - [`Drained`]: who knows whether requests are in flight; the program that has the router supplies it.
//! - [`report_web`]: tells the registry about the web dynos that are not registered.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use async_trait::async_trait;
use busbar_registry::{
    Address, AppName, DynoName, Generation, Lease, Refusal, Registration, Registry, Revision, WebFormation,
};
use futures_util::future::BoxFuture;
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

/// No call to the registry takes longer; it is tried again.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// The first wait before a call is tried again; doubled up to [`CALL_LIMIT`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A dyno that gets no new requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draining {
    /// Its app.
    pub app: AppName,
    /// Its name.
    pub dyno: DynoName,
    /// Where it accepts connections.
    pub address: Address,
    /// Its fencing number.
    pub generation: Generation,
    /// A router that has seen this revision sends it nothing new.
    pub revision: Revision,
}

/// Knows when no request is in flight at a dyno.
#[async_trait]
pub trait Drained: Send + Sync + 'static {
    /// Returns when the routers have seen `dyno.revision` and no request is in flight at it. It is given up after
    /// [`crate::life::Times::drain`], so it must be cancel safe.
    async fn drained(&self, dyno: Draining);
}

/// Takes every dyno to be drained at once: for programs without a router of their own.
#[derive(Debug, Clone, Copy)]
pub struct AtOnce;

#[async_trait]
impl Drained for AtOnce {
    async fn drained(&self, _dyno: Draining) {}
}

/// Returns when a connection to the port on this machine is accepted. Cancel safe.
pub async fn accepting(port: u16) {
    let mut pause = Duration::from_millis(10);
    loop {
        if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
            // Nobody listens, and the kernel chose this very port for our end: we are talking to ourselves.
            let ourselves = stream.local_addr().ok() == stream.peer_addr().ok();
            if !ourselves {
                return;
            }
        }
        sleep(pause).await;
        pause = (pause * 3 / 2).min(Duration::from_millis(100));
    }
}

/// One registered dyno.
#[derive(Debug)]
pub(crate) struct Membership {
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

enum Order {
    Drain(oneshot::Sender<()>),
    End,
}

impl Membership {
    /// Registers the dyno, as soon as the registry can be reached, and keeps it registered. The receiver hears when it
    /// is registered for the first time.
    pub(crate) fn begin(
        registry: Arc<dyn Registry>,
        registration: Registration,
        drained: Arc<dyn Drained>,
    ) -> (Self, oneshot::Receiver<()>) {
        let (orders, from) = mpsc::channel(2);
        let (joined, has_joined) = oneshot::channel();
        let keeper = Keeper {
            registry,
            registration,
            drained,
            joined: Some(joined),
            lease: None,
            lost: None,
            replaced: false,
            pause: Duration::ZERO,
            backoff: FIRST_PAUSE,
            leaving: None,
        };
        (Self { orders, task: tokio::spawn(keeper.keep(from)) }, has_joined)
    }

    /// No new requests; returns when none is in flight, or when it was not registered.
    pub(crate) fn drain(&self) -> BoxFuture<'static, ()> {
        let (done, drained) = oneshot::channel();
        let _ended = self.orders.try_send(Order::Drain(done));
        Box::pin(async move {
            let _drained_or_ended = drained.await;
        })
    }

    /// Deregisters the dyno; does not wait.
    pub(crate) fn end(&self) {
        let _ended = self.orders.try_send(Order::End);
    }

    /// Deregisters the dyno, and returns when that is done or was given up.
    pub(crate) async fn over(self) {
        self.end();
        let _bug = self.task.await;
    }
}

struct Keeper {
    registry: Arc<dyn Registry>,
    registration: Registration,
    drained: Arc<dyn Drained>,
    joined: Option<oneshot::Sender<()>>,
    lease: Option<Lease>,
    /// The generation of a lease that was lost.
    lost: Option<Generation>,
    /// A newer dyno has its name or address: it is not registered again.
    replaced: bool,
    /// How long to wait before the next call to the registry.
    pause: Duration,
    /// How long to wait after the next failure.
    backoff: Duration,
    /// Draining: it must not be registered anew.
    leaving: Option<(BoxFuture<'static, ()>, Option<oneshot::Sender<()>>)>,
}

impl Keeper {
    async fn keep(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Drain(done)) => self.drain(done).await,
                    Some(Order::End) | None => break,
                },
                () = no_request_in_flight(&mut self.leaving) => {}
                () = sleep(self.pause) => self.refresh().await,
            }
        }
        if let Some(lease) = self.lease.take()
            && let Err(refusal) = call(self.registry.deregister(&lease.id)).await
        {
            self.warn("deregister", &refusal);
        }
    }

    async fn refresh(&mut self) {
        let refreshed = match (&self.lease, self.lost) {
            (Some(lease), _) => call(self.registry.renew(&lease.id)).await,
            (None, _) if self.leaving.is_some() || self.replaced => return self.pause = CALL_LIMIT,
            (None, None) => call(self.registry.register(self.registration.clone())).await,
            (None, Some(lost)) => call(self.registry.register_again(self.registration.clone(), lost)).await,
        };
        match refreshed {
            Ok(lease) => {
                self.pause = lease.ttl_ms.duration() / 3;
                self.backoff = FIRST_PAUSE;
                self.lease = Some(lease);
                let _nobody_asks = self.joined.take().map(|joined| joined.send(()));
            }
            Err(Refusal::LeaseGone) => {
                self.lost = self.lease.take().map(|lease| lease.generation).or(self.lost);
                self.pause = Duration::ZERO;
            }
            Err(replaced @ Refusal::Replaced { .. }) => {
                self.warn("register again", &replaced);
                self.replaced = true;
            }
            Err(refusal) => {
                self.warn("register", &refusal);
                self.pause = self.backoff;
                self.backoff = (self.backoff * 2).min(CALL_LIMIT);
            }
        }
    }

    async fn drain(&mut self, done: oneshot::Sender<()>) {
        let nothing: BoxFuture<'static, ()> = Box::pin(async {});
        let Some(lease) = &self.lease else {
            self.leaving = Some((nothing, Some(done)));
            return;
        };
        let drained = match call(self.registry.drain(&lease.id)).await {
            Ok(revision) => {
                let Registration { app, dyno, address, .. } = self.registration.clone();
                let dyno = Draining { app, dyno, address, generation: lease.generation, revision };
                let hook = Arc::clone(&self.drained);
                Box::pin(async move { hook.drained(dyno).await })
            }
            Err(refusal) => {
                self.warn("drain", &refusal);
                nothing
            }
        };
        self.leaving = Some((drained, Some(done)));
    }

    fn warn(&self, deed: &str, refusal: &Refusal) {
        let Registration { app, dyno, .. } = &self.registration;
        tracing::warn!(%app, %dyno, %refusal, "cannot {deed} the dyno");
    }
}

/// Waits for the hook once, and tells who asked. Cancel safe: the hook goes on where it was.
async fn no_request_in_flight(leaving: &mut Option<(BoxFuture<'static, ()>, Option<oneshot::Sender<()>>)>) {
    match leaving {
        Some((drained, done @ Some(_))) => {
            drained.await;
            let _gave_up = done.take().map(|done| done.send(()));
        }
        _ => std::future::pending().await,
    }
}

async fn call<T>(answer: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    let late = || Refusal::Unreachable {
        at: "(no answer)".into(),
        why: format!("it took more than {CALL_LIMIT:?}"),
    };
    timeout(CALL_LIMIT, answer).await.unwrap_or_else(|_| Err(late()))
}

/// Tells the registry the newest of what is sent, until the sender is dropped and the last is told or was refused.
pub(crate) async fn report_web(
    registry: Arc<dyn Registry>,
    app: AppName,
    mut web: watch::Receiver<WebFormation>,
) {
    while web.changed().await.is_ok() {
        let mut pause = FIRST_PAUSE;
        loop {
            let newest = *web.borrow_and_update();
            let Err(refusal) = call(registry.report_web(&app, newest)).await else { break };
            tracing::warn!(%app, %refusal, "cannot report the web formation");
            if web.has_changed().is_err() {
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(CALL_LIMIT);
        }
    }
}

#[cfg(test)]
mod tests;
