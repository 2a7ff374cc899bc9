//! A holder keeps its dyno registered, whatever happens.

use busbar_registry::{Client, DynoState, Holder, Refusal, Registry, client::Holding, wire::Limits};
use tokio::time::timeout;

use super::server::{PATIENCE, Server, Tcp, app, asked, key, memory, name, put, removed, unix, watch_now};

async fn until(holder: &Holder, wanted: impl FnMut(&Holding) -> bool) -> Holding {
    timeout(PATIENCE, holder.holding().wait_for(wanted))
        .await
        .expect("the holder never got there")
        .unwrap()
        .clone()
}

fn is_up(holding: &Holding) -> bool {
    matches!(holding, Holding::Up { .. })
}

#[tokio::test]
async fn a_held_dyno_is_registered_drained_and_released() {
    let tcp = Tcp::start(Limits::default()).await;
    let mut watch = watch_now(&tcp.memory).await;
    let holder = tcp.of_app("shop").hold(asked("shop", "web.1", 1, 10_000));
    let up = put(&mut watch).await;
    assert_eq!(until(&holder, is_up).await, Holding::Up { generation: up.generation });
    timeout(PATIENCE, holder.drain()).await.unwrap();
    assert_eq!(put(&mut watch).await.state, DynoState::Draining);
    timeout(PATIENCE, holder.release()).await.unwrap().unwrap();
    assert_eq!(removed(&mut watch).await, up.generation);
}

#[tokio::test]
async fn a_held_lease_outlives_its_time_many_times() {
    let tcp = Tcp::start(Limits::default()).await;
    let mut watch = watch_now(&tcp.memory).await;
    let holder = tcp.of_app("shop").hold(asked("shop", "web.1", 1, 3000));
    let up = put(&mut watch).await;
    // Another lease that nobody renews shows that time passes.
    tcp.memory.register(asked("shop", "web.2", 2, 4000)).await.unwrap();
    assert_ne!(removed(&mut watch).await, up.generation);
    assert_eq!(tcp.memory.snapshot().await.unwrap().dynos, [up]);
    drop(holder);
}

#[tokio::test]
async fn a_holder_keeps_its_lease_when_only_the_server_is_restarted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.sock");
    let memory = memory();
    memory.put_app(app("shop"), None).await.unwrap();
    let server = Server::start(memory.clone(), unix(&path), Limits::default());
    let client = Client::unix(&path, key().app_token(&name("shop")));
    let holder = client.hold(asked("shop", "web.1", 1, 3000));
    let up = until(&holder, is_up).await;
    assert_eq!(server.stop().await, 0);
    let _server = Server::start(memory.clone(), unix(&path), Limits::default());
    let mut watch = watch_now(&memory).await;
    memory.register(asked("shop", "web.2", 2, 4000)).await.unwrap();
    removed(&mut watch).await;
    assert_eq!(*holder.holding().borrow(), up);
    let Holding::Up { generation } = up else { panic!("{up:?}") };
    assert_eq!(memory.snapshot().await.unwrap().dynos[0].generation, generation);
}

#[tokio::test]
async fn a_holder_registers_again_when_the_registry_forgot_everything() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.sock");
    let first = memory();
    first.put_app(app("shop"), None).await.unwrap();
    let server = Server::start(first, unix(&path), Limits::default());
    let holder = Client::unix(&path, key().app_token(&name("shop"))).hold(asked("shop", "web.1", 1, 10_000));
    let Holding::Up { generation: before } = until(&holder, is_up).await else { panic!() };
    server.stop().await;

    let second = memory();
    let mut watch = watch_now(&second).await;
    let _server = Server::start(second.clone(), unix(&path), Limits::default());
    let unknown = |now: &Holding| matches!(now, Holding::Trying { last: Some(Refusal::UnknownApp { .. }) });
    until(&holder, unknown).await;
    second.put_app(app("shop"), None).await.unwrap();
    let after = put(&mut watch).await.generation;
    assert!(after > before);
    assert_eq!(until(&holder, is_up).await, Holding::Up { generation: after });
}

#[tokio::test]
async fn a_holder_gives_way_to_a_newer_dyno_of_its_name() {
    let tcp = Tcp::start(Limits::default()).await;
    let older = tcp.of_app("shop").hold(asked("shop", "web.1", 1, 600));
    until(&older, is_up).await;
    let newer = tcp.of_app("shop").hold(asked("shop", "web.1", 2, 60_000));
    let Holding::Up { generation } = until(&newer, is_up).await else { panic!() };
    until(&older, |now| *now == Holding::Replaced { by: generation }).await;
    timeout(PATIENCE, older.release()).await.unwrap().unwrap();
    let dynos = tcp.memory.snapshot().await.unwrap().dynos;
    assert_eq!((dynos.len(), dynos[0].generation), (1, generation));
}

#[tokio::test]
async fn a_holder_registers_again_after_its_lease_ran_out() {
    let tcp = Tcp::start(Limits::default()).await;
    let holder = tcp.of_app("shop").hold(asked("shop", "web.1", 1, 600));
    let Holding::Up { generation: before } = until(&holder, is_up).await else { panic!() };
    let mut watch = watch_now(&tcp.memory).await;
    tcp.memory.remove_app(&name("shop")).await.unwrap();
    until(&holder, |now| matches!(now, Holding::Trying { last: Some(Refusal::UnknownApp { .. }) })).await;
    tcp.memory.put_app(app("shop"), None).await.unwrap();
    assert!(put(&mut watch).await.generation > before);
}

#[tokio::test]
async fn without_a_place_for_its_hold_a_holder_renews_by_itself() {
    let tcp = Tcp::start(Limits { holds: 0, ..Limits::default() }).await;
    let mut watch = watch_now(&tcp.memory).await;
    let holder = tcp.of_app("shop").hold(asked("shop", "web.1", 1, 3000));
    let up = put(&mut watch).await;
    tcp.memory.register(asked("shop", "web.2", 2, 4000)).await.unwrap();
    assert_ne!(removed(&mut watch).await, up.generation);
    drop(holder);
    assert_eq!(removed(&mut watch).await, up.generation);
}

#[tokio::test]
async fn a_holder_that_never_registered_is_released_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let client = Client::unix(dir.path().join("nothing"), key().app_token(&name("shop")));
    let holder = client.hold(asked("shop", "web.1", 1, 10_000));
    until(&holder, |now| matches!(now, Holding::Trying { last: Some(Refusal::Unreachable { .. }) })).await;
    timeout(PATIENCE, holder.release()).await.unwrap().unwrap();
}
