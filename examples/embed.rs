//! A router inside another program: its own listener, two dynos, a change while it runs, an orderly end.
//!
//! Run it with `cargo run -p router-core --example embed`.

use std::{io::Write, net::TcpListener, time::Duration};

use router_core::{
    registry::{AppRecord, DynoRecord},
    route::table::RouteTable,
    server::{Listener, Server, ServerOptions},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (table, mut publisher) = RouteTable::new();
    publisher.put_app(json::<AppRecord>(r#"{"name": "shop", "domains": ["shop.localhost"]}"#)?);
    publisher.put_dyno(dyno(1, "127.0.0.1:9001")?);

    let listener = Listener::from_std(TcpListener::bind("127.0.0.1:0")?)?;
    let server = Server::start(&table, ServerOptions::default(), vec![listener])?;
    writeln!(
        std::io::stdout(),
        "http://shop.localhost:{}/ goes to web.1",
        server.local_addresses()[0].port()
    )?;

    publisher.put_dyno(dyno(2, "127.0.0.1:9002")?); // from now on to web.2, too
    tokio::signal::ctrl_c().await?;
    let report = server.drain(Duration::from_secs(30)).await;
    writeln!(std::io::stdout(), "{} requests served, {} cut", report.totals.requests, report.cut)?;
    Ok(())
}

fn dyno(number: u32, address: &str) -> serde_json::Result<DynoRecord> {
    json(&format!(
        r#"{{"app": "shop", "dyno": "web.{number}", "address": "{address}", "generation": {number}, "state": "up"}}"#
    ))
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    serde_json::from_str(text)
}
