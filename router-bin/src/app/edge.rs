//! The router's server. Every call of `router_core::server` is here.

use std::{io, num::NonZeroUsize, sync::Arc, time::Duration};

use busbar_registry::Address;

use router_core::{
    observe::AccessLog,
    route::table::RouteTable,
    server::{Http2Limits, Listener, Meter, Server, ServerOptions, options::PoolBounds},
    tls::Challenges,
};

use super::certificates::Shown;
use crate::{
    config::{EdgeRules, Handshakes, Limits, ListenAt},
    failure::Failure,
};

/// Takes the addresses, all of them or none. Who wants another one says so with `setting`.
///
/// # Errors
/// [`Failure::Bind`].
pub(super) fn listeners(
    places: &[ListenAt],
    setting: &str,
    shown: &mut Shown,
) -> Result<Vec<Listener>, Failure> {
    let mut bind = |place: &ListenAt| {
        let bound = match &place.address {
            Address::Tcp(address) => Listener::bind(*address),
            Address::Unix(path) => Listener::bind_unix(path, place.mode),
        };
        let listener = bound.map_err(|error| cannot_bind(error.address, error.source, setting))?;
        let listener = match &place.proxy_protocol {
            Some(rule) => listener.with_proxy_protocol(rule.clone()),
            None => listener,
        };
        let listener = match place.tls {
            Some(policy) => {
                listener.with_tls(shown.terminator(policy, place.http2, place.clients.as_ref())?)
            }
            None if place.http2 => listener.with_h2c(),
            None => listener,
        };
        #[cfg(feature = "h3")]
        if place.h3 {
            let quic = listener.with_h3();
            return quic.map_err(|error| cannot_bind(error.address, error.source, setting));
        }
        Ok(listener)
    };
    places.iter().map(&mut bind).collect()
}

/// What to do about an address that cannot be had.
pub(super) fn cannot_bind(address: Address, source: io::Error, setting: &str) -> Failure {
    let Some(tcp) = address.tcp() else {
        let advice = match source.kind() {
            io::ErrorKind::AddrInUse => {
                format!("stop the program that listens there, or choose another file with {setting}")
            }
            io::ErrorKind::AlreadyExists => "it is no socket, so it was left alone; remove it".to_owned(),
            _ => format!("check its directory, or choose another file with {setting}"),
        };
        return Failure::Bind { address, source, advice };
    };
    let advice = match source.kind() {
        io::ErrorKind::AddrInUse => {
            let next = tcp.port().checked_add(1).unwrap_or(8080);
            format!("stop the program that listens there, or choose another port with {setting}, like {next}")
        }
        io::ErrorKind::PermissionDenied => {
            format!(
                "choose a port from 1024 with {setting}, or give busbar CAP_NET_BIND_SERVICE (docs/operating.md)"
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no such address (see `ip address`); choose another one with {setting}")
        }
        _ => format!("choose another address with {setting}"),
    };
    Failure::Bind { address, source, advice }
}

/// A running router.
pub(crate) struct Edge(Server);

impl Edge {
    /// Starts `workers` threads that take requests from `listeners`.
    ///
    /// # Errors
    /// When the system has no thread or socket left.
    pub(crate) fn start(
        table: &RouteTable,
        listeners: Vec<Listener>,
        workers: NonZeroUsize,
        (limits, handshakes, http2): (Limits, Handshakes, Http2Limits),
        (rules, challenges): (EdgeRules, Option<Arc<Challenges>>),
        access_log: Option<Arc<dyn AccessLog>>,
    ) -> Result<Self, Failure> {
        let usual = ServerOptions::default();
        let options = ServerOptions {
            workers,
            connections_per_worker: limits
                .connections
                .map_or(usual.connections_per_worker, |n| n.div_ceil(workers.get())),
            connections_per_client: limits.connections_per_client,
            pool: PoolBounds {
                per_dyno: limits.kept_per_dyno.map_or(usual.pool.per_dyno, |n| n.div_ceil(workers.get())),
                total: limits.kept_connections.map_or(usual.pool.total, |n| n.div_ceil(workers.get())),
            },
            head_timeout: limits.head_timeout,
            handshake_timeout: handshakes.timeout,
            handshakes_per_worker: handshakes
                .at_once
                .map_or(usual.handshakes_per_worker, |n| n.div_ceil(workers.get())),
            keepalive_timeout: limits.keepalive_timeout,
            http2,
            request_limits: limits.request,
            response_limits: limits.response,
            request_policy: rules.policy,
            trusted_proxies: rules.trusted_proxies,
            forwarded: rules.forwarded,
            challenges,
            access_log,
        };
        Server::start(table, options, listeners).map(Self).map_err(|error| Failure::System {
            deed: "starting the router",
            source: io::Error::other(error.to_string()),
        })
    }

    /// Where it takes requests, with the ports the system chose.
    pub(crate) fn addresses(&self) -> &[Address] {
        self.0.local_addresses()
    }

    /// What it carries.
    pub(crate) fn meter(&self) -> Meter {
        self.0.meter()
    }

    /// Takes no more, lets requests finish for at most `patience`, and says what became of them.
    pub(crate) async fn drain(self, patience: Duration) -> String {
        let report = self.0.drain(patience).await;
        let served = match report.totals.requests {
            1 => "1 request".to_owned(),
            n => format!("{n} requests"),
        };
        let cut = match report.cut {
            0 => "none was cut".to_owned(),
            1 => format!("1 connection was cut after {} s (H24)", patience.as_secs_f32()),
            n => format!("{n} connections were cut after {} s (H24)", patience.as_secs_f32()),
        };
        let lost = match report.workers_lost {
            0 => String::new(),
            n => format!("; {n} workers had died, which is a bug: please report it"),
        };
        format!("drained: {served} served, {cut}{lost}")
    }
}
