//! Connections that a proxy in front has made for somebody: the PROXY header says for whom.
//!
//! - [`ProxyProtocol`]: who may say so.
//! - [`parse`](mod@parse): the header itself, version 1 and 2, as a pure function.
//! - [`receive`]: reads it from a connection.

pub(crate) mod parse;

use std::{future::poll_fn, net::IpAddr, task::Poll};

use self::parse::{Header, Parsed, Source};
use crate::{
    io::Transport,
    observe::counters::Closed,
    route::forward::TrustedProxies,
    worker::{Worker, buffers::Buffer, sweep::Timer},
};

/// Who may connect where PROXY headers are believed. Everybody else is closed without a word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// The proxies; `None`: anybody. A proxy on a socket file is always let in.
    pub from: Option<TrustedProxies>,
}

impl ProxyProtocol {
    /// Whether a connection from there may say for whom it is made.
    pub fn admits(&self, peer: Option<IpAddr>) -> bool {
        match peer {
            Some(peer) => self.from.as_ref().is_none_or(|from| from.contains(peer)),
            None => true,
        }
    }
}

/// For whom a connection was made, and what came behind the header.
pub(crate) struct Received {
    /// `None`: for somebody without an address.
    pub(crate) client: Option<IpAddr>,
    pub(crate) pending: Option<Buffer>,
}

/// Reads the header; the whole of it must come within the head timeout.
///
/// # Errors
/// Why the connection is to be closed.
pub(crate) async fn receive<T: Transport>(
    worker: &Worker,
    io: &mut T,
    timer: &Timer,
    peer: Option<IpAddr>,
) -> Result<Received, Closed> {
    let mut text: Option<Buffer> = None;
    let deadline = worker.now() + worker.options.head_timeout;
    let header = poll_fn(|cx| {
        loop {
            if io.poll_recv_ready(cx).is_pending() {
                if worker.now() >= deadline || worker.is_cut() {
                    return Poll::Ready(Err(Closed::ProxyHeader));
                }
                timer.set(cx, deadline);
                return Poll::Pending;
            }
            let buffer = text.get_or_insert_with(|| worker.buffers.small());
            match io.poll_recv(cx, buffer.spare()) {
                Poll::Ready(Ok(0) | Err(_)) => {
                    let closed = if buffer.is_empty() { Closed::ClientLeft } else { Closed::ProxyHeader };
                    return Poll::Ready(Err(closed));
                }
                Poll::Ready(Ok(n)) => buffer.fill(n),
                Poll::Pending => continue,
            }
            match parse::parse(buffer.filled()) {
                Ok(Parsed::Header(header)) => return Poll::Ready(Ok(header)),
                Ok(Parsed::NeedsMore) => {}
                Err(_) => return Poll::Ready(Err(Closed::ProxyHeader)),
            }
        }
    })
    .await?;
    Ok(split(text, header, peer))
}

fn split(text: Option<Buffer>, header: Header, peer: Option<IpAddr>) -> Received {
    let pending = text.and_then(|mut text| {
        text.consume(header.length);
        (!text.is_empty()).then_some(text)
    });
    let client = match header.source {
        Source::Proxied { source, .. } => Some(source.ip()),
        Source::ProxiedUnix => None,
        // The proxy itself, for example to see whether we live, or it does not know.
        Source::Itself => peer,
    };
    Received { client, pending }
}
