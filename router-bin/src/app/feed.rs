//! The registry → the router's table.
//!
//! - [`Feed::start`]: follows the registry, and keeps in it what the configuration file declares.
//! - [`Feed::declare`]: another file. The table goes from the old file to the new one in one step.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use busbar_registry::{Refusal, Registry, Revision, Snapshot, Watch};
use futures_util::StreamExt as _;
use router_core::route::roster::Roster;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Duration, Instant, sleep, sleep_until},
};

use crate::{
    admin::{Known, traffic::Queue},
    config::DeclaredApp,
    declared::{Declared, NotDeclared, RENEWAL},
};

/// How long a registry that does not answer is left alone. The table stays as it is.
const PAUSE: Duration = Duration::from_secs(1);

/// A table that follows a registry.
pub(crate) struct Feed {
    registry: Arc<dyn Registry>,
    roster: Arc<Mutex<Roster>>,
    seen: watch::Receiver<Revision>,
    orders: mpsc::Sender<Order>,
}

struct Order {
    apps: Vec<DeclaredApp>,
    answer: oneshot::Sender<Result<(), NotDeclared>>,
}

impl Feed {
    /// Lets the table of `roster` follow `registry` until the feed is dropped.
    pub(crate) fn start(registry: Arc<dyn Registry>, roster: Roster) -> Self {
        let roster = Arc::new(Mutex::new(roster));
        let (seen_to, seen) = watch::channel(Revision(0));
        let (orders, taken) = mpsc::channel(1);
        let follower = Follower {
            registry: Arc::clone(&registry),
            roster: Arc::clone(&roster),
            seen: seen_to,
            declared: Declared::default(),
            apps: Vec::new(),
        };
        tokio::spawn(follower.follow(taken));
        Self { registry, roster, seen, orders }
    }

    /// Puts these apps into the registry in place of those declared before. When this returns, the table has them.
    ///
    /// # Errors
    /// [`NotDeclared`].
    pub(crate) async fn declare(&self, apps: Vec<DeclaredApp>) -> Result<(), NotDeclared> {
        let (answer, answered) = oneshot::channel();
        let gone = || Refusal::Unreachable { at: "memory".to_owned(), why: "it is stopping".to_owned() };
        self.orders.send(Order { apps, answer }).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone().into()))
    }

    /// The revision that the table shows.
    pub(crate) fn seen(&self) -> watch::Receiver<Revision> {
        self.seen.clone()
    }

    /// What keeps the table.
    pub(crate) fn roster(&self) -> Arc<Mutex<Roster>> {
        Arc::clone(&self.roster)
    }

    /// What it follows, for the admin API.
    pub(crate) fn known(&self) -> Arc<dyn Known> {
        Arc::new(KnownHere { registry: Arc::clone(&self.registry), roster: self.roster() })
    }
}

struct KnownHere {
    registry: Arc<dyn Registry>,
    roster: Arc<Mutex<Roster>>,
}

#[async_trait::async_trait]
impl Known for KnownHere {
    async fn snapshot(&self) -> Snapshot {
        self.registry.snapshot().await.unwrap_or_default()
    }

    fn queues(&self) -> BTreeMap<String, Queue> {
        let roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = roster.apps().filter(|app| app.load.in_flight() > 0);
        busy.map(|app| {
            let queue = Queue { in_flight: app.load.in_flight(), waiting: app.load.waits.len() };
            (app.name.to_string(), queue)
        })
        .collect()
    }
}

struct Follower {
    registry: Arc<dyn Registry>,
    roster: Arc<Mutex<Roster>>,
    seen: watch::Sender<Revision>,
    declared: Declared,
    apps: Vec<DeclaredApp>,
}

/// Why a watch is begun anew.
enum Anew {
    /// It broke, or fell too far behind.
    Broken,
    /// Another file is in force.
    Declared(oneshot::Sender<Result<(), NotDeclared>>, Result<(), NotDeclared>),
    /// Nobody needs the table any more.
    Over,
}

impl Follower {
    async fn follow(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut told: Option<(oneshot::Sender<_>, _)> = None;
        loop {
            let watch = match self.begin_anew().await {
                Ok(watch) => watch,
                Err(refusal) => {
                    tracing::warn!(%refusal, "the routes stay as they are");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            if let Some((answer, outcome)) = told.take() {
                let _whoever_asked_is_gone = answer.send(outcome);
            }
            match self.follow_watch(watch, &mut orders).await {
                Anew::Over => return,
                Anew::Broken => {}
                Anew::Declared(answer, outcome) => told = Some((answer, outcome)),
            }
        }
    }

    /// The table becomes what the registry says now, in one step.
    async fn begin_anew(&self) -> Result<Watch, Refusal> {
        let snapshot = self.registry.snapshot().await?;
        let revision = snapshot.revision;
        self.roster.lock().unwrap_or_else(PoisonError::into_inner).reset(snapshot);
        self.seen.send_replace(revision);
        self.registry.watch(revision).await
    }

    async fn follow_watch(&mut self, mut watch: Watch, orders: &mut mpsc::Receiver<Order>) -> Anew {
        let mut renewal = Instant::now() + RENEWAL;
        loop {
            tokio::select! {
                event = watch.next() => match event {
                    Some(Ok(event)) => {
                        let revision = event.revision;
                        self.roster.lock().unwrap_or_else(PoisonError::into_inner).apply(event);
                        self.seen.send_replace(revision);
                    }
                    Some(Err(_)) | None => return Anew::Broken,
                },
                order = orders.recv() => return match order {
                    Some(order) => self.declare(order).await,
                    None => Anew::Over,
                },
                () = sleep_until(renewal) => {
                    renewal = Instant::now() + RENEWAL;
                    if let Err(refusal) = self.declared.renew(&*self.registry, &self.apps).await {
                        tracing::warn!(%refusal, "a dyno of the configuration file cannot be registered");
                    }
                }
            }
        }
    }

    /// Changes the registry while nobody looks at its events; the snapshot that follows shows all of it at once.
    async fn declare(&mut self, Order { apps, answer }: Order) -> Anew {
        let outcome = self.declared.replace(&*self.registry, &apps).await;
        if !matches!(outcome, Err(NotDeclared::Taken(_))) {
            self.apps = apps;
        }
        Anew::Declared(answer, outcome)
    }
}

#[cfg(test)]
mod tests {
    use busbar_registry::{AppRecord, Bounds, Memory};
    use router_core::route::table::RouteTable;

    use super::*;
    use crate::config::{Overrides, parse};

    fn apps(text: &str) -> Vec<DeclaredApp> {
        parse("test.toml", text, &Overrides::default()).unwrap().apps
    }

    fn fed() -> (RouteTable, Feed, Arc<Memory>) {
        let (table, publisher) = RouteTable::new();
        let registry = Memory::start(Bounds::default());
        let feed = Feed::start(Arc::clone(&registry) as Arc<dyn Registry>, Roster::new(publisher));
        (table, feed, registry)
    }

    fn owner(table: &RouteTable, host: &str) -> Option<String> {
        table.reader().find(host).map(|app| app.name.to_string())
    }

    #[tokio::test]
    async fn a_declared_file_is_in_the_table_when_declaring_returns() {
        let (table, feed, _registry) = fed();
        let first = apps("[[app]]\nname = \"one\"\ndomains = [\"a.example\"]\ndynos = [\"127.0.0.1:1\"]\n");
        feed.declare(first.clone()).await.unwrap();
        assert_eq!(owner(&table, "a.example").as_deref(), Some("one"));
        let dyno = || Arc::clone(&table.reader().find("a.example").unwrap().set().dynos[0]);
        let before = dyno();
        feed.declare(first).await.unwrap();
        assert!(Arc::ptr_eq(&before, &dyno()), "a reload takes nothing from a dyno that stays");
        feed.declare(apps("[[app]]\nname = \"two\"\ndomains = [\"a.example\"]\n")).await.unwrap();
        assert_eq!(owner(&table, "a.example").as_deref(), Some("two"));
        feed.declare(Vec::new()).await.unwrap();
        assert_eq!(owner(&table, "a.example"), None);
    }

    #[tokio::test]
    async fn what_others_put_into_the_registry_is_followed() {
        let (table, feed, registry) = fed();
        let app: AppRecord = apps("[[app]]\nname = \"one\"\ndomains = [\"a.example\"]\n").remove(0).record;
        let revision = registry.put_app(app, None).await.unwrap();
        feed.seen().wait_for(|seen| *seen >= revision).await.unwrap();
        assert_eq!(owner(&table, "a.example").as_deref(), Some("one"));
        assert_eq!(feed.known().snapshot().await.apps.len(), 1);
    }

    #[tokio::test]
    async fn a_refused_file_leaves_the_old_one_in_force() {
        let (table, feed, registry) = fed();
        feed.declare(apps("[[app]]\nname = \"one\"\ndomains = [\"a.example\"]\n")).await.unwrap();
        let other: AppRecord =
            apps("[[app]]\nname = \"other\"\ndomains = [\"o.example\"]\n").remove(0).record;
        registry.put_app(other, None).await.unwrap();
        let refused = feed.declare(apps("[[app]]\nname = \"two\"\ndomains = [\"o.example\"]\n")).await;
        assert!(matches!(refused, Err(NotDeclared::Taken(_))));
        assert_eq!(owner(&table, "a.example").as_deref(), Some("one"));
        assert_eq!(owner(&table, "o.example").as_deref(), Some("other"));
    }
}
