//! HTTP/3 (feature `h3`): the router over QUIC, with clients of quinn and h3, and with aioquic.
//!
//! - [`client`]: a client of quinn and h3, and a router that it trusts.
//! - [`requests`]: heads, bodies, trailers, faults. [`connections`]: migration, drain, limits, 0-RTT.
//! - [`aioquic`]: the same with somebody else's QUIC.
#![forbid(unsafe_code)]
#![expect(clippy::expect_used, reason = "a test says what it needs by failing")]

mod aioquic;
mod client;
mod connections;
mod requests;
