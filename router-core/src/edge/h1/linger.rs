//! Closes so that the client can still read what it was told. Closing with bytes unread would send a reset, which
//! may overtake the response (RFC 9112 §9.6).

use std::{future::poll_fn, task::Poll, time::Duration};

use super::Connection;
use crate::{
    io::Transport,
    worker::{Worker, sweep::Timer},
};

/// How long, and how much, a client may still send.
const PATIENCE: Duration = Duration::from_secs(2);
const MOST: usize = 1024 * 1024;

/// Says "no more", then reads and drops what still comes until the client closes too.
pub(in crate::edge) async fn close<T: Transport>(
    worker: &Worker,
    connection: &mut Connection<T>,
    timer: &Timer,
) {
    connection.pending = None;
    let deadline = worker.now() + PATIENCE;
    let mut dropped = 0;
    poll_fn(|cx| connection.io.poll_close_send(cx)).await.unwrap_or_default();
    poll_fn(|cx| {
        while connection.io.poll_recv_ready(cx).is_ready() && dropped < MOST {
            let mut bin = worker.buffers.small();
            match connection.io.poll_recv(cx, bin.spare()) {
                Poll::Ready(Ok(n)) if n > 0 => dropped += n,
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {}
            }
        }
        if dropped >= MOST || worker.now() >= deadline || worker.is_cut() {
            return Poll::Ready(());
        }
        timer.set(cx, deadline);
        Poll::Pending
    })
    .await;
}
