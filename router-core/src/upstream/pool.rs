//! Connections to dynos that wait for their next request. Each worker has its own pool, so taking one costs a look
//! into a map and nothing else.
//!
//! - [`Pool`]: take, put, tidy, shed.
//! - [`PoolBounds`]: how many may wait, for one dyno and in all; the one that waited longest goes first.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    task::{Context, Poll, Waker},
};

use foldhash::fast::FixedState;

use crate::{
    io::Transport,
    route::{Moment, dyno::DynoKey},
    upstream::link::Link,
};

/// How many connections may wait for their next request, in each worker's pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolBounds {
    /// For one dyno. Default: 1024.
    pub per_dyno: usize,
    /// In all. Each is a file descriptor. Default: 8192.
    pub total: usize,
}

impl Default for PoolBounds {
    fn default() -> Self {
        Self { per_dyno: 1024, total: 8192 }
    }
}

struct Waiting<T> {
    stream: T,
    until: Moment,
    /// Its place in the order of all that were ever put.
    number: u64,
}

/// Connections that wait for their next request, the latest used first.
pub(crate) struct Pool<T = Link> {
    bounds: PoolBounds,
    /// For each dyno in the order in which they were put.
    dynos: RefCell<HashMap<DynoKey, VecDeque<Waiting<T>>, FixedState>>,
    kept: Cell<usize>,
    puts: Cell<u64>,
}

impl<T: Transport> Pool<T> {
    /// An empty pool.
    pub(crate) fn new(bounds: PoolBounds) -> Self {
        Self { bounds, dynos: RefCell::default(), kept: Cell::new(0), puts: Cell::new(0) }
    }

    /// How many there are.
    pub(crate) fn kept(&self) -> usize {
        self.kept.get()
    }

    /// A connection to the dyno that is still open, as far as can be seen without a syscall.
    pub(crate) fn take(&self, dyno: DynoKey) -> Option<T> {
        let mut dynos = self.dynos.borrow_mut();
        let waiting = dynos.get_mut(&dyno)?;
        while let Some(mut kept) = waiting.pop_back() {
            self.kept.set(self.kept.get() - 1);
            if is_silent(&mut kept.stream) {
                return Some(kept.stream);
            }
        }
        None
    }

    /// Keeps a connection until then. Its last response must have been read to the end, and not a byte more.
    pub(crate) fn put(&self, dyno: DynoKey, stream: T, until: Moment) {
        if self.bounds.per_dyno.min(self.bounds.total) == 0 {
            return;
        }
        if self.kept.get() >= self.bounds.total {
            // Looking for the oldest is a walk over all of them, so it finds many at a time.
            self.shed(self.bounds.total.div_ceil(16));
        }
        self.puts.set(self.puts.get() + 1);
        let mut dynos = self.dynos.borrow_mut();
        let waiting = dynos.entry(dyno).or_default();
        if waiting.len() < self.bounds.per_dyno {
            self.kept.set(self.kept.get() + 1);
        } else {
            waiting.pop_front();
        }
        waiting.push_back(Waiting { stream, until, number: self.puts.get() });
    }

    /// Closes what was kept long enough, what the dyno has closed, and what spoke without being asked.
    pub(crate) fn tidy(&self, now: Moment) {
        self.retain(|kept| kept.until > now && is_silent(&mut kept.stream));
    }

    /// Closes the `n` that have waited longest; how many there were.
    pub(crate) fn shed(&self, n: usize) -> usize {
        let dynos = self.dynos.borrow();
        let mut numbers: Vec<u64> = dynos.values().flatten().map(|kept| kept.number).collect();
        drop(dynos);
        let n = n.min(numbers.len());
        let Some(last) = n.checked_sub(1) else { return 0 };
        let (_, last, _) = numbers.select_nth_unstable(last);
        let last = *last;
        self.retain(|kept| kept.number > last);
        n
    }

    /// Closes all.
    pub(crate) fn clear(&self) {
        self.retain(|_| false);
    }

    fn retain(&self, mut keep: impl FnMut(&mut Waiting<T>) -> bool) {
        let mut left = 0;
        self.dynos.borrow_mut().retain(|_, waiting| {
            waiting.retain_mut(&mut keep);
            left += waiting.len();
            !waiting.is_empty()
        });
        self.kept.set(left);
    }
}

/// Neither bytes nor an end wait to be read. Bytes that nobody asked for would be taken for the next response.
fn is_silent<T: Transport>(stream: &mut T) -> bool {
    let mut nobody = Context::from_waker(Waker::noop());
    match stream.poll_recv_ready(&mut nobody) {
        Poll::Pending => true,
        Poll::Ready(Err(_)) => false,
        // The reactor may only not have noticed yet that everything was read: ask the socket.
        Poll::Ready(Ok(())) => stream.poll_recv(&mut nobody, &mut [0]).is_pending(),
    }
}

#[cfg(test)]
mod tests {
    use std::{rc::Rc, time::Duration};

    use super::*;
    use crate::io::tests::Silent;

    /// Notes in a shared list that it was closed.
    struct Noted(u64, Rc<RefCell<Vec<u64>>>);

    impl Drop for Noted {
        fn drop(&mut self) {
            self.1.borrow_mut().push(self.0);
        }
    }

    type Fake = Silent<Noted>;

    struct Stage {
        pool: Pool<Fake>,
        closed: Rc<RefCell<Vec<u64>>>,
    }

    fn stage(per_dyno: usize, total: usize) -> Stage {
        Stage { pool: Pool::new(PoolBounds { per_dyno, total }), closed: Rc::default() }
    }

    impl Stage {
        fn put(&self, dyno: u64, name: u64) {
            self.pool.put(DynoKey(dyno), Silent(Noted(name, Rc::clone(&self.closed))), Moment::START);
        }
        fn closed(&self) -> Vec<u64> {
            let mut closed = self.closed.borrow().clone();
            closed.sort_unstable();
            closed
        }
    }

    #[test]
    fn of_one_dynos_connections_the_latest_is_taken_and_the_oldest_closed() {
        let stage = stage(2, 100);
        (1..=3).for_each(|name| stage.put(1, name));
        assert_eq!((stage.closed(), stage.pool.kept()), (vec![1], 2));
        assert_eq!(stage.pool.take(DynoKey(1)).unwrap().0.0, 3);
        assert_eq!((stage.pool.kept(), stage.pool.take(DynoKey(2)).is_none()), (1, true));
    }

    #[test]
    fn the_pool_never_holds_more_than_its_total_and_closes_the_oldest_of_all() {
        let stage = stage(100, 16);
        for name in 1..=40 {
            stage.put(name % 5, name);
            assert!(stage.pool.kept() <= 16);
        }
        assert_eq!(stage.closed(), (1..=24).collect::<Vec<_>>());
        assert_eq!((stage.pool.shed(4), stage.pool.kept()), (4, 12));
        assert_eq!(stage.closed(), (1..=28).collect::<Vec<_>>());
        assert_eq!((stage.pool.shed(100), stage.pool.shed(1), stage.pool.kept()), (12, 0, 0));
    }

    #[test]
    fn what_was_kept_long_enough_is_closed() {
        let stage = stage(10, 10);
        stage.put(1, 1);
        stage.pool.put(
            DynoKey(1),
            Silent(Noted(2, Rc::clone(&stage.closed))),
            Moment::START + Duration::from_secs(9),
        );
        stage.pool.tidy(Moment::START + Duration::from_secs(1));
        assert_eq!((stage.closed(), stage.pool.kept()), (vec![1], 1));
        stage.pool.clear();
        assert_eq!((stage.closed(), stage.pool.kept()), (vec![1, 2], 0));
    }

    #[test]
    fn a_pool_that_may_keep_none_keeps_none() {
        let stage = stage(0, 10);
        stage.put(1, 1);
        assert_eq!((stage.closed(), stage.pool.kept()), (vec![1], 0));
    }
}
