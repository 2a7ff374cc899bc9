//! The wire path's inner steps, for the criterion benches of `busbar-bench`, for the fuzz targets, and nobody else.
//!
//! - [`Heads`]: reads heads, and renders what goes on from them: a request's to a dyno, a response's to a client.
//! - [`RequestMeaning`], [`ResponseMeaning`]: what a head says to the router, in a form that can be compared.
//! - [`Chunks`], [`chunks`]: the chunked codec, fed piece by piece or with a whole body.
//! - [`proxy_header`]: what the PROXY header at the front of a connection says.
//!
//! The codec is private, because bytes read by it are safe only together with the rest of the proxy; but what it costs must be
//! measured apart from sockets, and what it refuses must be attacked there. So this is hidden, behind the feature `internals`,
//! and no promise is kept about it.

mod chunks;
mod meaning;
mod page;

use std::net::SocketAddr;

pub use self::{
    chunks::{Chunks, chunks},
    meaning::{End, RequestMeaning, ResponseMeaning},
};
use crate::{
    edge::{
        h2::stream,
        proxy_protocol::parse::{self, Parsed, Source},
        translate::head::Length,
    },
    h1::{
        request::{self, Persistence},
        response,
    },
    proxy::{
        Papers, Request,
        head::{Response, to_client, to_dyno},
    },
    registry::Routing,
    route::{
        Fault, RequestId,
        forward::{self, Arrival},
        table::RouteTable,
    },
    server::ServerOptions,
    worker::{Worker, buffers::Desk},
};

/// A worker without sockets, and what one request writes on.
pub struct Heads {
    worker: Worker,
    desk: Desk,
    routing: Routing,
}

impl Default for Heads {
    fn default() -> Self {
        Self::new(ServerOptions::default())
    }
}

impl Heads {
    /// Those of a server with these options.
    pub fn new(options: ServerOptions) -> Self {
        let worker = Worker::alone(options, RouteTable::new().0.reader());
        Self { worker, desk: Desk::default(), routing: Routing::default() }
    }

    /// Parses a request's head; its length, unless it is refused or not whole.
    pub fn parse_request(&mut self, text: &[u8]) -> Option<usize> {
        let (options, fields) = (&self.worker.options, &mut self.desk.request_fields);
        request::parse(text, &options.request_limits, options.request_policy, fields)
            .ok()
            .flatten()
            .map(|head| head.length)
    }

    /// Parses a response's head; its length, unless it is refused or not whole.
    pub fn parse_response(&mut self, text: &[u8]) -> Option<usize> {
        let (limits, fields) = (&self.worker.options.response_limits, &mut self.desk.response_fields);
        response::parse(text, limits, fields).ok().flatten().map(|head| head.length)
    }

    /// What a request's head says; `None` when it is not whole.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn read_request(&mut self, text: &[u8]) -> Result<Option<RequestMeaning>, Fault> {
        let (options, fields) = (&self.worker.options, &mut self.desk.request_fields);
        let head = request::parse(text, &options.request_limits, options.request_policy, fields)?;
        Ok(head.map(|head| RequestMeaning::of(&head, text)))
    }

    /// The HTTP/1.1 text that a request over HTTP/2 becomes, and what that says. `None`: the `http` crate cannot hold it, so
    /// the library that reads HTTP/2 refuses it. `body`: more than the head came.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn read_http2(
        &mut self,
        [method, authority, path]: [&[u8]; 3],
        fields: &[(&[u8], &[u8])],
        body: bool,
    ) -> Option<Result<(Vec<u8>, RequestMeaning), Fault>> {
        let mut uri = http::uri::Parts::default();
        if !authority.is_empty() {
            uri.authority = Some(authority.try_into().ok()?);
            uri.scheme = Some(http::uri::Scheme::HTTP);
        }
        uri.path_and_query = Some(path.try_into().ok()?);
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.method = http::Method::from_bytes(method).ok()?;
        // As h2 does it: without an authority there is no scheme.
        parts.uri = http::Uri::from_parts(uri).ok()?;
        parts.version = http::Version::HTTP_2;
        for (name, value) in fields {
            let name = http::HeaderName::from_lowercase(name).ok()?;
            parts.headers.append(name, http::HeaderValue::from_bytes(value).ok()?);
        }
        self.desk.text.clear();
        let length = if body { Length::Unknown } else { Length::Known(0) };
        let read = stream::read(&self.worker.options, &mut self.desk, &parts, length, false);
        Some(read.map(|head| (self.desk.text.clone(), RequestMeaning::of(&head, &self.desk.text))))
    }

    /// What a response's head says; `None` when it is not whole.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn read_response(&mut self, text: &[u8]) -> Result<Option<ResponseMeaning>, Fault> {
        let (limits, fields) = (&self.worker.options.response_limits, &mut self.desk.response_fields);
        let head = response::parse(text, limits, fields)?;
        Ok(head.map(|head| ResponseMeaning::of(&head, text)))
    }

    /// Parses a request's head and renders the one its dyno gets, under the name `id`.
    pub fn rewrite_request(&mut self, bytes: &[u8], arrival: Arrival, id: &RequestId) -> Option<&[u8]> {
        let Self { worker, desk, routing } = self;
        let (limits, policy) = (&worker.options.request_limits, worker.options.request_policy);
        let head = request::parse(bytes, limits, policy, &mut desk.request_fields).ok()??;
        let received = worker.now();
        let request = Request {
            bytes,
            fields: &desk.request_fields,
            head: &head,
            arrival,
            received,
            misdirected: false,
            identity: None,
        };
        desk.forwarded_for.clear();
        forward::forwarded_for(&mut desk.forwarded_for, std::iter::empty(), arrival.client);
        let mut papers = Papers {
            to_dyno: &mut desk.to_dyno,
            forwarded_for: &mut desk.forwarded_for,
            via: &mut desk.via,
            response_fields: &mut desk.response_fields,
        };
        to_dyno(worker, &request, routing, id, &mut papers);
        Some(&self.desk.to_dyno)
    }

    /// Parses a response's head and renders the one its client gets, who understands chunks or does not.
    pub fn rewrite_response(&mut self, bytes: &[u8], keeps_chunks: bool) -> Option<Vec<u8>> {
        let Self { worker, desk, .. } = self;
        let fields = &mut desk.response_fields;
        let head = response::parse(bytes, &worker.options.response_limits, fields).ok()??;
        let mut page = page::Page::new(keeps_chunks);
        let persistence = (head.status >= 200).then_some(Persistence::KeepAlive);
        let response = Response { head: &head, fields, bytes, cookie: None, hsts: None, alternative: None };
        to_client(&mut page, &response, persistence, &mut desk.via);
        Some(page.text())
    }
}

/// What the PROXY header at the beginning of `bytes` says: its length, and source and destination if it names any.
/// `None` when it is not whole.
///
/// # Errors
/// It is none.
#[expect(clippy::result_unit_err, clippy::type_complexity, reason = "for one fuzz target")]
pub fn proxy_header(bytes: &[u8]) -> Result<Option<(usize, Option<(SocketAddr, SocketAddr)>)>, ()> {
    match parse::parse(bytes) {
        Err(_) => Err(()),
        Ok(Parsed::NeedsMore) => Ok(None),
        Ok(Parsed::Header(header)) => {
            let named = match header.source {
                Source::Proxied { source, destination } => Some((source, destination)),
                Source::ProxiedUnix | Source::Itself => None,
            };
            Ok(Some((header.length, named)))
        }
    }
}
