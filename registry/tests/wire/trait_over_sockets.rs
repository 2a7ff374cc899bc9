//! A client is a registry like any other.

use std::path::Path;

use busbar_registry::{
    AppRecord, Change, Client, DynoState, Refusal, Registry, Revision, WebFormation, wire::Limits,
};

use super::server::{PATIENCE, Server, Tcp, app, asked, key, memory, name, next, unix, watch_now};

/// A dyno's whole life, as its runtime and the operator see it.
async fn lives_and_dies(operator: Client, dyno: Client) {
    let created = operator.put_app(app("shop"), Some(Revision(0))).await.unwrap();
    let mut watch = operator.watch(created).await.unwrap();
    let web = WebFormation { quantity: 1, starting: 1, crashed: 0 };
    dyno.report_web(&name("shop"), web).await.unwrap();
    let lease = dyno.register(asked("shop", "web.1", 5000, 30_000)).await.unwrap();
    let renewed = dyno.renew(&lease.id).await.unwrap();
    assert_eq!((renewed.generation, renewed.ttl_ms), (lease.generation, lease.ttl_ms));
    dyno.drain(&lease.id).await.unwrap();
    let snapshot = operator.snapshot().await.unwrap();
    assert_eq!(snapshot.apps, [AppRecord { web, ..app("shop") }]);
    assert_eq!(snapshot.dynos[0].state, DynoState::Draining);
    dyno.deregister(&lease.id).await.unwrap();
    dyno.deregister(&lease.id).await.unwrap();
    assert_eq!(dyno.renew(&lease.id).await, Err(Refusal::LeaseGone));
    let last = operator.remove_app(&name("shop")).await.unwrap();

    let mut kinds = Vec::new();
    loop {
        let event = next(&mut watch).await;
        kinds.push(match event.change {
            Change::AppPut { .. } => "app put",
            Change::AppRemoved { .. } => "app removed",
            Change::DynoPut { dyno } if dyno.state == DynoState::Up => "up",
            Change::DynoPut { .. } => "draining",
            Change::DynoRemoved { .. } => "removed",
        });
        if event.revision == last {
            break;
        }
    }
    assert_eq!(kinds, ["app put", "up", "draining", "removed", "app removed"]);
}

fn unix_client(path: &Path, token: busbar_registry::Token) -> Client {
    Client::unix(path, token).with_timeout(PATIENCE)
}

#[tokio::test]
async fn a_dyno_lives_and_dies_over_a_unix_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.sock");
    let server = Server::start(memory(), unix(&path), Limits::default());
    let operator = unix_client(&path, key().operator_token());
    lives_and_dies(operator, unix_client(&path, key().app_token(&name("shop")))).await;
    assert_eq!(server.stop().await, 0);
}

#[tokio::test]
async fn a_dyno_lives_and_dies_over_tcp() {
    let tcp = Tcp::start(Limits::default()).await;
    tcp.memory.remove_app(&name("shop")).await.unwrap();
    tcp.memory.remove_app(&name("blog")).await.unwrap();
    lives_and_dies(tcp.operator(), tcp.of_app("shop")).await;
    assert_eq!(tcp.server.stop().await, 0);
}

#[tokio::test]
async fn a_refusal_comes_through_as_it_was_said() {
    let tcp = Tcp::start(Limits::default()).await;
    let (near, far, shop) = (tcp.memory.clone(), tcp.operator(), tcp.of_app("shop"));
    let thief = AppRecord { domains: app("shop").domains, ..app("blog") };
    assert_eq!(far.put_app(thief.clone(), None).await, near.put_app(thief, None).await);
    let exists = far.put_app(app("shop"), Some(Revision(0))).await;
    assert!(matches!(exists, Err(Refusal::Conflict { .. })));
    assert_eq!(exists, near.put_app(app("shop"), Some(Revision(0))).await);

    let first = shop.register(asked("shop", "web.1", 1, 60_000)).await.unwrap();
    let second = shop.register(asked("shop", "web.1", 2, 60_000)).await.unwrap();
    let (app, dyno) = (name("shop"), "web.1".parse().unwrap());
    let late = shop.register_again(asked("shop", "web.1", 1, 60_000), first.generation).await;
    assert_eq!(late, Err(Refusal::Replaced { app, dyno, by: second.generation }));
    let theft = tcp.of_app("blog").register(asked("blog", "web.1", 2, 60_000)).await;
    assert!(matches!(&theft, Err(Refusal::AddressTaken { app, .. }) if app.as_str() == "shop"), "{theft:?}");
    let nowhere = far.register(asked("nobody", "web.1", 3, 60_000)).await;
    assert_eq!(nowhere, Err(Refusal::UnknownApp { app: name("nobody") }));
    assert!(matches!(far.watch(Revision(1)).await.err(), Some(Refusal::Compacted { .. })));
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_unreachable() {
    let dir = tempfile::tempdir().unwrap();
    let client = Client::unix(dir.path().join("nothing"), key().operator_token());
    assert!(matches!(client.snapshot().await, Err(Refusal::Unreachable { .. })));
}

#[tokio::test]
async fn a_watch_ends_with_an_error_when_the_server_stops() {
    let tcp = Tcp::start(Limits::default()).await;
    let mut near = watch_now(&tcp.memory).await;
    let mut far = tcp.operator().watch(tcp.memory.snapshot().await.unwrap().revision).await.unwrap();
    tcp.memory.remove_app(&name("blog")).await.unwrap();
    assert_eq!(next(&mut far).await, next(&mut near).await);
    assert_eq!(tcp.server.stop().await, 0);
    let end = futures_util::StreamExt::next(&mut far).await;
    assert!(matches!(end, Some(Err(Refusal::Unreachable { .. }))), "{end:?}");
}
