//! Connections to dynos that wait for their next request. Each worker has its own pool, so taking one costs a look
//! into a map and nothing else.
//!
//! - [`Pool`]: take, put, tidy.

use std::{
    cell::RefCell,
    collections::HashMap,
    task::{Context, Poll, Waker},
};

use foldhash::fast::FixedState;
use tokio::net::TcpStream;

use crate::{
    io::Transport,
    route::{Moment, dyno::DynoKey},
};

/// How many connections wait for one dyno at most, per worker; more are closed.
const KEPT_PER_DYNO: usize = 1024;

struct Waiting {
    stream: TcpStream,
    until: Moment,
}

/// Connections that wait for their next request, the latest used first.
#[derive(Default)]
pub(crate) struct Pool {
    dynos: RefCell<HashMap<DynoKey, Vec<Waiting>, FixedState>>,
}

impl Pool {
    /// A connection to the dyno that is still open, as far as can be seen without a syscall.
    pub(crate) fn take(&self, dyno: DynoKey) -> Option<TcpStream> {
        let mut dynos = self.dynos.borrow_mut();
        let waiting = dynos.get_mut(&dyno)?;
        while let Some(mut kept) = waiting.pop() {
            if is_silent(&mut kept.stream) {
                return Some(kept.stream);
            }
        }
        None
    }

    /// Keeps a connection until then. Its last response must have been read to the end, and not a byte more.
    pub(crate) fn put(&self, dyno: DynoKey, stream: TcpStream, until: Moment) {
        let mut dynos = self.dynos.borrow_mut();
        let waiting = dynos.entry(dyno).or_default();
        if waiting.len() < KEPT_PER_DYNO {
            waiting.push(Waiting { stream, until });
        }
    }

    /// Closes what was kept long enough, what the dyno has closed, and what spoke without being asked.
    pub(crate) fn tidy(&self, now: Moment) {
        self.dynos.borrow_mut().retain(|_, waiting| {
            waiting.retain_mut(|kept| kept.until > now && is_silent(&mut kept.stream));
            !waiting.is_empty()
        });
    }

    /// Closes all.
    pub(crate) fn clear(&self) {
        self.dynos.borrow_mut().clear();
    }
}

/// Neither bytes nor an end wait to be read. Bytes that nobody asked for would be taken for the next response.
fn is_silent(stream: &mut TcpStream) -> bool {
    let mut nobody = Context::from_waker(Waker::noop());
    match Transport::poll_recv_ready(stream, &mut nobody) {
        Poll::Pending => true,
        Poll::Ready(Err(_)) => false,
        // The reactor may only not have noticed yet that everything was read: ask the socket.
        Poll::Ready(Ok(())) => Transport::poll_recv(stream, &mut nobody, &mut [0]).is_pending(),
    }
}
