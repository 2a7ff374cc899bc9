//! The router's table → the runtime: when no request is in flight at a dyno that gets no new ones.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use busbar_registry::Revision;
use dyno_runtime::register::{Drained, Draining};
use futures_util::future::BoxFuture;
use router_core::route::{dyno::Dyno, roster::Roster};
use tokio::{
    sync::watch,
    time::{Duration, sleep},
};

use super::feed::Feed;

/// How often the dyno is looked at. Nobody is told when a request ends: that would cost every request something.
const LOOK: Duration = Duration::from_millis(20);

/// Knows it from the table of a router in this process.
#[derive(Clone)]
pub(crate) struct DrainedHere {
    roster: Arc<Mutex<Roster>>,
    seen: watch::Receiver<Revision>,
}

impl DrainedHere {
    /// From the table that `feed` keeps.
    pub(crate) fn new(feed: &Feed) -> Self {
        Self { roster: feed.roster(), seen: feed.seen() }
    }

    /// The dyno as the router knows it, and how many hold it who are not the table: each request at it, and each one
    /// that still chooses from a set of dynos in which it was up. Counting only the former would miss the latter.
    fn holders(&self, draining: &Draining, held: Option<Weak<Dyno>>) -> (Option<Weak<Dyno>>, usize) {
        let roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        let known = roster.dyno(&draining.app, &draining.dyno, draining.generation);
        let held = held.or_else(|| known.map(Arc::downgrade));
        let all = held.as_ref().map_or(0, Weak::strong_count);
        (held, all.saturating_sub(usize::from(known.is_some())))
    }
}

#[async_trait::async_trait]
impl Drained for DrainedHere {
    async fn unrouted(&self, dyno: Draining) -> BoxFuture<'static, ()> {
        let mut seen = self.seen.clone();
        // An error means that the router is gone; then there is nothing in flight either.
        let _ = seen.wait_for(|seen| *seen >= dyno.revision).await.map(drop);
        // Held from now on: when another dyno of this name is registered, the table knows this one no longer.
        let (mut held, mut holders) = self.holders(&dyno, None);
        let here = self.clone();
        Box::pin(async move {
            while holders > 0 {
                sleep(LOOK).await;
                (held, holders) = here.holders(&dyno, held);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use busbar_registry::{AppRecord, Bounds, Memory, Millis, Registration, Registry, Routing, WebFormation};
    use router_core::route::table::RouteTable;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_dyno_is_drained_when_nobody_can_send_it_anything_any_more() {
        let registry = Memory::start(Bounds::default());
        let (table, publisher) = RouteTable::new();
        let feed = Feed::start(Arc::clone(&registry) as Arc<dyn Registry>, Roster::new(publisher));
        let app: busbar_registry::AppName = "shop".parse().unwrap();
        let record = AppRecord {
            name: app.clone(),
            domains: vec!["a.example".parse().unwrap()],
            catch_all: false,
            maintenance: false,
            routing: Routing::default(),
            web: WebFormation::default(),
        };
        registry.put_app(record, None).await.unwrap();
        let (dyno, address) = (
            "web.1".parse::<busbar_registry::DynoName>().unwrap(),
            "127.0.0.1:1".parse::<busbar_registry::Address>().unwrap(),
        );
        let asked = Registration {
            app: app.clone(),
            dyno: dyno.clone(),
            address: address.clone(),
            ttl_ms: Millis::from_secs(300),
        };
        let lease = registry.register(asked).await.unwrap();
        feed.seen().wait_for(|seen| *seen >= lease.revision).await.unwrap();
        let a_request_chooses_from = table.reader().find("a.example").unwrap().set();

        let revision = registry.drain(&lease.id).await.unwrap();
        let draining = Draining { app, dyno, address, generation: lease.generation, revision };
        let here = DrainedHere::new(&feed);
        let mut drained = here.unrouted(draining).await;
        let long = Duration::from_secs(5);
        assert!(tokio::time::timeout(long, &mut drained).await.is_err(), "it can still be chosen");
        drop(a_request_chooses_from);
        tokio::time::timeout(long, drained).await.expect("nobody holds it any more");
    }
}
