//! The client side of the wire. Each edge reads requests in its own way and hands them to `proxy/`, which knows no
//! difference between them.
//!
//! - [`h1`]: HTTP/1.0 and HTTP/1.1.
//! - `h3`: HTTP/3, over QUIC (feature `h3`).
//! - `http`: requests that somebody else has read, of any version.
//! - [`proxy_protocol`]: what a proxy in front says about whom a connection is for.

pub(crate) mod h1;
#[cfg(feature = "h3")]
pub(crate) mod h3;
#[cfg(feature = "tower")]
pub(crate) mod http;
pub(crate) mod proxy_protocol;
