use std::sync::Mutex;

use busbar_registry::{AppRecord, LeaseId, Millis, Snapshot, Watch};

use super::*;

/// Answers calls as it is told, and remembers them.
#[derive(Default)]
struct Told {
    calls: Mutex<Vec<String>>,
    refusals: Mutex<Vec<Refusal>>,
}

impl Told {
    fn answer(&self, call: &str) -> Result<(), Refusal> {
        self.calls.lock().unwrap().push(call.to_owned());
        self.refusals.lock().unwrap().pop().map_or(Ok(()), Err)
    }
    fn lease(&self, call: &str) -> Result<Lease, Refusal> {
        let lease = Lease {
            id: LeaseId("secret".into()),
            generation: Generation(1),
            ttl_ms: Millis(9000),
            revision: Revision(1),
        };
        self.answer(call).map(|()| lease)
    }
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }
}

#[async_trait]
impl Registry for Told {
    async fn put_app(&self, _: AppRecord, _: Option<Revision>) -> Result<Revision, Refusal> {
        unreachable!()
    }
    async fn remove_app(&self, _: &AppName) -> Result<Revision, Refusal> {
        unreachable!()
    }
    async fn report_web(&self, _: &AppName, web: WebFormation) -> Result<Revision, Refusal> {
        self.answer(&format!("web {}", web.starting)).map(|()| Revision(1))
    }
    async fn register(&self, _: Registration) -> Result<Lease, Refusal> {
        self.lease("register")
    }
    async fn register_again(&self, _: Registration, after: Generation) -> Result<Lease, Refusal> {
        self.lease(&format!("register after {}", after.0))
    }
    async fn renew(&self, _: &LeaseId) -> Result<Lease, Refusal> {
        self.lease("renew")
    }
    async fn drain(&self, _: &LeaseId) -> Result<Revision, Refusal> {
        self.answer("drain").map(|()| Revision(7))
    }
    async fn deregister(&self, _: &LeaseId) -> Result<Revision, Refusal> {
        self.answer("deregister").map(|()| Revision(1))
    }
    async fn snapshot(&self) -> Result<Snapshot, Refusal> {
        unreachable!()
    }
    async fn watch(&self, _: Revision) -> Result<Watch, Refusal> {
        unreachable!()
    }
}

fn registration() -> Registration {
    Registration {
        app: "shop".parse().unwrap(),
        dyno: "web.1".parse().unwrap(),
        address: ([127, 0, 0, 1], 1).into(),
        ttl_ms: Millis(9000),
    }
}

fn begin(registry: &Arc<Told>, drained: Arc<dyn Drained>) -> Membership {
    let registry: Arc<Told> = Arc::clone(registry);
    Membership::begin(registry, registration(), drained, None, false).0
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_at_a_third_of_its_time() {
    let registry = Arc::new(Told::default());
    let membership = begin(&registry, Arc::new(AtOnce));
    sleep(Duration::from_millis(2999)).await;
    assert_eq!(registry.take(), ["register"]);
    sleep(Duration::from_millis(2)).await;
    assert_eq!(registry.take(), ["renew"]);
    membership.over().await;
    assert_eq!(registry.take(), ["deregister"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_is_taken_anew_at_once() {
    let registry = Arc::new(Told::default());
    let membership = begin(&registry, Arc::new(AtOnce));
    sleep(Duration::from_millis(1)).await;
    registry.refusals.lock().unwrap().push(Refusal::LeaseGone);
    sleep(Duration::from_millis(3001)).await;
    assert_eq!(registry.take(), ["register", "renew", "register after 1"]);
    drop(membership);
}

#[tokio::test(start_paused = true)]
async fn a_dyno_whose_place_was_taken_does_not_take_it_back() {
    let registry = Arc::new(Told::default());
    let membership = begin(&registry, Arc::new(AtOnce));
    sleep(Duration::from_millis(1)).await;
    let (app, dyno) = (registration().app, registration().dyno);
    let replaced = Refusal::Replaced { app, dyno, by: Generation(2) };
    registry.refusals.lock().unwrap().extend([replaced, Refusal::LeaseGone]);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(registry.take(), ["register", "renew", "register after 1"]);
    membership.over().await;
    assert_eq!(registry.take(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_away_is_tried_again_soon_and_then_less_often() {
    let registry = Arc::new(Told::default());
    let away = Refusal::Unreachable { at: "x".into(), why: "y".into() };
    registry.refusals.lock().unwrap().extend([away.clone(), away.clone(), away]);
    let _membership = begin(&registry, Arc::new(AtOnce));
    sleep(Duration::from_millis(699)).await;
    assert_eq!(registry.take().len(), 3, "at 0, 100 and 300 ms");
    sleep(Duration::from_millis(2)).await;
    assert_eq!(registry.take(), ["register"], "at 700 ms");
}

struct Never;

#[async_trait]
impl Drained for Never {
    async fn unrouted(&self, dyno: Draining) -> BoxFuture<'static, ()> {
        assert_eq!(dyno.revision, Revision(7));
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn while_it_drains_the_lease_is_renewed_and_the_hook_is_waited_for() {
    let registry = Arc::new(Told::default());
    let membership = begin(&registry, Arc::new(Never));
    sleep(Duration::from_millis(1)).await;
    let [unrouted, left] = membership.drain();
    unrouted.await;
    let waited = timeout(Duration::from_millis(3500), left).await;
    assert!(waited.is_err(), "requests are in flight");
    assert_eq!(registry.take(), ["register", "drain", "renew"]);
    membership.over().await;
    assert_eq!(registry.take(), ["deregister"]);
}

#[tokio::test(start_paused = true)]
async fn a_drained_dyno_is_not_registered_anew() {
    let registry = Arc::new(Told::default());
    let membership = begin(&registry, Arc::new(AtOnce));
    sleep(Duration::from_millis(1)).await;
    let [_unrouted, left] = membership.drain();
    left.await;
    registry.refusals.lock().unwrap().push(Refusal::LeaseGone);
    sleep(Duration::from_secs(60)).await;
    membership.over().await;
    assert_eq!(registry.take(), ["register", "drain", "renew"], "the lease is gone: nothing to end");
}

#[tokio::test(start_paused = true)]
async fn the_newest_web_formation_is_told_even_when_the_registry_was_away() {
    let registry = Arc::new(Told::default());
    registry.refusals.lock().unwrap().push(Refusal::UnknownApp { app: "shop".parse().unwrap() });
    let (web, from) = watch::channel(WebFormation::default());
    let told: Arc<Told> = Arc::clone(&registry);
    let reporter = tokio::spawn(report_web(told, "shop".parse().unwrap(), from));
    web.send_replace(WebFormation { starting: 1, ..WebFormation::default() });
    sleep(Duration::from_millis(1)).await;
    web.send_replace(WebFormation { starting: 2, ..WebFormation::default() });
    sleep(Duration::from_secs(1)).await;
    assert_eq!(registry.take(), ["web 1", "web 2"]);
    drop(web);
    reporter.await.unwrap();
}

#[tokio::test]
async fn a_port_is_accepting_once_somebody_listens() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    accepting((std::net::Ipv4Addr::LOCALHOST, port).into()).await;
}
