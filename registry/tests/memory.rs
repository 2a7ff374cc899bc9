//! The registry inside one process, with a stopped clock.
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test, like the test, say what they need by failing"
)]

use std::time::Duration;

use busbar_registry::{
    AppRecord, Bounds, Change, DynoState, Lease, Memory, Millis, Refusal, Registration, Registry, Revision,
    Routing, WebFormation,
};
use futures_util::StreamExt;
use tokio::time::Instant;

fn app(name: &str) -> AppRecord {
    AppRecord {
        name: name.parse().unwrap(),
        domains: vec![format!("{name}.example").parse().unwrap()],
        catch_all: false,
        maintenance: false,
        routing: Routing::default(),
        web: WebFormation::default(),
    }
}

async fn register(memory: &Memory, dyno: &str, port: u16, seconds: u64) -> Lease {
    let registration = Registration {
        app: "shop".parse().unwrap(),
        dyno: dyno.parse().unwrap(),
        address: ([127, 0, 0, 1], port).into(),
        ttl_ms: Millis::from_secs(seconds),
    };
    memory.register(registration).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_watcher_sees_a_lease_run_out_on_the_second() {
    let memory = Memory::start(Bounds::default());
    let began = Instant::now();
    memory.put_app(app("shop"), None).await.unwrap();
    let long = register(&memory, "web.1", 1, 60).await;
    let short = register(&memory, "web.2", 2, 5).await;
    let mut watch = memory.watch(short.revision).await.unwrap();

    for (lease, seconds) in [(short, 5), (long, 60)] {
        let event = watch.next().await.unwrap().unwrap();
        let Change::DynoRemoved { generation, .. } = event.change else { panic!("{event:?}") };
        assert_eq!(generation, lease.generation);
        // tokio's timer wheel is a millisecond coarse.
        assert!(began.elapsed().abs_diff(Duration::from_secs(seconds)) <= Duration::from_millis(2));
        assert_eq!(memory.renew(&lease.id).await, Err(Refusal::LeaseGone));
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewed_lease_outlives_its_first_deadline() {
    let memory = Memory::start(Bounds::default());
    memory.put_app(app("shop"), None).await.unwrap();
    let lease = register(&memory, "web.1", 1, 10).await;
    for _ in 0..5 {
        tokio::time::advance(Duration::from_secs(9)).await;
        memory.renew(&lease.id).await.unwrap();
    }
    let snapshot = memory.snapshot().await.unwrap();
    assert_eq!((snapshot.dynos.len(), snapshot.revision), (1, lease.revision));
}

#[tokio::test(start_paused = true)]
async fn watching_from_a_snapshot_misses_nothing() {
    let memory = Memory::start(Bounds::default());
    memory.put_app(app("shop"), None).await.unwrap();
    let snapshot = memory.snapshot().await.unwrap();
    let lease = register(&memory, "web.1", 1, 10).await;
    let mut watch = memory.watch(snapshot.revision).await.unwrap();
    memory.drain(&lease.id).await.unwrap();
    memory.remove_app(&"shop".parse().unwrap()).await.unwrap();

    let events: Vec<_> = watch.by_ref().take(3).map(Result::unwrap).collect().await;
    let revisions: Vec<_> = events.iter().map(|event| event.revision.0 - snapshot.revision.0).collect();
    assert_eq!(revisions, [1, 2, 3]);
    assert!(matches!(&events[0].change, Change::DynoPut { dyno } if dyno.state == DynoState::Up));
    assert!(matches!(&events[1].change, Change::DynoPut { dyno } if dyno.state == DynoState::Draining));
    assert!(matches!(&events[2].change, Change::AppRemoved { .. }));
}

#[tokio::test(start_paused = true)]
async fn from_revision_zero_everything_is_told() {
    let memory = Memory::start(Bounds::default());
    let mut watch = memory.watch(Revision(0)).await.unwrap();
    memory.put_app(app("shop"), None).await.unwrap();
    assert!(matches!(watch.next().await.unwrap().unwrap().change, Change::AppPut { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_falls_behind_is_told_and_ends() {
    let memory = Memory::start(Bounds { history: 4, ..Bounds::default() });
    let mut watch = memory.watch(Revision(0)).await.unwrap();
    memory.put_app(app("first"), None).await.unwrap();
    assert!(watch.next().await.unwrap().is_ok());
    for n in 0..5 {
        memory.put_app(app(&format!("app{n}")), None).await.unwrap();
    }
    assert!(matches!(watch.next().await, Some(Err(Refusal::Compacted { .. }))));
    assert!(watch.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn when_the_registry_stops_its_watchers_are_told_and_end() {
    let memory = Memory::start(Bounds::default());
    let mut watch = memory.watch(Revision(0)).await.unwrap();
    let waiting = tokio::spawn(async move { (watch.next().await, watch.next().await) });
    tokio::task::yield_now().await;
    drop(memory);
    let (told, ended) = waiting.await.unwrap();
    assert!(matches!(told, Some(Err(Refusal::Unreachable { .. }))), "{told:?}");
    assert!(ended.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_later_registry_counts_beyond_an_earlier_one() {
    let earlier = Memory::start(Bounds::default());
    earlier.put_app(app("shop"), None).await.unwrap();
    let old = register(&earlier, "web.1", 1, 10).await;
    // The wall clock is not paused; it has to pass the few changes made above, one microsecond each.
    let later = loop {
        let later = Memory::start(Bounds::default());
        if later.snapshot().await.unwrap().revision > old.revision {
            break later;
        }
    };
    assert!(matches!(later.watch(old.revision).await, Err(Refusal::Compacted { .. })));
    later.put_app(app("shop"), None).await.unwrap();
    assert!(register(&later, "web.1", 1, 10).await.generation > old.generation);
}
