//! One connection to a dyno: its streams, its driver, its end.
//!
//! - [`Connection`]: what its streams and the hub share. When the last of them lets go of it, it is closed in order.
//! - [`Place`]: a stream's; dropped, another one may have it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use ::h2::client::{Connection as Wire, SendRequest};
use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
};

use super::STREAMS;
use crate::route::Moment;

/// How long a dyno may take to let a connection go that nobody uses any more.
const GOODBYE: Duration = Duration::from_secs(2);

/// What the streams of a connection and the hub share.
pub(super) struct Connection {
    requests: RefCell<SendRequest<Bytes>>,
    /// Streams that were begun and not let go.
    streams: Cell<usize>,
    /// How long it is kept without streams, and until when it is.
    keep: Duration,
    until: Cell<Moment>,
    /// How often something came over it.
    heard: Cell<u64>,
    /// A stream waited in vain, and nothing came meanwhile: perhaps nobody is there any more, and TCP does not know yet.
    doubtful: Cell<bool>,
    state: Rc<State>,
}

#[derive(Default)]
struct State {
    /// The connection has ended.
    ended: Cell<bool>,
    /// Nobody uses it any more.
    let_go: Notify,
}

impl Connection {
    /// A connection on which the dyno has spoken; a task of its own drives it.
    pub(super) fn drive<T>(requests: SendRequest<Bytes>, wire: Wire<T>, keep: Duration) -> Rc<Self>
    where
        T: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let state = Rc::new(State::default());
        tokio::task::spawn_local(drive(wire, Rc::clone(&state)));
        Rc::new(Self {
            requests: RefCell::new(requests),
            streams: Cell::new(0),
            keep,
            until: Cell::new(Moment::NEVER),
            heard: Cell::new(0),
            doubtful: Cell::new(false),
            state,
        })
    }

    /// A place for one more stream, if there is one and the dyno takes new streams.
    pub(super) fn place(self: &Rc<Self>) -> Option<Place> {
        if !self.has_room() {
            return None;
        }
        self.streams.set(self.streams.get() + 1);
        self.until.set(Moment::NEVER);
        Some(Place { connection: Rc::clone(self), heard: self.heard.get() })
    }

    fn has_room(&self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        !self.doubtful.get()
            && self.streams.get() < self.allows()
            && matches!(self.requests.borrow_mut().poll_ready(&mut nobody), Poll::Ready(Ok(())))
    }

    /// Whether the dyno takes new streams, now or when others have ended.
    pub(super) fn is_open(&self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        !self.state.ended.get()
            && !self.doubtful.get()
            && !matches!(self.requests.borrow_mut().poll_ready(&mut nobody), Poll::Ready(Err(_)))
    }

    /// How many streams it has room for when it has none.
    pub(super) fn allows(&self) -> usize {
        self.requests.borrow().current_max_send_streams().min(STREAMS)
    }

    /// Whether it has no stream.
    pub(super) fn is_idle(&self) -> bool {
        self.streams.get() == 0
    }

    /// Whether it is to be kept: somebody uses it, or it has not been idle for long.
    pub(super) fn is_kept(&self, now: Moment) -> bool {
        if !self.is_open() {
            return false;
        }
        if self.is_idle() && self.until.get() == Moment::NEVER {
            self.until.set(now + self.keep);
        }
        self.until.get() > now
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.state.let_go.notify_one();
    }
}

/// Lets the connection live until it has ended by itself, or nobody uses it and the dyno does not let it go.
async fn drive<T: AsyncRead + AsyncWrite + Unpin>(mut wire: Wire<T>, state: Rc<State>) {
    let ended = tokio::select! {
        ended = &mut wire => Some(ended),
        () = state.let_go.notified() => tokio::time::timeout(GOODBYE, &mut wire).await.ok(),
    };
    state.ended.set(true);
    if let Some(Err(error)) = ended {
        tracing::debug!(%error, "an HTTP/2 connection to a dyno broke");
    }
}

/// A stream's place on its connection.
pub(super) struct Place {
    connection: Rc<Connection>,
    /// What had come before this stream began.
    heard: u64,
}

impl Place {
    /// How a request is sent on it.
    pub(super) fn requests(&self) -> &RefCell<SendRequest<Bytes>> {
        &self.connection.requests
    }

    /// Something came.
    pub(super) fn heard(&self) {
        self.connection.heard.set(self.connection.heard.get() + 1);
    }

    /// The stream ends without a word of the dyno's. If nobody else heard one since it began, the connection is doubted: it
    /// serves whom it has, and nobody new.
    pub(super) fn in_vain(&self) {
        if self.connection.heard.get() == self.heard {
            self.connection.doubtful.set(true);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connection.streams.set(self.connection.streams.get() - 1);
    }
}
