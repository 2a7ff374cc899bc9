//! A router behind an axum server: its own pages at `/healthz`, everything else goes to two dynos.
//!
//! `cargo run -p router-core --features tower --example axum -- 127.0.0.1:9001 127.0.0.1:9002`; Enter ends it.

use std::{env, error::Error, io, net::SocketAddr, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    middleware::map_request,
    routing::get,
};
use router_core::{
    registry::{AppName, AppRecord, DynoRecord, Generation},
    route::table::RouteTable,
    server::{Server, ServerOptions},
    service::Peer,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let shop: AppName = "shop".parse()?;
    let (table, mut publisher) = RouteTable::new();
    publisher.put_app(AppRecord::new(shop.clone(), ["shop.localhost".parse()?]));
    for (number, address) in (1u64..).zip(env::args().skip(1)) {
        let (name, address) = (format!("web.{number}").parse()?, address.parse()?);
        publisher.put_dyno(DynoRecord::up(shop.clone(), name, address, Generation(number)));
    }
    // Workers without sockets of their own.
    let router = Server::start(&table, ServerOptions::default(), vec![])?;

    let app = Router::new()
        .route("/healthz", get(|| async { "fine" }))
        .fallback_service(router.service())
        .layer(map_request(from_whom))
        .into_make_service_with_connect_info::<SocketAddr>();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    say(&format!("http://shop.localhost:{}/ goes to the dynos", listener.local_addr()?.port()))?;

    let enter = tokio::task::spawn_blocking(|| io::stdin().read_line(&mut String::new()));
    axum::serve(listener, app).with_graceful_shutdown(async { drop(enter.await) }).await?;
    let report = router.drain(Duration::from_secs(30)).await;
    say(&format!("{} requests served, {} cut", report.totals.requests, report.cut))
}

/// Tells the router who is at the other end.
async fn from_whom(ConnectInfo(from): ConnectInfo<SocketAddr>, mut request: Request) -> Request {
    request.extensions_mut().insert(Peer { client: Some(from.ip()), tls: false });
    request
}

fn say(line: &str) -> Result<(), Box<dyn Error>> {
    Ok(io::Write::write_all(&mut io::stdout(), format!("{line}\n").as_bytes())?)
}
