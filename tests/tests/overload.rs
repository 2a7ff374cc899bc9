//! Too many, too slow, and the end of it all.
//!
//! - [`clients`]: connections of one client. [`pool`]: connections kept to dynos. [`ports`]: none left for more.
//! - [`slow`]: clients that drip. [`drain`]: the end under load.

mod clients;
mod drain;
mod pool;
mod ports;
mod slow;

const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";
