//! From a socket to a connection, once the dyno has shown that it speaks HTTP/2.
//!
//! - [`exchange`]: both sides send their settings (RFC 9113 §3.4). Only then is a request sent, so whoever speaks something
//!   else has done nothing about one.

use std::{future::Future as _, pin::Pin, task::Poll};

use ::h2::client::{Builder, Connection, SendRequest};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{SEND_BUFFER, STREAMS, WINDOW};
use crate::{h1::limits::ResponseLimits, route::retry::ConnectFailure};

/// Begins HTTP/2 on `io`; ready when the dyno's settings have come.
///
/// # Errors
/// [`ConnectFailure::NoHttp2`] when something else came, or the end.
pub(super) async fn exchange<T>(
    io: T,
    limits: &ResponseLimits,
) -> Result<(SendRequest<Bytes>, Connection<T, Bytes>), ConnectFailure>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let streams = u32::try_from(STREAMS).unwrap_or(u32::MAX);
    // A head that is longer than allowed, but not by far, is refused by the same rules as one in HTTP/1.1.
    let head = u32::try_from(limits.head.saturating_mul(2)).unwrap_or(u32::MAX);
    let handshake = Builder::new()
        .enable_push(false)
        // What the dyno allows is not known before its settings; until then nothing is sent.
        .initial_max_send_streams(0)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW.saturating_mul(streams))
        .max_header_list_size(head)
        .max_send_buffer_size(SEND_BUFFER)
        .handshake(io)
        .await;
    let (requests, mut connection) = handshake.map_err(|_| ConnectFailure::NoHttp2)?;
    std::future::poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
        Poll::Ready(_) => Poll::Ready(Err(ConnectFailure::NoHttp2)),
        Poll::Pending if requests.current_max_send_streams() > 0 => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    })
    .await?;
    Ok((requests, connection))
}
