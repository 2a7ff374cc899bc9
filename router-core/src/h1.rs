//! HTTP/1.1 on the wire (RFC 9110, RFC 9112): exactly one meaning, or a refusal.
//!
//! - [`limits`]: how long a head and its parts may be.
//! - [`field`]: header fields as places in a buffer, and which ones mean something to a proxy.
//! - [`request`], [`response`]: a head, parsed by httparse and then read strictly.
//! - [`framing`]: where a body ends: Content-Length, Transfer-Encoding, close.
//! - [`chunked`]: the chunked coding, checked and cleaned in place.
//! - [`body`]: one body on its way through a buffer.
//! - [`policy`]: what is done about requests that not every app reads alike.
//!
//! No sockets here: bytes in, facts out.
#![expect(clippy::indexing_slicing, reason = "spans come from the parser of the very buffer they index")]

pub(crate) mod body;
pub(crate) mod chunked;
pub(crate) mod field;
pub(crate) mod framing;
pub(crate) mod limits;
pub(crate) mod policy;
pub(crate) mod request;
pub(crate) mod response;
