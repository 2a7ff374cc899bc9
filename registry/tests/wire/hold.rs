//! A lease that is kept by a connection.

use busbar_registry::{Bound, Refusal, Registry, wire::Limits};

use super::server::{Tcp, asked, removed, watch_now};

fn body(ttl_ms: u64, port: u16) -> String {
    serde_json::to_string(&asked("shop", &format!("web.{port}"), port, ttl_ms)).unwrap()
}

#[tokio::test]
async fn a_hold_keeps_the_lease_while_it_lives_and_no_longer() {
    let tcp = Tcp::start(Limits::default()).await;
    let mut watch = watch_now(&tcp.memory).await;
    let (lease, mut lines) = tcp.raw_hold("/v1/apps/shop/dynos/hold", "shop", &body(1500, 1)).await;
    // Six thirds of its time: it would have run out twice.
    for _ in 0..6 {
        assert_eq!(lines.next().await, serde_json::json!({"heartbeat": {}}));
    }
    let dynos = tcp.memory.snapshot().await.unwrap().dynos;
    assert_eq!(dynos[0].generation, lease.generation);
    drop(lines);
    assert_eq!(removed(&mut watch).await, lease.generation);
    assert_eq!(tcp.memory.renew(&lease.id).await, Err(Refusal::LeaseGone));
}

#[tokio::test]
async fn a_broken_hold_taken_up_again_in_time_loses_nothing() {
    let tcp = Tcp::start(Limits::default()).await;
    let (lease, lines) = tcp.raw_hold("/v1/apps/shop/dynos/hold", "shop", &body(3000, 1)).await;
    drop(lines);
    let path = format!("/v1/leases/{}/hold", lease.id.0);
    let (again, mut lines) = tcp.raw_hold(&path, "shop", "").await;
    assert_eq!((&again.id, again.generation), (&lease.id, lease.generation));
    lines.next().await;
    // Nobody was told anything but the registration itself.
    assert_eq!(tcp.memory.snapshot().await.unwrap().revision, lease.revision);
}

#[tokio::test]
async fn a_hold_whose_lease_is_fenced_off_says_so_and_ends() {
    let tcp = Tcp::start(Limits::default()).await;
    let (_, mut lines) = tcp.raw_hold("/v1/apps/shop/dynos/hold", "shop", &body(300, 1)).await;
    tcp.memory.register(asked("shop", "web.1", 2, 60_000)).await.unwrap();
    let last = loop {
        let line = lines.next().await;
        if line.get("heartbeat").is_none() {
            break line;
        }
    };
    assert_eq!(last, serde_json::json!({"refused": {"id": "lease_gone"}}));
}

#[tokio::test]
async fn holds_beyond_their_limit_are_refused_and_register_nothing() {
    let tcp = Tcp::start(Limits { holds: 1, ..Limits::default() }).await;
    let (_, lines) = tcp.raw_hold("/v1/apps/shop/dynos/hold", "shop", &body(60_000, 1)).await;
    let token = super::server::key().app_token(&super::server::name("shop"));
    let request = "POST /v1/apps/shop/dynos/hold";
    let (status, refusal) = tcp.raw(request, Some(token.secret()), &body(60_000, 2)).await;
    assert_eq!((status, refusal["id"].as_str()), (507, Some("full")));
    assert_eq!(tcp.memory.snapshot().await.unwrap().dynos.len(), 1);
    tcp.of_app("shop").register(asked("shop", "web.2", 2, 60_000)).await.unwrap();
    drop(lines);
}

#[tokio::test]
async fn a_server_that_is_full_says_so_until_a_connection_ends() {
    let tcp = Tcp::start(Limits { connections: 1, ..Limits::default() }).await;
    let (lease, lines) = tcp.raw_hold("/v1/apps/shop/dynos/hold", "shop", &body(60_000, 1)).await;
    let shop = tcp.of_app("shop");
    assert_eq!(shop.renew(&lease.id).await, Err(Refusal::Full { what: Bound::Connections, limit: 1 }));
    drop(lines);
    let free = async {
        while shop.renew(&lease.id).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(super::server::PATIENCE, free).await.unwrap();
}

#[tokio::test]
async fn a_server_that_stops_ends_its_holds_and_cuts_none() {
    let tcp = Tcp::start(Limits::default()).await;
    let (lease, lines) = tcp.raw_hold("/v1/apps/shop/dynos/hold", "shop", &body(60_000, 1)).await;
    assert_eq!(tcp.server.stop().await, 0);
    tcp.memory.renew(&lease.id).await.unwrap();
    drop(lines);
}
