//! Dynos that speak HTTP/2: what they get, what they may do, and what is made of it when they misbehave.
//!
//! - [`passing`]: requests and responses of every form. [`echo`]: a dyno that tells what it got.
//! - [`connections`]: how many streams, how many connections, and their ends.
//! - [`misbehaving`]: dynos that reset, refuse, stall, or speak something else. [`secure`]: certificates of dynos.

mod connections;
mod echo;
mod misbehaving;
mod passing;
mod secure;

use std::net::SocketAddr;

use busbar_registry::{DynoProtocol, Routing};
use it::Router;

const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\r\nhello";

fn h2c(routing: &mut Routing) {
    routing.dyno_protocol = DynoProtocol::H2c;
}

/// A router for an app with this one dyno.
fn router_to(dyno: SocketAddr) -> Router {
    Router::with(dyno, h2c)
}
