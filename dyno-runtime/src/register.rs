//! A web dyno and the registry: when it is ready, that it stays registered, how it leaves.
//!
//! - [`accepting`]: returns when `$PORT` accepts connections.
//! - [`Membership`]: one registered dyno: its lease is renewed at a third of its time, and taken anew when it is lost.
//! - [`Drained`], [`Demand`]: who knows whether requests are in flight, or wait; the program that has the router supplies
//!   them.
//! - [`report_web`]: tells the registry about the web dynos that are not registered.

use std::{net::SocketAddr, sync::Arc, time::Duration};

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
    /// Returns when the routers have seen `dyno.revision`, so that nothing new is sent to it; what it returns ends when
    /// no request is in flight at it either. Both are given up after [`crate::life::Times::drain`], so they must be
    /// cancel safe. From the first on another dyno may be registered under the same name.
    async fn unrouted(&self, dyno: Draining) -> BoxFuture<'static, ()>;
}

/// Knows whether anybody asks for an app.
#[async_trait]
pub trait Demand: Send + Sync + 'static {
    /// Returns when for `span`, from now on, no request of the app has come in and none was in flight. Cancel safe.
    async fn quiet(&self, app: &AppName, span: Duration);
    /// Returns when a request of the app waits for a dyno. Cancel safe.
    async fn wanted(&self, app: &AppName);
}

/// Takes every dyno to be drained at once: for programs without a router of their own.
#[derive(Debug, Clone, Copy)]
pub struct AtOnce;

#[async_trait]
impl Drained for AtOnce {
    async fn unrouted(&self, _dyno: Draining) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// Returns when a connection to the address is accepted. Cancel safe.
pub async fn accepting(address: SocketAddr) {
    let mut pause = Duration::from_millis(10);
    loop {
        if let Ok(stream) = TcpStream::connect(address).await {
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

/// Who is told that nothing new comes, and that no request is in flight. Dropped, it is told as well.
struct Leaving {
    unrouted: oneshot::Sender<()>,
    left: oneshot::Sender<()>,
}

/// One registered dyno.
#[derive(Debug)]
pub(crate) struct Membership {
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

enum Order {
    Drain(Leaving),
    End,
}

impl Membership {
    /// Registers the dyno, as soon as the registry can be reached, and keeps it registered. The receiver sees the lease
    /// each time it is another one: first when the dyno is registered.
    ///
    /// `lease` is the one it has already, by a runtime that was killed: it is renewed, and no router notices anything. If
    /// it is `leaving`, it is not to get another one.
    pub(crate) fn begin(
        registry: Arc<dyn Registry>,
        registration: Registration,
        drained: Arc<dyn Drained>,
        lease: Option<Lease>,
        leaving: bool,
    ) -> (Self, watch::Receiver<Option<Lease>>) {
        let (orders, from) = mpsc::channel(2);
        let (leases, seen) = watch::channel(None);
        let keeper = Keeper {
            registry,
            registration,
            drained,
            leases,
            lease,
            lost: None,
            replaced: leaving,
            pause: Duration::ZERO,
            backoff: FIRST_PAUSE,
            leaving: None,
        };
        (Self { orders, task: tokio::spawn(keeper.keep(from)) }, seen)
    }

    /// No new requests. The first of what it returns ends when there will be none, the second when none is in flight
    /// either; both end also when it was not registered.
    pub(crate) fn drain(&self) -> [BoxFuture<'static, ()>; 2] {
        let (unrouted, is_unrouted) = oneshot::channel();
        let (left, has_left) = oneshot::channel();
        let _ended = self.orders.try_send(Order::Drain(Leaving { unrouted, left }));
        [is_unrouted, has_left].map(|told| -> BoxFuture<'static, ()> {
            Box::pin(async move {
                let _told_or_ended = told.await;
            })
        })
    }

    /// Deregisters the dyno; does not wait.
    pub(crate) fn end(&self) {
        let _ended = self.orders.try_send(Order::End);
    }

    /// Leaves the dyno registered for as long as its lease goes on. Returns when nothing is done with it any more.
    pub(crate) async fn leave(self) {
        self.task.abort();
        let _aborted = self.task.await;
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
    /// Who wants to know the lease.
    leases: watch::Sender<Option<Lease>>,
    lease: Option<Lease>,
    /// The generation of a lease that was lost.
    lost: Option<Generation>,
    /// It is not registered again: a newer dyno has its name or address, or it was leaving before this began.
    replaced: bool,
    /// How long to wait before the next call to the registry.
    pause: Duration,
    /// How long to wait after the next failure.
    backoff: Duration,
    /// Draining: it must not be registered anew.
    leaving: Option<BoxFuture<'static, ()>>,
}

impl Keeper {
    async fn keep(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(Order::Drain(who)) => self.drain(who).await,
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
                self.leases.send_if_modified(|last| {
                    let another = last.as_ref().is_none_or(|last| last.id != lease.id);
                    *last = Some(lease.clone());
                    another
                });
                self.lease = Some(lease);
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

    async fn drain(&mut self, Leaving { unrouted, left }: Leaving) {
        let draining = match &self.lease {
            None => None,
            Some(lease) => match call(self.registry.drain(&lease.id)).await {
                Ok(revision) => {
                    let Registration { app, dyno, address, .. } = self.registration.clone();
                    Some(Draining { app, dyno, address, generation: lease.generation, revision })
                }
                Err(refusal) => {
                    self.warn("drain", &refusal);
                    None
                }
            },
        };
        let hook = Arc::clone(&self.drained);
        self.leaving = Some(Box::pin(async move {
            let none_in_flight = match draining {
                Some(dyno) => hook.unrouted(dyno).await,
                None => Box::pin(async {}),
            };
            let _nobody_asks = unrouted.send(());
            none_in_flight.await;
            let _gave_up = left.send(());
            // There is nothing after it.
            std::future::pending::<()>().await;
        }));
    }

    fn warn(&self, deed: &str, refusal: &Refusal) {
        let Registration { app, dyno, .. } = &self.registration;
        tracing::warn!(%app, %dyno, %refusal, "cannot {deed} the dyno");
    }
}

/// Goes on with the hook. Cancel safe: it goes on where it was.
async fn no_request_in_flight(leaving: &mut Option<BoxFuture<'static, ()>>) {
    match leaving {
        Some(leaving) => leaving.await,
        None => std::future::pending().await,
    }
}

/// Waits for an answer of the registry, but not for ever.
pub(crate) async fn call<T>(answer: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
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
