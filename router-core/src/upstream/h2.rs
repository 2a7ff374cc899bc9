//! Dynos that speak HTTP/2: many requests over one connection.
//!
//! - [`Hub`] (in [`hub`]): a worker's connections, and who gets a stream of which.
//! - [`connection`]: one connection: its streams, its driver, its end.
//! - [`preface`]: from a socket to a connection, once the dyno has shown that it speaks HTTP/2.
//! - [`Stream`] (in [`stream`]): one stream as a [`Transport`](crate::io::Transport): the proxy sends HTTP/1.1 and receives
//!   HTTP/1.1, so everything it knows about requests holds for these, too.
//! - [`request`], [`response`]: the one made of the other's text.
//!
//! What is on the wire is the h2 crate's business. Each stream has a window of [`WINDOW`], and each connection has room for
//! the windows of all its streams, so that a client which takes nothing holds up nobody but itself.

mod connection;
mod hub;
mod preface;
mod request;
mod response;
mod stream;

pub(crate) use self::{hub::Hub, stream::Stream};

/// Requests over one connection at a time; the dyno may want fewer.
const STREAMS: usize = 100;
/// What a dyno may send of one response before it is taken, in bytes.
const WINDOW: u32 = 128 * 1024;
/// How much of one request may wait in a connection to be sent, in bytes.
const SEND_BUFFER: usize = 128 * 1024;
/// The longest part of a request that is handed to the connection at once, in bytes.
const PIECE: usize = 16 * 1024;
