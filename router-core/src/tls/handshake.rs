//! From the first byte of a connection to a session, within a time.
//!
//! - [`receive`]: [`Met`] is what came out: a session, or somebody who speaks plain HTTP.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use rustls::{AlertDescription, Error};

use super::{
    Terminator,
    session::{Broken, Session},
};
use crate::{
    io::{Socket, Transport as _},
    observe::counters::Closed,
    route::Moment,
    worker::{Worker, buffers::Buffer, sweep::Timer},
};

/// The first byte of every TLS connection: a handshake record.
const HANDSHAKE: u8 = 22;
/// A fatal alert: unrecognized_name (RFC 6066 §3). rustls has another one for that.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Who came.
pub(crate) enum Met {
    /// Somebody who speaks TLS.
    Session(Box<Session>),
    /// Somebody who speaks plain HTTP, and what was said.
    Clear(Socket, Buffer),
}

/// Waits for the client's hello and does the handshake, all within the handshake timeout. So many handshakes go on at a
/// time; the next ones wait. Before the first byte a client counts as none and holds no buffer.
///
/// # Errors
/// Why the connection is to be closed.
pub(crate) async fn receive(
    worker: &Worker,
    terminator: &Terminator,
    mut socket: Socket,
    came: Option<Buffer>,
    timer: &Timer,
) -> Result<Met, Closed> {
    let clock = Deadline { worker, timer, at: worker.now() + worker.options.handshake_timeout };
    let mut first = match came {
        Some(came) => came,
        None => clock.bounds(poll_fn(|cx| first_bytes(cx, worker, &mut socket))).await??,
    };
    if first.filled().first().is_some_and(|byte| *byte != HANDSHAKE && byte.is_ascii_alphabetic()) {
        return Ok(Met::Clear(socket, first));
    }
    first.shrink();
    // The semaphore is never closed.
    let _place = clock.bounds(worker.handshakes.acquire()).await?;
    let session = Session::new(terminator, socket, Some(first), &worker.buffers);
    let mut session = session.map_err(|_| Closed::TlsOther)?;
    match clock.bounds(poll_fn(|cx| session.poll_handshake(cx))).await? {
        // It may leave as soon as it has seen the certificate.
        Ok(()) | Err(Broken::Left) if session.is_validation() => {
            session.farewell();
            Err(Closed::TlsValidation)
        }
        Ok(()) => {
            worker.counters.tls_handshakes.add(1);
            worker.counters.tls_resumed.add(u64::from(session.is_resumed()));
            Ok(Met::Session(session))
        }
        Err(Broken::Left) => Err(Closed::ClientLeft),
        Err(Broken::Tls(error)) => {
            let why = reason(&error);
            tracing::debug!(%error, "a TLS handshake failed");
            session.last_words((why == Closed::TlsName).then_some(UNRECOGNIZED_NAME));
            Err(why)
        }
    }
}

fn first_bytes(
    cx: &mut std::task::Context<'_>,
    worker: &Worker,
    socket: &mut Socket,
) -> Poll<Result<Buffer, Closed>> {
    loop {
        std::task::ready!(socket.poll_recv_ready(cx)).map_err(|_| Closed::ClientLeft)?;
        let mut first = worker.buffers.small();
        match socket.poll_recv(cx, first.spare()) {
            Poll::Ready(Ok(n)) if n > 0 => {
                first.fill(n);
                return Poll::Ready(Ok(first));
            }
            Poll::Ready(_) => return Poll::Ready(Err(Closed::ClientLeft)),
            Poll::Pending => {}
        }
    }
}

/// Until when it must be done.
struct Deadline<'a> {
    worker: &'a Worker,
    timer: &'a Timer,
    at: Moment,
}

impl Deadline<'_> {
    async fn bounds<T>(&self, deed: impl Future<Output = T>) -> Result<T, Closed> {
        let mut deed = pin!(deed);
        poll_fn(|cx| match deed.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending if self.worker.is_cut() => Poll::Ready(Err(Closed::DrainCut)),
            Poll::Pending if self.worker.now() >= self.at => Poll::Ready(Err(Closed::TlsTimeout)),
            Poll::Pending => {
                self.timer.set(cx, self.at);
                Poll::Pending
            }
        })
        .await
    }
}

/// Why a handshake failed, in a word for the counters.
fn reason(error: &Error) -> Closed {
    match error {
        // What rustls says when the resolver has nothing.
        Error::General(text) if text.contains("no server certificate chain") => Closed::TlsName,
        Error::AlertReceived(AlertDescription::CloseNotify | AlertDescription::UserCanceled) => {
            Closed::ClientLeft
        }
        // Most often: it does not trust the certificate.
        Error::AlertReceived(_) => Closed::TlsRefused,
        Error::NoCertificatesPresented
        | Error::InvalidCertificate(_)
        | Error::InvalidCertRevocationList(_) => Closed::TlsClientCertificate,
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Closed::TlsNothingInCommon,
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::DecryptError
        | Error::PeerSentOversizedRecord
        | Error::PeerMisbehaved(_) => Closed::TlsMalformed,
        _ => Closed::TlsOther,
    }
}
