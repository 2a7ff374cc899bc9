//! [`Memory`]: the registry inside one process. It forgets everything when the process ends; dynos register again.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use futures_util::stream;
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::Instant,
};

use crate::{
    AppName, AppRecord, Bounds, Event, Generation, Lease, LeaseId, Refusal, Registration, Registry, Revision,
    Snapshot, Watch, WebFormation,
    ledger::{Ledger, Step},
};

/// How many events a watcher takes at a time.
const BATCH: usize = 256;

/// The registry inside one process: a [`Ledger`] behind a lock, and one task that ends leases when they run out.
///
/// Revisions and generations begin at the wall clock's microseconds, so that those of a process that was started
/// later are larger, and nobody takes an earlier one's for this one's.
#[derive(Debug)]
pub struct Memory {
    shared: Arc<Shared>,
    expiry: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    ledger: Mutex<Ledger>,
    began: Instant,
    /// The newest revision; watchers wait for it to change.
    newest: watch::Sender<Revision>,
    /// A lease runs out earlier than the expiry task thinks.
    sooner: Notify,
}

impl Memory {
    /// An empty registry. Its task ends when the last `Arc` is dropped; watchers are told then.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(bounds: Bounds) -> Arc<Self> {
        let epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let ledger = Ledger::new(bounds, u64::try_from(epoch.as_micros()).unwrap_or(0));
        let newest = watch::Sender::new(ledger.revision());
        let shared = Arc::new(Shared {
            ledger: Mutex::new(ledger),
            began: Instant::now(),
            newest,
            sooner: Notify::new(),
        });
        let expiry = tokio::spawn(expire(shared.clone())).abort_handle();
        Arc::new(Self { shared, expiry })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.expiry.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one call now, and wakes whom it concerns.
    fn call<T>(&self, call: impl FnOnce(&mut Ledger, Duration) -> Step<T>) -> Result<T, Refusal> {
        let mut ledger = self.lock();
        let planned = ledger.next_expiry();
        let Step { answer, events } = call(&mut ledger, self.began.elapsed());
        if let Some(event) = events.last() {
            self.newest.send_replace(event.revision);
        }
        let next = ledger.next_expiry();
        if next.is_some_and(|next| planned.is_none_or(|planned| next < planned)) {
            self.sooner.notify_one();
        }
        answer
    }
}

/// Ends each lease when it runs out.
async fn expire(shared: Arc<Shared>) {
    loop {
        let next = shared.lock().next_expiry();
        tokio::select! {
            () = at(next.map(|next| shared.began + next)) => {
                let expired = shared.call(|ledger, now| Step { answer: Ok(()), events: ledger.expire(now) });
                debug_assert_eq!(expired, Ok(()));
            }
            () = shared.sooner.notified() => {}
        }
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn new_id(app: &AppName) -> Result<LeaseId, Refusal> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| Refusal::Unreachable {
        at: "memory".into(),
        why: format!("the kernel gave no random bytes for a lease id: {error}"),
    })?;
    Ok(LeaseId::new(app, random))
}

#[async_trait]
impl Registry for Memory {
    async fn put_app(&self, app: AppRecord, if_revision: Option<Revision>) -> Result<Revision, Refusal> {
        self.shared.call(|ledger, now| ledger.put_app(now, app, if_revision))
    }

    async fn remove_app(&self, app: &AppName) -> Result<Revision, Refusal> {
        self.shared.call(|ledger, now| ledger.remove_app(now, app))
    }

    async fn report_web(&self, app: &AppName, web: WebFormation) -> Result<Revision, Refusal> {
        self.shared.call(|ledger, now| ledger.report_web(now, app, web))
    }

    async fn register(&self, registration: Registration) -> Result<Lease, Refusal> {
        let id = new_id(&registration.app)?;
        self.shared.call(|ledger, now| ledger.register(now, registration, id))
    }

    async fn register_again(&self, registration: Registration, after: Generation) -> Result<Lease, Refusal> {
        let id = new_id(&registration.app)?;
        self.shared.call(|ledger, now| ledger.register_again(now, registration, id, after))
    }

    async fn renew(&self, lease: &LeaseId) -> Result<Lease, Refusal> {
        self.shared.call(|ledger, now| ledger.renew(now, lease))
    }

    async fn drain(&self, lease: &LeaseId) -> Result<Revision, Refusal> {
        self.shared.call(|ledger, now| ledger.drain(now, lease))
    }

    async fn deregister(&self, lease: &LeaseId) -> Result<Revision, Refusal> {
        self.shared.call(|ledger, now| ledger.deregister(now, lease))
    }

    async fn snapshot(&self) -> Result<Snapshot, Refusal> {
        self.shared.call(|ledger, now| ledger.snapshot(now))
    }

    async fn watch(&self, from: Revision) -> Result<Watch, Refusal> {
        let watcher = Watcher {
            newest: self.shared.newest.subscribe(),
            backlog: self.shared.lock().since(from, BATCH)?.into_iter(),
            shared: Arc::downgrade(&self.shared),
            seen: from,
        };
        Ok(Box::pin(stream::unfold(Some(watcher), |watcher| async {
            let mut watcher = watcher?;
            match watcher.next().await {
                Ok(event) => Some((Ok(event), Some(watcher))),
                Err(refusal) => Some((Err(refusal), None)),
            }
        })))
    }
}

/// Someone who follows the history. It reads the ledger's own bounded history, so it costs nothing while it is slow,
/// and learns that it is too slow when what it wants next is gone.
struct Watcher {
    shared: Weak<Shared>,
    newest: watch::Receiver<Revision>,
    backlog: std::vec::IntoIter<Arc<Event>>,
    seen: Revision,
}

impl Watcher {
    async fn next(&mut self) -> Result<Event, Refusal> {
        loop {
            if let Some(event) = self.backlog.next() {
                self.seen = event.revision;
                return Ok(Arc::unwrap_or_clone(event));
            }
            self.newest.borrow_and_update();
            let more = self.shared.upgrade().ok_or_else(stopped)?.lock().since(self.seen, BATCH)?;
            if more.is_empty() {
                self.newest.changed().await.map_err(|_| stopped())?;
            }
            self.backlog = more.into_iter();
        }
    }
}

fn stopped() -> Refusal {
    Refusal::Unreachable { at: "memory".into(), why: "it was stopped".into() }
}
