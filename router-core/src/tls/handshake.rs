//! From the first byte of a connection to a session, within a time.
//!
//! - [`receive`]: [`Met`] is what came out: a session, or somebody who speaks plain HTTP.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::{Context, Poll, ready},
    time::Duration,
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
/// No record is longer (RFC 8446 §5.2).
const LONGEST: usize = 16 * 1024 + 256;
/// Whoever has a place for so long and is not done loses it when others wait for one.
const HURRY: Duration = Duration::from_secs(2);
/// How often it is looked whether they do.
const LOOK: Duration = Duration::from_millis(500);
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
/// time; the next ones wait. Before its hello is whole a client counts as none, and before the first byte it holds no buffer.
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
    let at = worker.now() + worker.options.handshake_timeout;
    let mut clock = Deadline { worker, timer, at, hurry: None };
    let mut first = match came {
        Some(came) => came,
        None => clock.bounds(poll_fn(|cx| first_bytes(cx, worker, &mut socket))).await??,
    };
    if first.filled().first().is_some_and(|byte| *byte != HANDSHAKE && byte.is_ascii_alphabetic()) {
        return Ok(Met::Clear(socket, first));
    }
    first.shrink();
    clock.bounds(poll_fn(|cx| whole_record(cx, &mut socket, &mut first))).await??;
    let _place = clock.bounds(worker.handshakes.take()).await?;
    clock.hurry = Some(worker.now() + HURRY);
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

fn first_bytes(cx: &mut Context<'_>, worker: &Worker, socket: &mut Socket) -> Poll<Result<Buffer, Closed>> {
    loop {
        ready!(socket.poll_recv_ready(cx)).map_err(|_| Closed::ClientLeft)?;
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

/// Whether the first record is whole, or it is none that is worth waiting for. Its head says what it is, which version, and how
/// long.
fn is_whole(came: &[u8]) -> bool {
    match came {
        [HANDSHAKE, 3, _, high, low, record @ ..] => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            length > LONGEST || record.len() >= length
        }
        [] | [HANDSHAKE] | [HANDSHAKE, 3, ..] => false,
        _ => true,
    }
}

fn whole_record(cx: &mut Context<'_>, socket: &mut Socket, came: &mut Buffer) -> Poll<Result<(), Closed>> {
    while !is_whole(came.filled()) {
        ready!(socket.poll_recv_ready(cx)).map_err(|_| Closed::ClientLeft)?;
        if came.is_full() {
            came.make_room();
        }
        match socket.poll_recv(cx, came.spare()) {
            Poll::Ready(Ok(n)) if n > 0 => came.fill(n),
            Poll::Ready(_) => return Poll::Ready(Err(Closed::ClientLeft)),
            Poll::Pending => {}
        }
    }
    Poll::Ready(Ok(()))
}

/// Until when it must be done.
struct Deadline<'a> {
    worker: &'a Worker,
    timer: &'a Timer,
    at: Moment,
    /// From then on at once, if somebody waits for its place.
    hurry: Option<Moment>,
}

impl Deadline<'_> {
    async fn bounds<T>(&self, deed: impl Future<Output = T>) -> Result<T, Closed> {
        let mut deed = pin!(deed);
        poll_fn(|cx| match deed.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending if self.worker.is_cut() => Poll::Ready(Err(Closed::DrainCut)),
            Poll::Pending if self.is_over() => Poll::Ready(Err(Closed::TlsTimeout)),
            Poll::Pending => {
                self.timer.set(cx, self.next());
                Poll::Pending
            }
        })
        .await
    }

    fn is_over(&self) -> bool {
        let now = self.worker.now();
        now >= self.at
            || (self.hurry.is_some_and(|hurry| now >= hurry) && self.worker.handshakes.are_wanted())
    }

    /// When to look again.
    fn next(&self) -> Moment {
        let look = self.hurry.map(|hurry| hurry.max(self.worker.now() + LOOK));
        look.map_or(self.at, |look| look.min(self.at))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_record_is_waited_for_if_it_may_be_a_hello() {
        for begins in [&[][..], &[22], &[22, 3], &[22, 3, 1, 0], &[22, 3, 1, 0, 2], &[22, 3, 1, 0, 2, 1]] {
            assert!(!is_whole(begins), "{begins:?}");
        }
        assert!(is_whole(&[22, 3, 1, 0, 2, 1, 0]) && is_whole(&[22, 3, 1, 0, 2, 1, 0, 22]));
        for other in [&[23][..], &[22, 4], &[22, 3, 1, 0xff, 0xff]] {
            assert!(is_whole(other), "{other:?}");
        }
    }
}
