//! The router's table → the runtime: when no request is in flight at a dyno that gets no new ones.

use std::sync::{Arc, Mutex, PoisonError};

use busbar_registry::Revision;
use dyno_runtime::register::{Drained, Draining};
use router_core::route::roster::Roster;
use tokio::{
    sync::watch,
    time::{Duration, sleep},
};

use super::feed::Feed;

/// How often the dyno is looked at. Nobody is told when a request ends: that would cost every request something.
const LOOK: Duration = Duration::from_millis(20);

/// Knows it from the table of a router in this process.
pub(crate) struct DrainedHere {
    roster: Arc<Mutex<Roster>>,
    seen: watch::Receiver<Revision>,
}

impl DrainedHere {
    /// From the table that `feed` keeps.
    pub(crate) fn new(feed: &Feed) -> Self {
        Self { roster: feed.roster(), seen: feed.seen() }
    }

    fn in_flight(&self, dyno: &Draining) -> u32 {
        let roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(app) = roster.app(&dyno.app) else { return 0 };
        let is_it = |d: &&Arc<_>| is(d, dyno);
        app.with_set(|set| set.dynos.iter().find(is_it).map_or(0, |dyno| dyno.load.in_flight()))
    }
}

fn is(dyno: &router_core::route::dyno::Dyno, draining: &Draining) -> bool {
    dyno.name == draining.dyno && dyno.generation == draining.generation
}

#[async_trait::async_trait]
impl Drained for DrainedHere {
    async fn drained(&self, dyno: Draining) {
        let mut seen = self.seen.clone();
        // An error means that the router is gone; then there is nothing in flight either.
        let _ = seen.wait_for(|seen| *seen >= dyno.revision).await.map(drop);
        while self.in_flight(&dyno) > 0 {
            sleep(LOOK).await;
        }
    }
}
