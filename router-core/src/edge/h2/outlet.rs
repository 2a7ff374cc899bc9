//! What the streams of one connection have in the way of its socket: bounded for all of them together, whatever windows the
//! client grants.
//!
//! - [`Outlet`]: who may send, and who waits for that.
//! - [`Piece`]: some of a response's body, counted for as long as h2 has it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};

/// Shared by the streams of a connection.
#[derive(Debug)]
pub(super) struct Outlet {
    /// Bytes of bodies that h2 has, and how many it may have.
    queued: Cell<usize>,
    most: usize,
    /// The client takes nothing just now.
    stuck: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
    /// h2 was given something to do.
    stirred: Cell<bool>,
    /// Bytes and frames given to it since somebody asked.
    given: Cell<(usize, u32)>,
    /// Requests that were answered whole since somebody asked.
    answered: Cell<u32>,
    /// Bytes of heads that are served now.
    pub(super) heads: Cell<usize>,
    /// Bytes of responses that may be held for the client now.
    pub(super) held: Cell<usize>,
}

impl Outlet {
    pub(super) fn new(most: usize) -> Rc<Self> {
        Rc::new(Self {
            queued: Cell::new(0),
            most,
            stuck: Cell::new(false),
            waiting: RefCell::default(),
            stirred: Cell::new(false),
            given: Cell::default(),
            answered: Cell::new(0),
            heads: Cell::new(0),
            held: Cell::new(0),
        })
    }

    /// Ready when something may be sent.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.stuck.get() && self.queued.get() < self.most {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Whether h2 has some of a body that it has not written yet. Its stream may be over.
    pub(super) fn is_owing(&self) -> bool {
        self.queued.get() > 0
    }

    /// h2 was given something to do: whoever drives the connection lets it.
    pub(super) fn stir(&self) {
        self.stirred.set(true);
    }

    pub(super) fn take_stirred(&self) -> bool {
        self.stirred.replace(false)
    }

    pub(super) fn answered(&self) {
        self.answered.set(self.answered.get() + 1);
    }

    pub(super) fn take_answered(&self) -> u32 {
        self.answered.take()
    }

    /// Bytes and frames of bodies since the last call.
    pub(super) fn take_given(&self) -> (usize, u32) {
        self.given.take()
    }

    /// After sending: wakes who waited, when there is room again; whether there was anybody.
    pub(super) fn settle(&self, stuck: bool) -> bool {
        self.stuck.set(stuck);
        let waited = !self.waiting.borrow().is_empty();
        if stuck || !waited || self.queued.get() > self.most / 2 {
            return false;
        }
        self.waiting.borrow_mut().drain(..).for_each(Waker::wake);
        true
    }

    /// Wakes who waited: there will be no room any more.
    pub(super) fn close(&self) {
        self.stuck.set(false);
        self.waiting.borrow_mut().drain(..).for_each(Waker::wake);
    }

    /// A piece to be given to h2.
    pub(super) fn piece(self: &Rc<Self>, bytes: Bytes) -> Piece {
        let length = bytes.len();
        self.queued.set(self.queued.get() + length);
        let (all, frames) = self.given.get();
        self.given.set((all + length, frames + 1));
        self.stir();
        Piece { bytes, length, outlet: Rc::clone(self) }
    }
}

/// Some of a body.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    length: usize,
    outlet: Rc<Outlet>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }
    fn chunk(&self) -> &[u8] {
        &self.bytes
    }
    fn advance(&mut self, n: usize) {
        self.bytes.advance(n);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.outlet.queued.set(self.outlet.queued.get().saturating_sub(self.length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_streams_together_have_so_much_under_way() {
        let (outlet, cx) = (Outlet::new(10), Context::from_waker(Waker::noop()));
        let first = outlet.piece(Bytes::from_static(b"123456"));
        assert!(outlet.poll_room(&cx).is_ready());
        let second = outlet.piece(Bytes::from_static(b"123456"));
        assert!(outlet.poll_room(&cx).is_pending());
        drop(first);
        outlet.settle(false);
        assert!(outlet.poll_room(&cx).is_ready());
        outlet.settle(true);
        assert!(outlet.poll_room(&cx).is_pending(), "the client takes nothing");
        drop(second);
        assert_eq!((outlet.queued.get(), outlet.take_given()), (0, (12, 2)));
    }
}
