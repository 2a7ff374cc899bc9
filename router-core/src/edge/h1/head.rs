//! Reads the next head, holding no buffer until its first byte is there.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use super::{Connection, Peer};
use crate::{
    h1::{
        field::{Field, Kind},
        limits::RequestLimits,
        request::{self, RequestHead},
    },
    io::Transport,
    route::{
        Fault, Moment,
        fault::RequestFlaw,
        forward::{Arrival, Said, TrustedProxies},
    },
    worker::{
        Worker,
        buffers::{Buffer, LentDesk},
        sweep::Timer,
    },
};

/// Empty lines that may come before a request line (RFC 9112 §2.2; Heroku's router takes five).
const EMPTY_LINES: usize = 5;

/// What a wait for the next request's first bytes ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::edge) enum Wait {
    /// They are pending.
    Bytes,
    TimeUp,
    /// The client left, or the server drains.
    Closed,
}

/// Waits for the next request's first bytes until then; in a drain only until `courtesy`. Meanwhile the connection is
/// idle and holds no buffer.
///
/// # Cancel safety
/// Dropped, nothing is lost.
pub(in crate::edge) async fn wait<T: Transport>(
    worker: &Worker,
    connection: &mut Connection<T>,
    timer: &Timer,
    until: Moment,
    courtesy: Moment,
) -> Wait {
    if connection.pending.is_some() {
        return Wait::Bytes;
    }
    poll_fn(|cx| {
        loop {
            if connection.io.poll_recv_ready(cx).is_pending() {
                return park(worker, cx, timer, until, courtesy);
            }
            let mut text = worker.buffers.passage();
            match connection.io.poll_recv(cx, text.spare()) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Wait::Closed),
                Poll::Ready(Ok(n)) => {
                    text.fill(n);
                    connection.pending = Some(text);
                    return Poll::Ready(Wait::Bytes);
                }
                Poll::Pending => {}
            }
        }
    })
    .await
}

fn park(worker: &Worker, cx: &Context<'_>, timer: &Timer, until: Moment, courtesy: Moment) -> Poll<Wait> {
    let (now, draining) = (worker.now(), worker.is_draining());
    if draining && (now >= courtesy || worker.is_cut()) {
        return Poll::Ready(Wait::Closed);
    }
    if now >= until {
        return Poll::Ready(Wait::TimeUp);
    }
    timer.set(cx, if draining { until.min(courtesy) } else { until });
    Poll::Pending
}

/// What came next.
pub(super) enum NextHead {
    /// A head; with its text and its fields it is on the desk, what came behind it is pending on the connection.
    Head(LentDesk),
    /// Something that is no request, or none that may be served.
    Flawed(Fault, Buffer),
    /// The client left.
    Closed,
}

/// Reads the head whose first bytes are pending.
///
/// # Cancel safety
/// Dropped, the connection is of no further use.
pub(super) async fn next<T: Transport>(
    worker: &Worker,
    connection: &mut Connection<T>,
    timer: &Timer,
) -> NextHead {
    let Some(mut text) = connection.pending.take() else { return NextHead::Closed };
    let deadline = worker.now() + worker.options.head_timeout;
    let mut desk = worker.buffers.desk();
    let mut empty_lines = 0;
    loop {
        match step(worker, &mut text, &mut desk, &mut empty_lines) {
            Ok(true) => {
                connection.pending = Some(text).filter(|text| !text.is_empty());
                return NextHead::Head(desk);
            }
            Err(fault) => return NextHead::Flawed(fault, text),
            Ok(false) => text.shrink(),
        }
        match another_line(worker, connection, timer, &mut text, deadline).await {
            More::Bytes => {}
            More::Late if text.is_empty() => return NextHead::Closed,
            More::Late => return NextHead::Flawed(RequestFlaw::HeadTimeout.into(), text),
            More::End => return NextHead::Closed,
        }
    }
}

enum More {
    Bytes,
    End,
    Late,
}

/// Receives until another line is whole, or the head is too long: parsing anew for each byte would be costly.
async fn another_line<T: Transport>(
    worker: &Worker,
    connection: &mut Connection<T>,
    timer: &Timer,
    text: &mut Buffer,
    deadline: Moment,
) -> More {
    poll_fn(|cx| {
        loop {
            if text.is_full() {
                text.make_room();
            }
            match connection.io.poll_recv(cx, text.spare()) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(More::End),
                Poll::Ready(Ok(n)) => {
                    let line = memchr::memchr(b'\n', text.spare().get(..n).unwrap_or_default()).is_some();
                    text.fill(n);
                    if line || is_too_long(text.filled(), &worker.options.request_limits) {
                        return Poll::Ready(More::Bytes);
                    }
                }
                Poll::Pending if worker.now() >= deadline || worker.is_cut() => {
                    return Poll::Ready(More::Late);
                }
                Poll::Pending => {
                    timer.set(cx, deadline);
                    return Poll::Pending;
                }
            }
        }
    })
    .await
}

/// Whether there is no point in waiting for the end of the line.
fn is_too_long(text: &[u8], limits: &RequestLimits) -> bool {
    text.len() >= limits.head || (text.len() > limits.line && memchr::memchr(b'\n', text).is_none())
}

/// Parses what is there. A whole head is copied to the desk, so that a request holds no block while it waits for its
/// dyno, and what came behind it needs no copy.
fn step(
    worker: &Worker,
    text: &mut Buffer,
    desk: &mut LentDesk,
    empty_lines: &mut usize,
) -> Result<bool, Fault> {
    skip_empty_lines(text, empty_lines)?;
    let (desk, options) = (desk.get(), &worker.options);
    let fields = &mut desk.request_fields;
    desk.head = request::parse(text.filled(), &options.request_limits, options.request_policy, fields)?;
    let Some(head) = &desk.head else { return Ok(false) };
    desk.text.extend_from_slice(text.filled().get(..head.length).unwrap_or_default());
    text.consume(head.length);
    Ok(true)
}

/// `before`: so many were skipped already.
fn skip_empty_lines(text: &mut Buffer, before: &mut usize) -> Result<(), Fault> {
    let empty = text.filled().chunks_exact(2).take_while(|pair| pair == b"\r\n").count();
    *before += empty;
    if *before > EMPTY_LINES {
        return Err(RequestFlaw::BadRequestLine.into());
    }
    text.consume(2 * empty);
    match text.filled() {
        [b'\n', ..] => Err(RequestFlaw::BareLf.into()),
        [b'\r', second, ..] if *second != b'\n' => Err(RequestFlaw::BareCr.into()),
        _ => Ok(()),
    }
}

/// How the request got here: as its connection says, and, if the other end of it is trusted, as that one says.
pub(crate) fn arrival(
    trusted: &TrustedProxies,
    peer: &Peer,
    head: &RequestHead,
    fields: &[Field],
    bytes: &[u8],
) -> Arrival {
    let arrival = Arrival::direct(peer.client, peer.tls, head.host.port());
    if !arrival.peer.is_some_and(|peer| trusted.contains(peer)) {
        return arrival;
    }
    let last_first = |kind| {
        let of_kind = fields.iter().rev().filter(move |field| field.kind == kind);
        of_kind.map(|field| field.value.of_buffer(bytes))
    };
    let only = |kind| {
        let mut values = last_first(kind);
        values.next().filter(|_| values.next().is_none())
    };
    arrival.believing(
        trusted,
        head.host.port(),
        &Said { proto: only(Kind::XForwardedProto), port: only(Kind::XForwardedPort) },
        last_first(Kind::XForwardedFor),
    )
}
