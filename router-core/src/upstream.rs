//! The dyno side of the wire.
//!
//! - [`pool`]: connections to dynos that wait for their next request, per worker.
//! - [`dial`]: a new connection, within the time allowed.

pub(crate) mod dial;
pub(crate) mod pool;
