//! The client side of the wire. Each edge reads requests in its own way and hands them to `proxy/`, which knows no
//! difference between them.
//!
//! - [`h1`]: HTTP/1.0 and HTTP/1.1.
//! - [`proxy_protocol`]: what a proxy in front says about whom a connection is for.

pub(crate) mod h1;
pub(crate) mod proxy_protocol;
