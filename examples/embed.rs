//! A router inside another program: its own listener, two dynos, a change while it runs, an orderly end.
//!
//! `cargo run -p router-core --example embed -- 127.0.0.1:9001 127.0.0.1:9002`; Enter ends it.

use std::{env, error::Error, io, net::TcpListener, time::Duration};

use router_core::{
    registry::{AppName, AppRecord, DynoRecord, Generation},
    route::table::RouteTable,
    server::{Listener, Server, ServerOptions},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let shop: AppName = "shop".parse()?;
    let (table, mut publisher) = RouteTable::new();
    publisher.put_app(AppRecord::new(shop.clone(), ["shop.localhost".parse()?]));
    publisher.put_dyno(dyno(&shop, 1)?);

    let listener = Listener::from_std(TcpListener::bind("127.0.0.1:0")?)?;
    let port = listener.address().tcp().map_or(0, |address| address.port());
    say(&format!("http://shop.localhost:{port}/ goes to web.1"))?;
    let server = Server::start(&table, ServerOptions::default(), vec![listener])?;

    publisher.put_dyno(dyno(&shop, 2)?);
    say("and from now on to web.2, too")?;

    tokio::task::spawn_blocking(|| io::stdin().read_line(&mut String::new())).await??;
    let report = server.drain(Duration::from_secs(30)).await;
    say(&format!("{} requests served, {} connections cut", report.totals.requests, report.cut))
}

fn dyno(app: &AppName, number: u8) -> Result<DynoRecord, Box<dyn Error>> {
    let address = env::args().nth(number.into()).ok_or("two addresses, please")?.parse()?;
    Ok(DynoRecord::up(app.clone(), format!("web.{number}").parse()?, address, Generation(number.into())))
}

fn say(line: &str) -> Result<(), Box<dyn Error>> {
    Ok(io::Write::write_all(&mut io::stdout(), format!("{line}\n").as_bytes())?)
}
