//! The client side of the wire. Each edge reads requests in its own way and hands them to `proxy/`, which knows no
//! difference between them.
//!
//! - [`h1`]: HTTP/1.0 and HTTP/1.1.
//! - [`h2`][]: HTTP/2.
//! - `h3`: HTTP/3, over QUIC (feature `h3`).
//! - `http`: requests that somebody else has read, of any version.
//! - [`translate`]: what the last two have in common: requests and responses of the `http` crate.
//! - [`proxy_protocol`]: what a proxy in front says about whom a connection is for.

pub(crate) mod h1;
pub(crate) mod h2;
#[cfg(feature = "h3")]
pub(crate) mod h3;
#[cfg(feature = "tower")]
pub(crate) mod http;
pub(crate) mod proxy_protocol;
pub(crate) mod translate;
