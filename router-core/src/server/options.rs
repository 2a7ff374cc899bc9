//! How a server works.

use std::{fmt, num::NonZeroUsize, sync::Arc, time::Duration};

pub use crate::{
    h1::{
        limits::{ChunkLimits, RequestLimits, ResponseLimits},
        policy::{ContentLengthWithChunked, RequestPolicy, Underscores},
    },
    upstream::pool::PoolBounds,
};
use crate::{observe::AccessLog, route::forward::TrustedProxies, tls::Challenges};

/// How a server works. Everything has a finite default.
#[derive(Clone)]
pub struct ServerOptions {
    /// How many threads; each owns its connections for their whole life. Default: one per core.
    pub workers: NonZeroUsize,
    /// Client connections per worker; beyond that the next ones wait in the kernel's queue. Default: 10 000.
    /// A server never takes more than fit into the file descriptors of its process.
    pub connections_per_worker: usize,
    /// Client connections of one address, over all workers; further ones are closed at once. IPv6 addresses count by
    /// their first 64 bits, those behind a PROXY header by what it says, those on a socket file not at all. `None`:
    /// no such limit. Default: none.
    pub connections_per_client: Option<NonZeroUsize>,
    /// Bounds on connections kept to dynos, for each worker.
    pub pool: PoolBounds,
    /// How long a client may take to send a request's head once it has begun (408 beyond). Default: 60 s.
    pub head_timeout: Duration,
    /// How long a TLS handshake may take, from the connection's beginning. Default: 10 s.
    pub handshake_timeout: Duration,
    /// TLS handshakes under way per worker; the next ones wait. Default: 512, some 8 MiB.
    pub handshakes_per_worker: usize,
    /// How long a client connection may idle between requests. Default: 60 s.
    pub keepalive_timeout: Duration,
    /// Bounds on connections that speak HTTP/2.
    pub http2: Http2Limits,
    /// Bounds on a request's head. Default: Heroku's.
    pub request_limits: RequestLimits,
    /// Bounds on a response's head. Default: Heroku's.
    pub response_limits: ResponseLimits,
    /// What is done about requests that not every app reads alike.
    pub request_policy: RequestPolicy,
    /// Whose word about the client is believed. Default: nobody's.
    pub trusted_proxies: TrustedProxies,
    /// Whether dynos get a `Forwarded` header (RFC 7239), too. Default: no.
    pub forwarded: bool,
    /// Answers to ACME servers that validate names by http-01; `None`: such requests go to the apps. Default: none.
    pub challenges: Option<Arc<Challenges>>,
    /// Where the access lines go; `None`: they are not rendered. Default: none.
    pub access_log: Option<Arc<dyn AccessLog>>,
}

/// Bounds on one connection that speaks HTTP/2. A client may make the router hold `connection_window` of request bodies,
/// `send_buffer` and `held` of responses and `heads` of heads, and no more by opening more streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2Limits {
    /// Requests at a time; a further one is refused (REFUSED_STREAM). Default: 100.
    pub streams: u32,
    /// How many bytes of one request's body may be under way to its dyno. Default: 256 KiB.
    pub stream_window: u32,
    /// The same for all requests together. Default: 1 MiB.
    pub connection_window: u32,
    /// The longest frame that a client may send, from 16 KiB to 16 MiB. Default: 16 KiB.
    pub frame: u32,
    /// How many bytes of responses may wait for the client's socket, whatever windows it grants. Default: 256 KiB.
    pub send_buffer: usize,
    /// How many bytes of heads may be served at a time; a further request is refused (REFUSED_STREAM). Default: 1 MiB.
    pub heads: usize,
    /// How many bytes of responses may be held for a client that takes nothing (an app's `response_buffer`), of all its
    /// responses together. Default: 4 MiB.
    pub held: usize,
    /// How many streams a connection may have that fail by its client's doing, or are refused, in its whole life.
    /// Default: 500.
    pub stream_errors: usize,
}

impl Default for Http2Limits {
    fn default() -> Self {
        Self {
            streams: 100,
            stream_window: 256 * 1024,
            connection_window: 1024 * 1024,
            frame: 16 * 1024,
            send_buffer: 256 * 1024,
            heads: 1024 * 1024,
            held: 4 * 1024 * 1024,
            stream_errors: 500,
        }
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            connections_per_worker: 10_000,
            connections_per_client: None,
            pool: PoolBounds::default(),
            head_timeout: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(10),
            handshakes_per_worker: 512,
            keepalive_timeout: Duration::from_secs(60),
            http2: Http2Limits::default(),
            request_limits: RequestLimits::default(),
            response_limits: ResponseLimits::default(),
            request_policy: RequestPolicy::default(),
            trusted_proxies: TrustedProxies::default(),
            forwarded: false,
            challenges: None,
            access_log: None,
        }
    }
}

impl fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerOptions")
            .field("workers", &self.workers)
            .field("connections_per_worker", &self.connections_per_worker)
            .field("connections_per_client", &self.connections_per_client)
            .field("pool", &self.pool)
            .field("head_timeout", &self.head_timeout)
            .field("handshake_timeout", &self.handshake_timeout)
            .field("handshakes_per_worker", &self.handshakes_per_worker)
            .field("keepalive_timeout", &self.keepalive_timeout)
            .field("http2", &self.http2)
            .field("request_limits", &self.request_limits)
            .field("response_limits", &self.response_limits)
            .field("request_policy", &self.request_policy)
            .field("trusted_proxies", &self.trusted_proxies)
            .field("forwarded", &self.forwarded)
            .field("challenges", &self.challenges)
            .finish_non_exhaustive()
    }
}
