//! Closes so that the client can still read what it was told. Closing with bytes unread would send a reset, which
//! may overtake the response (RFC 9112 §9.6).

use std::{future::poll_fn, task::Poll, time::Duration};

use super::Connection;
use crate::{
    io::Transport,
    worker::{Worker, sweep::Timer},
};

/// For so long a client may take nothing of what is to be sent still, when its response is over for everybody else: as long as
/// within it (H28).
pub(in crate::edge) const UNTAKEN: Duration = Duration::from_secs(55);
/// How much a client may still send.
const MOST: usize = 1024 * 1024;

/// How long a client may still send, once it was told "no more".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::edge) enum Patience {
    /// It has nothing more to say.
    Brief,
    /// It says so when it has taken some of what is in the socket still.
    Long,
}

impl Patience {
    /// Without anything that comes, and in all.
    const fn bounds(self) -> (Duration, Duration) {
        match self {
            Self::Brief => (Duration::from_secs(2), Duration::from_secs(2)),
            Self::Long => (Duration::from_secs(10), UNTAKEN),
        }
    }
}

/// Says "no more", then reads and drops what still comes until the client closes too.
pub(in crate::edge) async fn close<T: Transport>(
    worker: &Worker,
    connection: &mut Connection<T>,
    timer: &Timer,
    patience: Patience,
) {
    connection.pending = None;
    let (silent, in_all) = patience.bounds();
    let (mut until, mut last) = (worker.now() + UNTAKEN, None);
    let mut dropped = 0;
    poll_fn(|cx| {
        if last.is_none() && connection.io.poll_close_send(cx).is_ready() {
            until = worker.now() + silent;
            last = Some(worker.now() + in_all);
        }
        while connection.io.poll_recv_ready(cx).is_ready() && dropped < MOST {
            let mut bin = worker.buffers.small();
            match connection.io.poll_recv(cx, bin.spare()) {
                Poll::Ready(Ok(n)) if n > 0 => {
                    dropped += n;
                    until = last.map_or(until, |last| last.min(worker.now() + silent));
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {}
            }
        }
        if dropped >= MOST || worker.now() >= until || worker.is_cut() {
            return Poll::Ready(());
        }
        timer.set(cx, until);
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future as _,
        pin::pin,
        task::{Context, Waker},
    };

    use super::*;
    use crate::{io::tests::Silent, route::table::RouteTable, server::ServerOptions};

    #[test]
    fn whoever_does_not_even_take_a_goodbye_is_waited_for_until_a_drain_is_over() {
        let (table, _publisher) = RouteTable::new();
        let worker = Worker::alone(ServerOptions::default(), table.reader());
        let (mut connection, timer) =
            (Connection { io: Silent(()), pending: None }, Timer::new(&worker.sweep));
        let mut closes = pin!(close(&worker, &mut connection, &timer, Patience::Brief));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(closes.as_mut().poll(&mut cx).is_pending());
        worker.cut.set(true);
        assert!(closes.as_mut().poll(&mut cx).is_ready());
    }
}
