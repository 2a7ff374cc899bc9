//! A response on its way to an HTTP/3 client, piece by piece.

use std::{future::poll_fn, pin::Pin, time::Duration};

use bytes::Bytes;
use h3::{
    error::{Code, StreamError},
    server::RequestStream,
};
use http::header;
use http_body::Body as _;

use super::within;
use crate::{
    edge::http::reply::ResponseFuture,
    worker::{Worker, sweep::Timer},
};

/// A client that takes nothing for so long has gone: as over HTTP/1.1 (H28).
const PATIENCE: Duration = Duration::from_secs(55);
/// So much is sent at a time, so that a slow client shows that it takes something.
const PIECE: usize = 16 * 1024;

/// The sending half of a stream. Dropped before it is finished, it is reset: the client must not take what it has for a
/// whole response.
struct Sending {
    stream: RequestStream<h3_quinn::SendStream<Bytes>, Bytes>,
    finished: bool,
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.finished {
            self.stream.stop_stream(Code::H3_INTERNAL_ERROR);
        }
    }
}

/// Sends a response that is to come. Whatever goes wrong resets the stream; whoever makes the response learns it by that
/// nobody reads on.
pub(super) async fn send(
    worker: &Worker,
    timer: &Timer,
    coming: ResponseFuture,
    stream: RequestStream<h3_quinn::SendStream<Bytes>, Bytes>,
) {
    let mut sending = Sending { stream, finished: false };
    let Ok(response) = coming.await;
    let (mut parts, mut body) = response.into_parts();
    // It belongs to a connection of HTTP/1.1 (RFC 9114 §4.2).
    parts.headers.remove(header::UPGRADE);
    let head = http::Response::from_parts(parts, ());
    if !soon(worker, timer, sending.stream.send_response(head)).await {
        return;
    }
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(frame) = frame else { return };
        match frame.into_data() {
            Ok(mut data) => {
                while !data.is_empty() {
                    let piece = data.split_to(data.len().min(PIECE));
                    if !soon(worker, timer, sending.stream.send_data(piece)).await {
                        return;
                    }
                }
            }
            Err(frame) => {
                let Ok(trailers) = frame.into_trailers() else { return };
                if !soon(worker, timer, sending.stream.send_trailers(trailers)).await {
                    return;
                }
            }
        }
    }
    sending.finished = soon(worker, timer, sending.stream.finish()).await;
}

async fn soon(worker: &Worker, timer: &Timer, deed: impl Future<Output = Result<(), StreamError>>) -> bool {
    matches!(within(worker, timer, worker.now() + PATIENCE, deed).await, Some(Ok(())))
}
