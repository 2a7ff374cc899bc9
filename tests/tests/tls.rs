//! Encrypted connections.
//!
//! - [`client`]: a client that speaks TLS, and certificates made for it.
//! - [`names`]: which certificate a name gets, and which hosts may be asked for over it.
//! - [`handshakes`]: those that are slow, many, failing, or no TLS at all; certificates swapped under load.
//! - [`clients`]: clients that have certificates of their own, or should. [`tickets`]: sessions that are resumed.
//! - [`traffic`]: bodies, pipelines, tunnels, ends.

#![expect(clippy::panic, reason = "a test says what it needs by failing")]

pub(crate) mod client;
mod clients;
mod handshakes;
mod names;
mod tickets;
mod traffic;

const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";
