//! The router behind a server of your own: a [`tower::Service`](tower_service::Service) of `http` requests, for
//! multi-threaded runtimes. Feature `tower`.
//!
//! - [`RouterService`]: what [`Server::service`](crate::server::Server::service) gives. Clone it freely.
//! - [`Peer`]: put one into a request's extensions to say who sent it.
//! - [`ResponseFuture`], [`ResponseBody`], [`ResponseCut`]: what comes back.
//! - [`job`]: how a request gets to a worker's thread.
//!
//! A request is moved, body and all, to one of the server's workers and goes through the same pipeline as one from a
//! socket: the same table, limits, queues, timeouts, retries, H-codes, access lines and counters. The server may have
//! listeners of its own besides, or none.
//!
//! - **Requests** of any HTTP version are written as HTTP/1.1 and read by the router's own strict parser: what is
//!   refused on a socket is refused here, with the same page. `Host` is `:authority` where there is none; two that
//!   differ are refused. A body of unknown length goes to the dyno in chunks; one that is not as long as
//!   `Content-Length` says is refused. Names of headers are in lower case.
//! - **Bodies** are read as the dyno takes them and written as you take them; 128 KiB of a response wait at most
//!   besides what `response_buffer_bytes` allows. Trailers pass both ways. The request's body is polled on the
//!   worker's thread, so it must not block.
//! - **Leaving**: drop the future or the response's body, and the request ends as H27.
//! - **Upgrades** (WebSocket) pass when the request carries hyper's `OnUpgrade`, as hyper and axum put it there, and
//!   the server serves connections with upgrades. Otherwise a request is served as if it had not asked for one.
//! - **Not passed on**: other 1xx responses, reason phrases, `Connection` headers. The connection to your client is
//!   yours; `Expect: 100-continue` is answered by your server when the body is first asked for.
//!
//! ```
//! # async fn of(request: http::Request<String>) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use router_core::{route::table::RouteTable, server::{Server, ServerOptions}, service::Peer};
//! use tower_service::Service;
//!
//! let (table, _publisher) = RouteTable::new();
//! let server = Server::start(&table, ServerOptions::default(), vec![])?;
//! let mut router = server.service();
//!
//! # let mut request = request;
//! request.extensions_mut().insert(Peer { client: Some([192, 0, 2, 7].into()), tls: true });
//! std::future::poll_fn(|cx| Service::<http::Request<String>>::poll_ready(&mut router, cx)).await?;
//! let response = router.call(request).await?;
//! assert_eq!(response.status(), 404); // the table is empty
//! server.drain(Duration::from_secs(30)).await;
//! # Ok(()) }
//! # let request = http::Request::builder().uri("/").header("host", "shop.example").body(String::new()).unwrap();
//! # tokio::runtime::Runtime::new().unwrap().block_on(of(request)).unwrap();
//! ```

pub(crate) mod job;

use std::{
    convert::Infallible,
    fmt,
    net::IpAddr,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::PollSemaphore;

use self::job::Hatches;
pub use crate::edge::http::reply::{ResponseBody, ResponseCut, ResponseFuture};
use crate::{edge::http::reply, route::Fault};

/// Who sent a request: an extension of the request. Without it the router says of a request that it came in the clear
/// from somebody whose address is not known: no address is added to `X-Forwarded-For`, and `fwd` in the log is empty.
///
/// Whether its word about others is believed is for
/// [`ServerOptions::trusted_proxies`](crate::server::ServerOptions::trusted_proxies) to say, as everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Peer {
    /// The address at the other end of its connection.
    pub client: Option<IpAddr>,
    /// Whether that connection is encrypted.
    pub tls: bool,
}

/// Routes requests to dynos. It always answers: faults are responses, with the router's pages.
///
/// Clones share workers and limits. When the server is drained, what was handed over before is finished, and
/// what comes after is answered by H24: stop your own server first.
pub struct RouterService {
    hatches: Hatches,
    places: PollSemaphore,
    place: Option<OwnedSemaphorePermit>,
}

impl RouterService {
    pub(crate) fn new(hatches: &Hatches) -> Self {
        let places = PollSemaphore::new(hatches.places());
        Self { hatches: hatches.clone(), places, place: None }
    }
}

impl Clone for RouterService {
    fn clone(&self) -> Self {
        Self::new(&self.hatches)
    }
}

impl fmt::Debug for RouterService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouterService").field("is_ready", &self.place.is_some()).finish_non_exhaustive()
    }
}

impl<B> tower_service::Service<Request<B>> for RouterService
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    /// Ready when one more request may be under way; a place is kept for it then.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.place.is_none() {
            self.place = ready!(self.places.poll_acquire(cx));
        }
        Poll::Ready(Ok(()))
    }

    /// Hands the request to the worker with the fewest. Called without being ready, it is answered by H11 when there
    /// is no place.
    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        let place = self.place.take().or_else(|| self.hatches.places().try_acquire_owned().ok());
        match place {
            Some(place) => self.hatches.hand_over(request, place),
            None => reply::answered(Fault::BacklogTooDeep),
        }
    }
}

/// A body as workers get it: of any type, from any thread.
pub(crate) type AnyBody = std::pin::Pin<Box<dyn Body<Data = Bytes, Error = Broken> + Send>>;

/// A request's body broke off. Why is for whoever made it to say; here it means that the client has gone.
#[derive(Debug)]
pub(crate) struct Broken;
