//! The router as pingora's [`ProxyHttp`]. Feature `pingora`.
//!
//! - [`PingoraRouter`]: give it to [`http_proxy_service`](::pingora::proxy::http_proxy_service).
//! - [`Context`]: what is known of one request. [`request`]: how it is read and written. [`place`]: a dyno for it.
//! - [`fault`]: what pingora's errors mean, and the pages. [`record`]: the access line.
//!
//! pingora accepts, carries bytes, and keeps connections; the table, admission, the queue, balance, affinity,
//! quarantine, retries to other dynos, H-codes, pages, headers and access lines are this router's. It works on a
//! [`RouteTable`] that no [`Server`](crate::server::Server) uses.
//!
//! What pingora does otherwise than this crate's own server:
//! - It reads requests itself, and repairs some that the own server refuses; what it has read is then judged by the
//!   same strict parser.
//! - A read from a dyno has one timeout: the longer one of first byte (H12) and idle (H15).
//! - Trailers of requests are lost, a faulty request's connection is closed, and a client that leaves the queue is
//!   noticed when its turn comes.
//! - It owns the process: signals, daemons, its end.
//!
//! ```no_run
//! use pingora::{proxy::http_proxy_service, server::Server};
//! use router_core::{pingora::PingoraRouter, route::table::RouteTable, server::ServerOptions};
//!
//! let (table, _publisher) = RouteTable::new();
//! let mut server = Server::new(None).unwrap();
//! server.bootstrap();
//! let router = PingoraRouter::new(table, ServerOptions::default());
//! let mut service = http_proxy_service(&server.configuration, router);
//! service.add_tcp("127.0.0.1:8080");
//! server.add_service(service);
//! server.run_forever();
//! ```

mod fault;
mod place;
mod record;
mod request;

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use ::pingora::{
    Error, Result,
    http::{RequestHeader, ResponseHeader},
    prelude::HttpPeer,
    protocols::Digest,
    proxy::{FailToProxy, ProxyHttp, Session},
};
use async_trait::async_trait;

pub use self::request::Context;
use crate::{
    observe::log_buffer::LogBuffer,
    route::{Moment, RequestId, RequestIds, retry::ConnectFailure, table::RouteTable},
    server::ServerOptions,
    worker::clock::Clock,
};

/// Routes by a table, as pingora asks.
pub struct PingoraRouter {
    table: RouteTable,
    options: ServerOptions,
    start: Instant,
    start_unix_ms: u64,
    ids: Mutex<RequestIds>,
}

impl PingoraRouter {
    /// A router by this table. Of the options those count that say how requests are read (`request_limits`,
    /// `request_policy`, `trusted_proxies`, `forwarded`) and where lines go (`access_log`, one call per line).
    pub fn new(table: RouteTable, options: ServerOptions) -> Self {
        let (mut seed, start) = ([0; 16], Instant::now());
        getrandom::fill(&mut seed).unwrap_or_default(); // ids can be guessed, then
        let start_unix_ms = Clock::since(start).unix_ms(Moment::START);
        Self { table, options, start, start_unix_ms, ids: Mutex::new(RequestIds::from_seed(seed)) }
    }

    fn now(&self) -> Moment {
        Moment::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn request_id(&self, sent: Option<&[u8]>) -> RequestId {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).accept(sent)
    }

    /// A whole access line.
    fn log(&self, line: &crate::route::LogLine<'_>) {
        let buffer = LogBuffer::new(self.options.access_log.clone());
        buffer.add(line);
    }
}

impl std::fmt::Debug for PingoraRouter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PingoraRouter").field("options", &self.options).finish_non_exhaustive()
    }
}

#[async_trait]
impl ProxyHttp for PingoraRouter {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::new(self.request_id(None), self.now())
    }

    /// Reads the request strictly and lets it in, or answers it.
    async fn request_filter(&self, session: &mut Session, request: &mut Context) -> Result<bool> {
        match request.admit(self, session) {
            Ok(()) => Ok(false),
            Err(fault) => {
                request.fault = Some(fault);
                request.answer(session, fault).await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(&self, _: &mut Session, request: &mut Context) -> Result<Box<HttpPeer>> {
        match place::take(self, request).await {
            Ok(peer) => Ok(Box::new(peer)),
            Err(fault) => {
                request.fault = Some(fault);
                Err(Error::new(::pingora::ErrorType::HTTPStatus(fault.facts().status)))
            }
        }
    }

    /// Leaves the dyno alone for a while; another one is tried if that is worthwhile.
    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        request: &mut Context,
        mut error: Box<Error>,
    ) -> Box<Error> {
        let timed_out = matches!(error.etype(), ::pingora::ErrorType::ConnectTimedout);
        let how = if timed_out { ConnectFailure::TimedOut } else { ConnectFailure::Refused };
        match request.failed_to_connect(how, self.now()) {
            Ok(()) => error.set_retry(true),
            Err(fault) => {
                request.fault = Some(fault);
                error.set_retry(false);
            }
        }
        error
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        reused: bool,
        _: &HttpPeer,
        #[cfg(unix)] _: std::os::unix::io::RawFd,
        #[cfg(windows)] _: std::os::windows::io::RawSocket,
        _: Option<&Digest>,
        request: &mut Context,
    ) -> Result<()> {
        request.connected(reused, self.now());
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        head: &mut RequestHeader,
        request: &mut Context,
    ) -> Result<()> {
        request.write_head(self, head)
    }

    async fn response_filter(
        &self,
        _: &mut Session,
        head: &mut ResponseHeader,
        request: &mut Context,
    ) -> Result<()> {
        request.answered(head)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        request: &mut Context,
    ) -> FailToProxy {
        let fault = request.fault.unwrap_or_else(|| fault::of(error, request.has_answered()));
        request.fault = Some(fault);
        let answered = request.answer(session, fault).await;
        let error_code = if answered.is_ok() { fault.facts().status } else { 0 };
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    /// The access line says it.
    fn suppress_error_log(&self, _: &Session, _: &Context, _: &Error) -> bool {
        true
    }

    /// The request is over: its places are free, and its line is written.
    async fn logging(&self, session: &mut Session, _: Option<&Error>, request: &mut Context) {
        request.close(self, session);
    }
}

/// The one timeout that pingora has for two.
fn longer(one: Duration, other: Duration) -> Option<Duration> {
    Some(one.max(other))
}
