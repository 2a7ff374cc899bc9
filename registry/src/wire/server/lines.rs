//! Answers without an end: a hold and a watch, line by line. Both end when the server stops.

use std::{convert::Infallible, sync::Arc};

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::{sync::OwnedSemaphorePermit, time::sleep};

use super::{api::Api, closed};
use crate::{
    Lease, Watch,
    wire::{Line, WATCH_HEARTBEAT, hold_interval},
};

/// The lease, then a heartbeat each time it was renewed. When the peer is gone the stream is dropped, and the lease
/// has the rest of its time.
pub(super) fn hold(api: Arc<Api>, lease: Lease, place: OwnedSemaphorePermit) -> Response {
    let (id, interval) = (lease.id.clone(), hold_interval(lease.ttl_ms));
    let first = stream::iter([Line::Lease(lease)]);
    let renewals = stream::unfold(Some((api, place)), move |holder| {
        let id = id.clone();
        async move {
            let (api, place) = holder?;
            let mut closing = api.closing.clone();
            tokio::select! {
                () = sleep(interval) => {}
                () = closed(&mut closing) => return None,
            }
            match api.registry.renew(&id).await {
                Ok(_) => Some((Line::Heartbeat {}, Some((api, place)))),
                Err(refusal) => Some((Line::Refused(refusal), None)),
            }
        }
    });
    response(first.chain(renewals))
}

/// Each change, and a heartbeat when there was none for a while.
pub(super) fn watch(api: &Api, watch: Watch) -> Response {
    response(stream::unfold((watch, api.closing.clone()), |(mut watch, mut closing)| async move {
        let line = tokio::select! {
            event = watch.next() => event?.map_or_else(Line::Refused, Line::Event),
            () = sleep(WATCH_HEARTBEAT) => Line::Heartbeat {},
            () = closed(&mut closing) => return None,
        };
        Some((line, (watch, closing)))
    }))
}

fn response(lines: impl Stream<Item = Line> + Send + 'static) -> Response {
    let body = Body::from_stream(lines.map(|line| Ok::<_, Infallible>(text(&line))));
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")];
    (headers, body).into_response()
}

fn text(line: &Line) -> Bytes {
    // Nothing in a line can fail to become JSON: every map key in it is a string.
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text.into()
}
