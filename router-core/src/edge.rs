//! The client side of the wire. Each edge reads requests in its own way and hands them to `proxy/`, which knows no
//! difference between them.
//!
//! - [`h1`]: HTTP/1.0 and HTTP/1.1.

pub(crate) mod h1;
