//! The router within pingora: pingora listens and carries, the router decides.
//!
//! `cargo run -p router-core --features pingora --example pingora -- 127.0.0.1:8080 127.0.0.1:9001 127.0.0.1:9002`

use std::{
    env,
    error::Error,
    io::{self, Write},
    sync::Arc,
};

use pingora::{
    proxy::http_proxy_service,
    server::{Server, configuration::ServerConf},
};
use router_core::{
    observe::AccessLog,
    pingora::PingoraRouter,
    registry::{AppName, AppRecord, DynoRecord, Generation},
    route::table::RouteTable,
    server::ServerOptions,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let listen = arguments.next().ok_or("an address to listen at and the dynos' addresses, please")?;
    let shop: AppName = "shop".parse()?;
    let (table, mut publisher) = RouteTable::new();
    publisher.put_app(AppRecord::new(shop.clone(), ["shop.localhost".parse()?]));
    for (number, address) in (1u64..).zip(arguments) {
        let (name, address) = (format!("web.{number}").parse()?, address.parse()?);
        publisher.put_dyno(DynoRecord::up(shop.clone(), name, address, Generation(number)));
    }

    let options = ServerOptions { access_log: Some(Arc::new(Stdout)), ..ServerOptions::default() };
    let mut server = Server::new_with_opt_and_conf(None, ServerConf::default());
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, PingoraRouter::new(table, options));
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever();
}

/// Prints the access lines. A busy router hands them to a thread instead.
struct Stdout;

impl AccessLog for Stdout {
    fn write(&self, lines: Vec<u8>) -> u64 {
        u64::from(io::stdout().write_all(&lines).is_err())
    }
}
