//! Clients that speak HTTP/2: in the clear with prior knowledge, and over TLS.
//!
//! - [`client`]: a client by the h2 crate, and a router that is reached either way.
//! - [`frames`]: a client that writes frames by hand, also such as no library would.
//! - [`messages`]: heads, bodies, trailers, 1xx, early responses. [`sockets`]: WebSockets.
//! - [`ends`]: GOAWAY, drains, crashes, idle connections. [`rests`]: what is left of a response then.
//! - [`flow`]: slow clients, windows.
//! - [`refused`]: what must not reach HTTP/1.1. [`floods`]: what costs a client little.
//! - [`tools`]: curl, h2load, Node, Python.

mod client;
mod ends;
mod floods;
mod flow;
mod frames;
mod messages;
mod refused;
mod rests;
mod sockets;
mod tools;
