//! What is refused, and how: seen with nothing but HTTP text.

use std::time::Duration;

use busbar_registry::{Registry, wire::Limits};

use super::server::{Tcp, asked, key, name};

fn body(app: &str) -> String {
    serde_json::to_string(&asked(app, "web.1", 5000, 60_000)).unwrap()
}

/// Sends the request; says its status and the refusal's id.
async fn no(tcp: &Tcp, request: &str, token: &str, body: &str) -> (u16, String) {
    let (status, json) = tcp.raw(request, Some(token), body).await;
    assert!(!json["message"].as_str().unwrap().is_empty());
    (status, json["id"].as_str().unwrap().to_owned())
}

fn is(status: u16, id: &str) -> (u16, String) {
    (status, id.to_owned())
}

#[tokio::test]
async fn without_a_token_of_ours_nothing_is_allowed() {
    let tcp = Tcp::start(Limits::default()).await;
    let forged = busbar_registry::Capabilities::from_key([1; 32]).operator_token();
    for request in ["POST /v1/apps/shop/dynos", "POST /v1/leases/shop.00/renew", "PUT /v1/apps/shop/web"] {
        assert_eq!(
            no(&tcp, request, forged.secret(), &body("shop")).await,
            is(401, "unauthorised"),
            "{request}"
        );
        assert_eq!(tcp.raw(request, None, &body("shop")).await.0, 401, "{request}");
    }
    for request in ["GET /v1/snapshot", "GET /v1/watch"] {
        assert_eq!(no(&tcp, request, forged.secret(), "").await, is(401, "operator_only"), "{request}");
    }
    assert!(tcp.memory.snapshot().await.unwrap().dynos.is_empty());
}

#[tokio::test]
async fn the_token_of_another_app_is_not_enough() {
    let tcp = Tcp::start(Limits::default()).await;
    let lease = tcp.of_app("shop").register(asked("shop", "web.1", 5000, 60_000)).await.unwrap();
    let before = tcp.memory.snapshot().await.unwrap();
    let blog = key().app_token(&name("blog"));
    for request in [
        "POST /v1/apps/shop/dynos".to_owned(),
        "POST /v1/apps/shop/dynos/hold".to_owned(),
        "PUT /v1/apps/shop/web".to_owned(),
        format!("POST /v1/leases/{}/renew", lease.id.0),
        format!("POST /v1/leases/{}/hold", lease.id.0),
        format!("POST /v1/leases/{}/drain", lease.id.0),
        format!("DELETE /v1/leases/{}", lease.id.0),
    ] {
        assert_eq!(
            no(&tcp, &request, blog.secret(), &body("shop")).await,
            is(403, "unauthorised"),
            "{request}"
        );
    }
    // Its own name in the path does not let another app's dyno in.
    let smuggled = no(&tcp, "POST /v1/apps/blog/dynos", blog.secret(), &body("shop")).await;
    assert_eq!(smuggled, is(422, "malformed"));
    assert_eq!(tcp.memory.snapshot().await.unwrap(), before);
}

#[tokio::test]
async fn no_token_points_a_router_at_a_socket_file() {
    let tcp = Tcp::start(Limits::default()).await;
    let socket_file = body("shop").replace("10.0.0.1:5000", "unix:/run/busbar/admin.sock");
    assert!(socket_file.contains("unix:"));
    let tokens = [key().app_token(&name("shop")), key().operator_token()];
    for (token, request) in tokens.iter().zip(["POST /v1/apps/shop/dynos", "POST /v1/apps/shop/dynos/hold"]) {
        assert_eq!(no(&tcp, request, token.secret(), &socket_file).await, is(422, "malformed"), "{request}");
    }
    assert!(tcp.memory.snapshot().await.unwrap().dynos.is_empty());
}

#[tokio::test]
async fn what_is_the_operators_is_not_an_apps() {
    let tcp = Tcp::start(Limits::default()).await;
    let shop = key().app_token(&name("shop"));
    for request in ["PUT /v1/apps/shop", "DELETE /v1/apps/shop", "GET /v1/snapshot", "GET /v1/watch?from=0"] {
        assert_eq!(no(&tcp, request, shop.secret(), "{}").await, is(403, "operator_only"), "{request}");
    }
    assert_eq!(tcp.memory.snapshot().await.unwrap().apps.len(), 2);
}

#[tokio::test]
async fn a_malformed_request_is_told_what_is_wrong() {
    let tcp = Tcp::start(Limits::default()).await;
    let operator = key().operator_token();
    let unknown_key = r#"{"app":"shop","dyno":"web.1","address":"10.0.0.1:1","ttl_ms":1,"extra":1}"#;
    for (request, body, status) in [
        ("POST /v1/apps/shop/dynos", "{", 400),
        ("POST /v1/apps/shop/dynos", "", 400),
        ("POST /v1/apps/shop/dynos", "{}", 422),
        ("POST /v1/apps/shop/dynos", unknown_key, 422),
        ("POST /v1/apps/SHOP/dynos", "{}", 422),
        ("POST /v1/apps/%ff/dynos", "{}", 422),
        ("POST /v1/apps/shop/dynos?after=x", "{}", 400),
        ("PUT /v1/apps/shop", r#"{"name":"blog"}"#, 422),
        ("GET /v1/watch?form=1", "", 400),
        ("GET /v2/snapshot", "", 404),
        ("PATCH /v1/apps/shop", "", 405),
    ] {
        assert_eq!(
            no(&tcp, request, operator.secret(), body).await,
            is(status, "malformed"),
            "{request} {body}"
        );
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_of_its_token_is_refused() {
    let tcp = Tcp::start(Limits::default()).await;
    let (shop, operator) = (key().app_token(&name("shop")), key().operator_token());
    let padded = body("shop") + &" ".repeat(64 * 1024);
    let request = "POST /v1/apps/shop/dynos";
    assert_eq!(no(&tcp, request, shop.secret(), &padded).await, is(413, "malformed"));
    assert_eq!(tcp.raw(request, Some(operator.secret()), &padded).await.0, 201);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
    let tcp = Tcp::start(Limits { body_timeout: Duration::from_millis(50), ..Limits::default() }).await;
    let shop = key().app_token(&name("shop"));
    let (status, refusal) = tcp.raw_of_length("POST /v1/apps/shop/dynos", Some(shop.secret()), "{", 9).await;
    assert_eq!((status, refusal["id"].as_str()), (408, Some("malformed")));
}

#[tokio::test]
async fn a_lease_that_ran_out_is_gone() {
    let tcp = Tcp::start(Limits::default()).await;
    let mut watch = super::server::watch_now(&tcp.memory).await;
    let lease = tcp.of_app("shop").register(asked("shop", "web.1", 5000, 50)).await.unwrap();
    assert_eq!(super::server::removed(&mut watch).await, lease.generation);
    let shop = key().app_token(&name("shop"));
    for action in ["renew", "hold", "drain"] {
        let request = format!("POST /v1/leases/{}/{action}", lease.id.0);
        assert_eq!(no(&tcp, &request, shop.secret(), "").await, is(410, "lease_gone"), "{action}");
    }
    let ended = tcp.raw(&format!("DELETE /v1/leases/{}", lease.id.0), Some(shop.secret()), "").await;
    assert_eq!(ended.0, 200);
}

#[tokio::test]
async fn no_answer_repeats_a_lease_id_that_was_refused() {
    let tcp = Tcp::start(Limits::default()).await;
    let shop = key().app_token(&name("shop"));
    let (_, answer) = tcp.raw("POST /v1/leases/shop.5ec7e7/renew", Some(shop.secret()), "").await;
    assert!(!answer.to_string().contains("5ec7e7"), "{answer}");
}
