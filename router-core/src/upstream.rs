//! The dyno side of the wire.
//!
//! - [`link`]: a way to a dyno, whatever it speaks.
//! - [`pool`]: connections to dynos that wait for their next request, per worker.
//! - [`dial`]: a new connection, within the time allowed.
//! - [`h2`]: dynos that speak HTTP/2: many requests over one connection.

pub(crate) mod dial;
pub(crate) mod h2;
pub(crate) mod link;
pub(crate) mod pool;
