//! What a worker has done so far.
//!
//! - [`Counters`]: written by one worker, read by anybody: plain stores, no contention.
//! - [`Totals`]: the sum over workers at one time.
//! - [`Closed`]: why a client's connection ended; each one that was accepted ends by exactly one of them.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::route::fault::Fault;

/// A number that one thread raises and others read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Only the owning worker may call this: the load and the store are two steps.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }
    pub(crate) fn sub(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(n), Ordering::Relaxed);
    }
    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a client's connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Closed {
    /// Its last response was sent, and it was closed in order, because either side had said so.
    Answered,
    /// The client closed it between requests, or before its request's head was whole.
    ClientLeft,
    /// It was idle for too long.
    Idle,
    /// It was cut in the middle of a request: the client left, or its response could not be completed.
    Broken,
    /// It was idle when the drain closed it.
    DrainIdle,
    /// Its last response was sent during the drain.
    DrainAnswered,
    /// It was in the middle of a request when the drain's time was up (H24): cut, or told so if nothing was sent yet.
    DrainCut,
    /// The client had as many connections as it may.
    ClientLimit,
    /// Its PROXY header was malformed, or did not come in time.
    ProxyHeader,
    /// It came from where no PROXY header is believed.
    ProxyPeer,
    /// Its TLS handshake was not done in time.
    TlsTimeout,
    /// It asked for a name that no certificate has, and there is no default.
    TlsName,
    /// Client and router have no version, cipher, signature or protocol in common.
    TlsNothingInCommon,
    /// The client broke the handshake off: most often it does not trust the certificate.
    TlsRefused,
    /// It showed no certificate where one is wanted, or one that is not good.
    TlsClientCertificate,
    /// What it sent is no TLS, or breaks its rules.
    TlsMalformed,
    /// Its handshake failed for another reason.
    TlsOther,
    /// After the handshake something came that is not what the client encrypted, or an alert.
    TlsBroken,
    /// An ACME server has validated a name by its handshake, which is all that it wanted.
    TlsValidation,
    /// It spoke plain HTTP where TLS is spoken, and was told so.
    PlainOnTls,
    /// Its client reset too many streams of HTTP/2 (CVE-2023-44487).
    Http2Resets,
    /// Its client made too many streams of HTTP/2 fail.
    Http2StreamErrors,
    /// Its client sent too many SETTINGS frames.
    Http2Settings,
    /// Its client sent too many PING frames.
    Http2Pings,
    /// Its client sent too many PRIORITY frames, or frames of unknown kinds.
    Http2Priorities,
    /// Its client sent too many WINDOW_UPDATE frames.
    Http2WindowUpdates,
    /// Its client sent too many DATA frames with nothing or next to nothing in them.
    Http2EmptyData,
    /// Its client sent too many CONTINUATION frames.
    Http2Continuations,
    /// Its client sent headers of HTTP/2 that unpack to far too much, or to nonsense.
    Http2HeaderList,
    /// Its client did not finish a head, or the beginning of HTTP/2, in time.
    Http2SlowHead,
    /// Its client broke another rule of HTTP/2.
    Http2Protocol,
    /// A bug ended it.
    Panicked,
}

impl Closed {
    /// All of them.
    pub const ALL: [Self; 32] = [
        Self::Answered,
        Self::ClientLeft,
        Self::Idle,
        Self::Broken,
        Self::DrainIdle,
        Self::DrainAnswered,
        Self::DrainCut,
        Self::ClientLimit,
        Self::ProxyHeader,
        Self::ProxyPeer,
        Self::TlsTimeout,
        Self::TlsName,
        Self::TlsNothingInCommon,
        Self::TlsRefused,
        Self::TlsClientCertificate,
        Self::TlsMalformed,
        Self::TlsOther,
        Self::TlsBroken,
        Self::TlsValidation,
        Self::PlainOnTls,
        Self::Http2Resets,
        Self::Http2StreamErrors,
        Self::Http2Settings,
        Self::Http2Pings,
        Self::Http2Priorities,
        Self::Http2WindowUpdates,
        Self::Http2EmptyData,
        Self::Http2Continuations,
        Self::Http2HeaderList,
        Self::Http2SlowHead,
        Self::Http2Protocol,
        Self::Panicked,
    ];

    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::ClientLeft => "client_left",
            Self::Idle => "idle",
            Self::Broken => "broken",
            Self::DrainIdle => "drain_idle",
            Self::DrainAnswered => "drain_answered",
            Self::DrainCut => "drain_cut",
            Self::ClientLimit => "client_limit",
            Self::ProxyHeader => "proxy_header",
            Self::ProxyPeer => "proxy_peer",
            Self::TlsTimeout => "tls_timeout",
            Self::TlsName => "tls_name",
            Self::TlsNothingInCommon => "tls_nothing_in_common",
            Self::TlsRefused => "tls_refused",
            Self::TlsClientCertificate => "tls_client_certificate",
            Self::TlsMalformed => "tls_malformed",
            Self::TlsOther => "tls_other",
            Self::TlsBroken => "tls_broken",
            Self::TlsValidation => "tls_validation",
            Self::PlainOnTls => "plain_on_tls",
            Self::Http2Resets => "http2_resets",
            Self::Http2StreamErrors => "http2_stream_errors",
            Self::Http2Settings => "http2_settings",
            Self::Http2Pings => "http2_pings",
            Self::Http2Priorities => "http2_priorities",
            Self::Http2WindowUpdates => "http2_window_updates",
            Self::Http2EmptyData => "http2_empty_data",
            Self::Http2Continuations => "http2_continuations",
            Self::Http2HeaderList => "http2_header_list",
            Self::Http2SlowHead => "http2_slow_head",
            Self::Http2Protocol => "http2_protocol",
            Self::Panicked => "panicked",
        }
    }
}

/// What one worker has done so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: Counter,
    /// By the first digit of the status, from 1xx to 5xx.
    pub(crate) statuses: [Counter; 5],
    /// By fault, in the order of [`Fault::ALL`].
    pub(crate) faults: Vec<Counter>,
    pub(crate) connections: Counter,
    pub(crate) connections_open: Counter,
    pub(crate) dials: Counter,
    pub(crate) reused: Counter,
    pub(crate) retries: Counter,
    pub(crate) bytes_sent: Counter,
    pub(crate) panics: Counter,
    pub(crate) log_lines_dropped: Counter,
    /// Connections cut because a drain took too long.
    pub(crate) cut: Counter,
    /// In the order of [`Closed::ALL`].
    pub(crate) closed: [Counter; Closed::ALL.len()],
    pub(crate) accepts_failed: Counter,
    pub(crate) dials_without_descriptor: Counter,
    pub(crate) kept: Counter,
    pub(crate) tls_handshakes: Counter,
    pub(crate) tls_resumed: Counter,
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self { faults: Fault::ALL.iter().map(|_| Counter::default()).collect(), ..Self::default() }
    }

    pub(crate) fn status(&self, status: u16) {
        if let Some(counter) = self.statuses.get(usize::from(status / 100).wrapping_sub(1)) {
            counter.add(1);
        }
    }

    pub(crate) fn closed(&self, why: Closed) {
        if let Some(counter) = self.closed.get(why as usize) {
            counter.add(1);
        }
    }

    pub(crate) fn fault(&self, fault: Fault) {
        if let Some(counter) = self.faults.get(fault.index()) {
            counter.add(1);
        }
    }
}

/// The sum over all workers of a server at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests answered or ended by a fault.
    pub requests: u64,
    /// By the first digit of the status: 1xx, 2xx, 3xx, 4xx, 5xx.
    pub statuses: [u64; 5],
    /// By the fault's id; only those that happened.
    pub faults: BTreeMap<String, u64>,
    /// Client connections accepted so far.
    pub connections: u64,
    /// Client connections open now.
    pub connections_open: u64,
    /// Connections made to dynos so far.
    pub dials: u64,
    /// Requests sent on a connection that was used before.
    pub reused: u64,
    /// Requests sent again on a new connection, because a used one turned out to be closed.
    pub retries: u64,
    /// Bytes sent to clients, heads included.
    pub bytes_sent: u64,
    /// Panics contained: bugs.
    pub panics: u64,
    /// Access lines that the log was too slow for.
    pub log_lines_dropped: u64,
    /// Client connections cut because a drain took too long.
    pub cut: u64,
    /// Client connections that ended, by why; only those that happened. With those that are open they are all that
    /// were accepted.
    pub closed: BTreeMap<Closed, u64>,
    /// Times when no connection could be accepted, for want of file descriptors or memory.
    pub accepts_failed: u64,
    /// Times when no connection to a dyno could be made, for want of file descriptors or memory.
    pub dials_without_descriptor: u64,
    /// Connections to dynos that wait for their next request now.
    pub kept: u64,
    /// TLS handshakes that were done.
    pub tls_handshakes: u64,
    /// Those of them that resumed a session.
    pub tls_resumed: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, worker: &Counters) {
        self.requests += worker.requests.get();
        for (sum, one) in self.statuses.iter_mut().zip(&worker.statuses) {
            *sum += one.get();
        }
        for (fault, count) in Fault::ALL.iter().zip(&worker.faults) {
            let count = count.get();
            if count > 0 {
                *self.faults.entry(fault.facts().id.to_owned()).or_default() += count;
            }
        }
        self.connections += worker.connections.get();
        self.connections_open += worker.connections_open.get();
        self.dials += worker.dials.get();
        self.reused += worker.reused.get();
        self.retries += worker.retries.get();
        self.bytes_sent += worker.bytes_sent.get();
        self.panics += worker.panics.get();
        self.log_lines_dropped += worker.log_lines_dropped.get();
        self.cut += worker.cut.get();
        for (why, count) in Closed::ALL.iter().zip(&worker.closed) {
            let count = count.get();
            if count > 0 {
                *self.closed.entry(*why).or_default() += count;
            }
        }
        self.accepts_failed += worker.accepts_failed.get();
        self.dials_without_descriptor += worker.dials_without_descriptor.get();
        self.kept += worker.kept.get();
        self.tls_handshakes += worker.tls_handshakes.get();
        self.tls_resumed += worker.tls_resumed.get();
    }
}
