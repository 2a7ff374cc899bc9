//! Everything that is decided before a run.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

/// What a run does. Everything in it is bounded: there is no run without an end.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where to connect.
    pub address: SocketAddr,
    /// What is sent.
    pub request: Request,
    /// How it is carried.
    pub protocol: Protocol,
    /// Whether through TLS 1.3, and how its sessions begin.
    pub tls: Option<Session>,
    /// How many connections there are in all.
    pub connections: usize,
    /// How many threads drive them; at most one per connection.
    pub threads: usize,
    /// When requests are sent.
    pub pace: Pace,
    /// When it ends.
    pub bound: Bound,
    /// How long it runs before anything counts.
    pub warmup: Duration,
    /// How long an answer may take from when the request was due, connecting included. In an open loop a request that cannot
    /// even be sent within that time is not sent any more.
    pub timeout: Duration,
    /// How long outstanding requests may take after the end.
    pub grace: Duration,
    /// The run ends early after so long without a single good answer, if there were errors.
    pub give_up: Duration,
    /// Bytes per second at which each connection reads and sends, for slow clients.
    pub slow: Slow,
    /// Where random moments come from.
    pub seed: u64,
}

/// What is sent.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: http::Method,
    /// The `Host`, also the server name of TLS.
    pub host: String,
    /// The path with its query.
    pub path: String,
    /// More fields.
    pub fields: Vec<(String, String)>,
    /// Bytes of body; for WebSocket of each message.
    pub body: usize,
}

/// How requests are carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// HTTP/1.1, one request after another on each connection.
    Http1,
    /// HTTP/1.1, each request on a connection of its own.
    Http1PerConnection,
    /// HTTP/2 with so many streams at once on each connection.
    Http2 {
        /// Streams per connection.
        streams: usize,
    },
    /// Messages that are echoed over a WebSocket.
    WebSocket,
}

/// How TLS sessions begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Session {
    /// With a full handshake.
    Full,
    /// Resumed from the one before, after the first.
    Resumed,
}

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pace {
    /// When the answer before has come.
    Closed,
    /// At moments that do not depend on the server.
    Open {
        /// Requests per second altogether.
        rate: f64,
        /// How the moments are spread.
        arrivals: Arrivals,
    },
}

/// Rates that can be kept, or at least be counted.
pub const RATES: std::ops::RangeInclusive<f64> = 0.001..=10e6;

/// How the moments of an open loop are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    /// Evenly.
    #[default]
    Constant,
    /// As independent people come: exponential gaps.
    Poisson,
}

/// When a run ends: at whichever comes first. [`Bound::requests`] alone would never end with a silent server, so there is
/// always a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// After this much time.
    pub time: Duration,
    /// After this many requests.
    pub requests: Option<u64>,
}

/// Bytes per second; none is as fast as it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slow {
    /// At which answers are read.
    pub read: Option<u64>,
    /// At which requests are sent.
    pub send: Option<u64>,
}

impl Plan {
    /// Closed loop for two seconds over one connection: what tests and comparisons begin with.
    #[must_use]
    pub fn simple(address: SocketAddr, host: &str, path: &str) -> Self {
        Self {
            address,
            request: Request {
                method: http::Method::GET,
                host: host.to_owned(),
                path: path.to_owned(),
                fields: Vec::new(),
                body: 0,
            },
            protocol: Protocol::Http1,
            tls: None,
            connections: 1,
            threads: 1,
            pace: Pace::Closed,
            bound: Bound { time: Duration::from_secs(2), requests: None },
            warmup: Duration::ZERO,
            timeout: Duration::from_secs(30),
            grace: Duration::from_secs(5),
            give_up: Duration::from_secs(5),
            slow: Slow::default(),
            seed: 1,
        }
    }

    /// How many requests can be under way at once.
    #[must_use]
    pub const fn slots(&self) -> usize {
        match self.protocol {
            Protocol::Http2 { streams } => self.connections * streams,
            _ => self.connections,
        }
    }
}
