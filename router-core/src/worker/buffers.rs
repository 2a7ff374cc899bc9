//! Buffers: lent while bytes are in them, given back when a connection idles.
//!
//! - [`Buffers`]: what a worker keeps for lending.
//! - [`Buffer`]: a window of filled bytes in a lent block; dropped, it goes home.
//! - [`Desk`]: the lists and texts one request writes on; dropped, it goes home.

#![expect(clippy::indexing_slicing, reason = "start <= end <= the block's length, kept by every method")]

use std::{
    cell::{Cell, RefCell},
    mem,
    rc::Rc,
};

use crate::h1::{field::Field, request::RequestHead};

/// What is held while somebody is waited for: the beginning of a head, the beginning of the next request.
pub(crate) const SMALL: usize = 16 * 1024;
/// What bytes pass through; fewer, larger transfers are what makes big bodies cheap. The block given back last is
/// lent first, so that the bytes of one transfer are still in the core's cache at the next.
pub(crate) const BIG: usize = 256 * 1024;

/// How many free small blocks a worker keeps: 4 MiB. Free big ones are kept for as long as they are needed now and then.
const SMALL_KEPT: usize = 256;
/// How many big blocks may be lent at a time, 16 MiB; beyond that bodies make do with small ones.
const BIG_LENT: usize = 64;
const DESKS_KEPT: usize = 256;
/// How much a worker holds of responses that slow clients have not taken yet.
const HELD: usize = 64 * 1024 * 1024;

/// What a worker keeps for lending.
#[derive(Default)]
pub(crate) struct Buffers {
    small: RefCell<Vec<Box<[u8]>>>,
    big: RefCell<Vec<Box<[u8]>>>,
    #[expect(clippy::vec_box, reason = "a lent desk is moved around, a pointer is cheaper to move")]
    desks: RefCell<Vec<Box<Desk>>>,
    big_lent: Cell<usize>,
    /// The fewest big blocks that were free at a time since the last look.
    big_idle: Cell<usize>,
    held: Cell<usize>,
}

impl Buffers {
    /// A block of [`SMALL`] bytes.
    pub(crate) fn small(self: &Rc<Self>) -> Buffer {
        let block = self.small.borrow_mut().pop().unwrap_or_else(|| zeroed(SMALL));
        Buffer { block, start: 0, end: 0, home: Rc::clone(self) }
    }

    /// A block for bytes that pass through: of [`BIG`] bytes, or a small one when too many big ones are lent already.
    pub(crate) fn passage(self: &Rc<Self>) -> Buffer {
        if self.big_lent.get() >= BIG_LENT {
            return self.small();
        }
        self.big_lent.set(self.big_lent.get() + 1);
        let mut free = self.big.borrow_mut();
        let block = free.pop().unwrap_or_else(|| zeroed(BIG));
        self.big_idle.set(self.big_idle.get().min(free.len()));
        drop(free);
        Buffer { block, start: 0, end: 0, home: Rc::clone(self) }
    }

    /// Gives back some of the big blocks that nobody needed since the last call: a new one is costly to clear, so
    /// those that a load needs stay, and those that the last one needed go within seconds.
    pub(crate) fn tidy(&self) {
        let mut free = self.big.borrow_mut();
        let idle = self.big_idle.replace(free.len()).min(free.len());
        free.drain(..idle.div_ceil(16));
        self.big_idle.set(free.len());
    }

    /// Room for holding a block of what a slow client has not taken yet, if there is some left.
    pub(crate) fn room_for(self: &Rc<Self>, buffer: &Buffer) -> Option<Room> {
        let (held, bytes) = (self.held.get(), buffer.block.len());
        (held + bytes <= HELD).then(|| {
            self.held.set(held + bytes);
            Room { bytes, home: Rc::clone(self) }
        })
    }

    /// A clean desk.
    pub(crate) fn desk(self: &Rc<Self>) -> LentDesk {
        let desk = self.desks.borrow_mut().pop().unwrap_or_default();
        LentDesk { desk: Some(desk), home: Rc::clone(self) }
    }

    fn take_back(&self, block: Box<[u8]>) {
        let (kept, most) = match block.len() {
            SMALL => (&self.small, SMALL_KEPT),
            BIG => {
                self.big_lent.set(self.big_lent.get().saturating_sub(1));
                (&self.big, BIG_LENT)
            }
            _ => return,
        };
        let mut kept = kept.borrow_mut();
        if kept.len() < most {
            kept.push(block);
        }
    }
}

fn zeroed(len: usize) -> Box<[u8]> {
    vec![0; len].into_boxed_slice()
}

/// A window of filled bytes in a lent block.
pub(crate) struct Buffer {
    block: Box<[u8]>,
    start: usize,
    end: usize,
    home: Rc<Buffers>,
}

impl Buffer {
    /// The filled bytes.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.block[self.start..self.end]
    }
    /// The filled bytes, to be changed in place.
    pub(crate) fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.block[self.start..self.end]
    }
    /// Room behind the filled bytes.
    pub(crate) fn spare(&mut self) -> &mut [u8] {
        &mut self.block[self.end..]
    }
    /// How many bytes fit behind the filled ones.
    pub(crate) fn room(&self) -> usize {
        self.block.len() - self.end
    }
    /// The next `n` bytes of the spare room are filled now.
    pub(crate) fn fill(&mut self, n: usize) {
        self.end = (self.end + n).min(self.block.len());
    }
    /// The first `n` filled bytes are used up.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }
    /// Only the first `n` filled bytes stay.
    pub(crate) fn truncate(&mut self, n: usize) {
        self.end = (self.start + n).min(self.end);
    }
    /// Goes on in a small block, if that is enough: somebody slow is waited for.
    pub(crate) fn shrink(&mut self) {
        if self.block.len() > SMALL && self.filled().len() < SMALL {
            let mut small = self.home.small();
            small.append(self.filled());
            *self = small;
        }
    }
    /// Adds `bytes`, in a larger block if need be.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        while self.block.len() - self.end < bytes.len() {
            self.make_room();
        }
        self.spare()[..bytes.len()].copy_from_slice(bytes);
        self.fill(bytes.len());
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }
    pub(crate) fn is_full(&self) -> bool {
        self.end == self.block.len()
    }
    /// Makes room: moves what is filled to the front, or, if it is there already, into a block twice the size.
    pub(crate) fn make_room(&mut self) {
        if self.start > 0 {
            self.block.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        } else {
            let mut larger = zeroed(self.block.len() * 2);
            larger[..self.end].copy_from_slice(self.filled());
            if larger.len() == BIG {
                self.home.big_lent.set(self.home.big_lent.get() + 1);
            }
            self.home.take_back(mem::replace(&mut self.block, larger));
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.take_back(mem::take(&mut self.block));
    }
}

/// Leave to hold a block for long; dropped, it is given back.
pub(crate) struct Room {
    bytes: usize,
    home: Rc<Buffers>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.home.held.set(self.home.held.get().saturating_sub(self.bytes));
    }
}

/// What one request writes on: lists and texts that keep their memory from request to request.
#[derive(Default)]
pub(crate) struct Desk {
    /// The head of the request; its fields are in `request_fields`.
    pub(crate) head: Option<RequestHead>,
    /// What the places in `head` and `request_fields` refer to.
    pub(crate) text: Vec<u8>,
    pub(crate) request_fields: Vec<Field>,
    pub(crate) response_fields: Vec<Field>,
    pub(crate) to_dyno: Vec<u8>,
    pub(crate) to_client: Vec<u8>,
    pub(crate) forwarded_for: Vec<u8>,
    pub(crate) via: Vec<u8>,
}

impl Desk {
    fn clear(&mut self) {
        self.head = None;
        self.text.clear();
        self.request_fields.clear();
        self.response_fields.clear();
        self.to_dyno.clear();
        self.to_client.clear();
        self.forwarded_for.clear();
        self.via.clear();
    }

    /// Whether an unusual request has made it large; such a one is not kept.
    fn is_large(&self) -> bool {
        let texts = [&self.text, &self.to_dyno, &self.to_client, &self.forwarded_for, &self.via];
        texts.iter().any(|text| text.capacity() > SMALL)
            || self.request_fields.capacity().max(self.response_fields.capacity()) > 256
    }
}

/// A lent [`Desk`]; dropped, it goes home.
pub(crate) struct LentDesk {
    /// `None` only while it is being dropped.
    desk: Option<Box<Desk>>,
    home: Rc<Buffers>,
}

impl LentDesk {
    /// The desk.
    pub(crate) fn get(&mut self) -> &mut Desk {
        self.desk.get_or_insert_default()
    }
}

impl Drop for LentDesk {
    fn drop(&mut self) {
        let Some(mut desk) = self.desk.take() else { return };
        let mut kept = self.home.desks.borrow_mut();
        if !desk.is_large() && kept.len() < DESKS_KEPT {
            desk.clear();
            kept.push(desk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_lent_again() {
        let buffers = Rc::new(Buffers::default());
        let address = buffers.small().block.as_ptr();
        assert_eq!(buffers.small().block.as_ptr(), address);
    }

    #[test]
    fn only_so_many_big_blocks_are_lent() {
        let buffers = Rc::new(Buffers::default());
        let lent: Vec<_> = (0..BIG_LENT).map(|_| buffers.passage()).collect();
        assert!(lent.iter().all(|b| b.block.len() == BIG));
        assert_eq!(buffers.passage().block.len(), SMALL);
        drop(lent);
        assert_eq!(buffers.passage().block.len(), BIG);
        assert_eq!(buffers.big.borrow().len(), BIG_LENT);
    }

    #[test]
    fn big_blocks_that_nobody_needs_any_more_are_given_back() {
        let buffers = Rc::new(Buffers::default());
        drop((0..BIG_LENT).map(|_| buffers.passage()).collect::<Vec<_>>());
        buffers.tidy();
        let needed = || (0..10).map(|_| buffers.passage()).collect::<Vec<_>>();
        for _ in 0..100 {
            drop(needed());
            buffers.tidy();
        }
        assert_eq!(buffers.big.borrow().len(), 10);
        (0..100).for_each(|_| buffers.tidy());
        assert_eq!(buffers.big.borrow().len(), 0);
    }

    #[test]
    fn whoever_waits_for_somebody_slow_needs_a_small_block_only() {
        let buffers = Rc::new(Buffers::default());
        let mut buffer = buffers.passage();
        buffer.append(b"GET");
        buffer.consume(1);
        buffer.shrink();
        assert_eq!((buffer.filled(), buffer.block.len()), (&b"ET"[..], SMALL));
        assert_eq!(buffers.big_lent.get(), 0);
    }

    #[test]
    fn a_worker_holds_so_much_for_slow_clients_and_no_more() {
        let buffers = Rc::new(Buffers::default());
        let buffer = buffers.small();
        let mut rooms: Vec<_> = std::iter::from_fn(|| buffers.room_for(&buffer)).collect();
        assert_eq!(rooms.len() * SMALL, HELD);
        rooms.pop();
        assert!(buffers.room_for(&buffer).is_some());
    }

    #[test]
    fn making_room_keeps_the_bytes() {
        let buffers = Rc::new(Buffers::default());
        let mut buffer = buffers.small();
        buffer.spare()[..3].copy_from_slice(b"abc");
        buffer.fill(3);
        buffer.consume(1);
        buffer.make_room();
        assert_eq!(buffer.filled(), b"bc");
        let room = buffer.spare().len();
        buffer.fill(room);
        buffer.make_room();
        assert_eq!(&buffer.filled()[..2], b"bc");
        assert_eq!(buffer.filled().len(), SMALL);
        assert!(!buffer.is_full());
    }
}
