//! Who speaks HTTP/2 without having said so: the first bytes of a plain connection (RFC 9113 §3.3).

use std::{future::poll_fn, task::Poll};

use super::guard::PREFACE;
use crate::{
    edge::h1::{
        self, COURTESY, Connection,
        head::{self, Wait},
    },
    io::Transport,
    observe::counters::Closed,
    route::Moment,
    worker::{Worker, sweep::Timer},
};

/// Whether the connection begins with HTTP/2's preface. What was read to know is pending; a client that says half of it and
/// no more speaks no HTTP/2.
///
/// # Errors
/// It ended, or was idle for too long.
///
/// # Cancel safety
/// Dropped, the connection is of no further use.
pub(crate) async fn is_http2<T: Transport>(
    worker: &Worker,
    connection: &mut Connection<T>,
) -> Result<bool, Closed> {
    let timer = Timer::new(&worker.sweep);
    let until = worker.now() + worker.options.keepalive_timeout;
    match head::wait(worker, connection, &timer, until, worker.now() + COURTESY).await {
        Wait::Bytes => {}
        Wait::TimeUp => return Err(Closed::Idle),
        Wait::Closed => return Err(h1::idle_end(worker)),
    }
    let deadline = worker.now() + worker.options.head_timeout;
    let known = poll_fn(|cx| {
        loop {
            let Some(pending) = &mut connection.pending else { return Poll::Ready(false) };
            if let Some(known) = begins_with_preface(pending.filled()) {
                return Poll::Ready(known);
            }
            match connection.io.poll_recv(cx, pending.spare()) {
                Poll::Ready(Ok(n)) if n > 0 => pending.fill(n),
                Poll::Ready(_) => return Poll::Ready(false),
                Poll::Pending if expired(worker, deadline) => return Poll::Ready(false),
                Poll::Pending => {
                    timer.set(cx, deadline);
                    return Poll::Pending;
                }
            }
        }
    });
    Ok(known.await)
}

fn expired(worker: &Worker, deadline: Moment) -> bool {
    worker.now() >= deadline || worker.is_cut()
}

/// `None`: more bytes will tell.
fn begins_with_preface(bytes: &[u8]) -> Option<bool> {
    let n = bytes.len().min(PREFACE.len());
    match bytes.get(..n) == PREFACE.get(..n) {
        false => Some(false),
        true if n == PREFACE.len() => Some(true),
        true => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_differs_tells() {
        for (bytes, known) in [
            ("", None),
            ("P", None),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(true)),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", Some(true)),
            ("PU", Some(false)),
            ("GET / HTTP/1.1\r\n", Some(false)),
            ("PRI * HTTP/2.0\r\nHost: a\r\n", Some(false)),
        ] {
            assert_eq!(begins_with_preface(bytes.as_bytes()), known, "{bytes:?}");
        }
    }
}
