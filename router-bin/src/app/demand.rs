//! The router's table → the runtime: whether anybody asks for an app.

use std::sync::{Arc, Mutex, PoisonError};

use busbar_registry::AppName;
use dyno_runtime::Demand;
use router_core::route::{app::App, roster::Roster};
use tokio::time::{Duration, Instant, sleep};

use super::feed::Feed;

/// How often it is looked whether a request waits, while no dyno runs: a request waits so much longer at most.
const LOOK: Duration = Duration::from_millis(20);
/// How often it is looked whether requests came, at most.
const SELDOM: Duration = Duration::from_secs(5);

/// Knows it from the counts of a router in this process.
pub(crate) struct DemandHere {
    roster: Arc<Mutex<Roster>>,
}

impl DemandHere {
    /// From the table that `feed` keeps.
    pub(crate) fn new(feed: &Feed) -> Self {
        Self { roster: feed.roster() }
    }

    fn app(&self, name: &AppName) -> Option<Arc<App>> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner).app(name).cloned()
    }

    /// How many requests ever came, and how many are there now. An app that is not in the table yet has none.
    fn requests(&self, name: &AppName) -> (u32, u32) {
        self.app(name).map_or((0, 0), |app| (app.load.arrived(), app.load.in_flight()))
    }
}

#[async_trait::async_trait]
impl Demand for DemandHere {
    async fn quiet(&self, app: &AppName, span: Duration) {
        let pause = (span / 10).clamp(Duration::from_millis(1), SELDOM);
        let (mut before, mut since) = (self.requests(app), Instant::now());
        while since.elapsed() < span {
            sleep(pause.min(span.saturating_sub(since.elapsed()))).await;
            let now = self.requests(app);
            if now.0 != before.0 || now.1 > 0 {
                (before, since) = (now, Instant::now());
            }
        }
    }

    async fn wanted(&self, app: &AppName) {
        while self.app(app).is_none_or(|app| app.load.waits.is_empty()) {
            sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use busbar_registry::{AppRecord, Bounds, Memory, Registry, WebFormation};
    use router_core::route::{admit, table::RouteTable};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_app_is_quiet_when_no_request_came_and_wanted_when_one_waits() {
        let registry = Memory::start(Bounds::default());
        let (table, publisher) = RouteTable::new();
        let feed = Feed::start(Arc::clone(&registry) as Arc<dyn Registry>, Roster::new(publisher));
        let name: AppName = "shop".parse().unwrap();
        let mut record = AppRecord::new(name.clone(), ["a.example".parse().unwrap()]);
        record.web = WebFormation { quantity: 1, starting: 0, crashed: 0 };
        let revision = registry.put_app(record, None).await.unwrap();
        feed.seen().wait_for(|seen| *seen >= revision).await.unwrap();
        let demand = DemandHere::new(&feed);
        let app = table.reader().find("a.example").unwrap();
        let (minute, request) = (Duration::from_secs(60), || admit::admit(&app, &app.set()).unwrap());

        let began = Instant::now();
        let asks = async {
            sleep(Duration::from_secs(50)).await;
            drop(request());
            sleep(Duration::from_secs(50)).await;
            let long = request();
            sleep(Duration::from_secs(100)).await;
            drop(long);
        };
        tokio::join!(demand.quiet(&name, minute), asks);
        let quiet_at = began.elapsed().as_secs();
        assert!((255..=266).contains(&quiet_at), "60 s after the last one ended: {quiet_at}");

        let wanted = demand.wanted(&name);
        tokio::pin!(wanted);
        assert!(tokio::time::timeout(minute, &mut wanted).await.is_err());
        let _waits = admit::Waiting::join(&app, 9, None).unwrap();
        tokio::time::timeout(Duration::from_secs(1), wanted).await.expect("somebody waits");
    }
}
