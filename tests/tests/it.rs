//! The end-to-end suite: one binary, real sockets. What it needs is in the library beside it.
//!
//! - [`balancing`]: which dyno gets a request.
//! - [`embedding`]: the router as a library.
//! - [`queueing`]: one request per dyno, the rest waits.
//! - [`spec`]: SPEC.md names tests that exist.
//! - [`slow_clients`]: clients that do not take their response.
//! - [`edges`]: socket files, IPv6, PROXY headers. [`overload`]: too many, too slow, the end.
//! - [`stale`]: kept connections that close just when they are used.
//! - [`heroku`]: what Heroku's routers do, statement by statement: `HEROKU.md` lists them.
//! - [`strict`]: one meaning or a refusal, on the wire in both directions; whom the router believes.
//! - [`http2`]: clients that speak HTTP/2, well or ill.
//! - [`tls`]: encrypted connections, their certificates, and their ends.
//! - [`clients`]: real clients: curl, Python, Node, Go, wrk, h2load.
//! - [`http2_dynos`]: dynos that speak HTTP/2. [`grpc`]: gRPC, from a client of Python's to dynos of Python's.
//! - [`misbehaving`]: dynos that misbehave, and what the client and the log make of it.

#![expect(clippy::expect_used, reason = "a test says what it needs by failing")]

mod balancing;
mod clients;
mod edges;
mod embedding;
mod grpc;
mod heroku;
mod http2;
mod http2_dynos;
mod misbehaving;
mod overload;
mod queueing;
mod slow_clients;
mod spec;
mod stale;
mod strict;
mod tls;
