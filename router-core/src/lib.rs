//! Decides which dyno gets a request, and carries its bytes: an HTTP router to embed.
//!
//! Start here:
//! - [`route`]: DECIDES. Hosts, apps, dynos, balance, limits, faults. No sockets, no clocks.
//! - [`server::Server`]: threads that accept connections and route them by a [`route::table::RouteTable`].
//! - [`tls::Terminator`]: what a listener that speaks TLS is given; [`tls::CertificateStore`]: its certificates.
//! - [`observe::AccessLog`]: where the router's log lines go.
//! - `edge`, `proxy`, `upstream`, `h1`, `io`, `worker`: how the bytes get from a client to a dyno and back.
//!
//! It refuses: requests with more than one meaning, unbounded anything, global state, ending your process.
#![deny(unsafe_code)]

#[cfg(feature = "bench-internals")]
#[doc(hidden)]
pub mod bench;
pub(crate) mod edge;
pub(crate) mod h1;
pub(crate) mod io;
pub mod observe;
pub(crate) mod proxy;
pub mod route;
pub mod server;
pub mod tls;
pub(crate) mod upstream;
pub(crate) mod worker;

pub use busbar_registry as registry;
