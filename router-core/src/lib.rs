//! Decides which dyno gets a request, and carries its bytes: an HTTP router to embed.
//!
//! Start here:
//! - [`route`]: DECIDES. Hosts, apps, dynos, balance, limits, faults. No sockets, no clocks.
//! - [`server::Server`]: threads that accept connections and route them by a [`route::table::RouteTable`].
//! - [`tls::Terminator`]: what a listener that speaks TLS is given; [`tls::CertificateStore`]: its certificates.
//! - `service::RouterService` (feature `tower`): the same behind a server of your own, axum or hyper.
//! - `pingora::PingoraRouter` (feature `pingora`): the same decisions within pingora.
//! - [`observe::AccessLog`]: where the router's log lines go.
//! - `edge`, `proxy`, `upstream`, `h1`, `io`, `worker`: how the bytes get from a client to a dyno and back.
//!
//! It refuses: requests with more than one meaning, unbounded anything, global state, ending your process.
#![deny(unsafe_code)]

pub(crate) mod edge;
pub(crate) mod h1;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
pub(crate) mod io;
pub mod observe;
#[cfg(feature = "pingora")]
pub mod pingora;
pub(crate) mod proxy;
pub mod route;
pub mod server;
#[cfg(feature = "tower")]
pub mod service;
pub(crate) mod sync;
pub mod tls;
pub(crate) mod upstream;
pub(crate) mod worker;

pub use busbar_registry as registry;
