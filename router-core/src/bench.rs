//! The wire path's inner steps, for the criterion benches of `busbar-bench` and nobody else.
//!
//! - [`Heads`]: parses heads, and rewrites a request's for a dyno.
//! - [`chunks`]: runs the chunked codec over a body.
//!
//! The codec is private, because bytes read by it are safe only together with the rest of the proxy; but what it costs must be
//! measured apart from sockets. So this is hidden, behind the feature `bench-internals`, and no promise is kept about it.

use std::{sync::Arc, time::Instant};

use crate::{
    h1::{
        body::Body, chunked::KeepFraming, field::Field, framing::Framing, limits::RequestLimits,
        limits::ResponseLimits, policy::RequestPolicy, request, response,
    },
    observe::counters::Counters,
    proxy::{Papers, Request, head::to_dyno},
    registry::Routing,
    route::{
        RequestId,
        forward::{self, Arrival},
        table::RouteTable,
    },
    server::{ServerOptions, accept::Seat, drain},
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
        let worker = Worker::new(Seat {
            options: Arc::<ServerOptions>::default(),
            table: RouteTable::new().0.reader(),
            counters: Arc::new(Counters::new()),
            drain: drain::pair().1,
            start: Instant::now(),
            sockets: Vec::new(),
            clients: None,
        });
        Self { worker, desk: Desk::default(), routing: Routing::default() }
    }
}

impl Heads {
    /// Parses a request's head; its length, unless it is refused or not whole.
    pub fn parse_request(&mut self, text: &[u8]) -> Option<usize> {
        let fields = &mut self.desk.request_fields;
        request::parse(text, &RequestLimits::default(), RequestPolicy::default(), fields)
            .ok()
            .flatten()
            .map(|head| head.length)
    }

    /// Parses a response's head; its length, unless it is refused or not whole.
    pub fn parse_response(&mut self, text: &[u8]) -> Option<usize> {
        let fields: &mut Vec<Field> = &mut self.desk.response_fields;
        response::parse(text, &ResponseLimits::default(), fields).ok().flatten().map(|head| head.length)
    }

    /// Parses a request's head and renders the one its dyno gets, under the name `id`.
    pub fn rewrite_request(&mut self, bytes: &[u8], arrival: Arrival, id: &RequestId) -> Option<&[u8]> {
        let Self { worker, desk, routing } = self;
        let head = request::parse(
            bytes,
            &RequestLimits::default(),
            RequestPolicy::default(),
            &mut desk.request_fields,
        )
        .ok()??;
        let received = worker.now();
        let request = Request {
            bytes,
            fields: &desk.request_fields,
            head: &head,
            arrival,
            received,
            misdirected: false,
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
}

/// Runs the chunked codec over a whole body, in place. How many bytes are left to pass on, unless it is no chunked body.
pub fn chunks(body: &mut [u8], keep_framing: bool) -> Option<usize> {
    let keep = if keep_framing { KeepFraming::Yes } else { KeepFraming::No };
    let step = Body::new(Framing::Chunked, keep).step(body).ok()?;
    step.done.then_some(step.kept)
}
