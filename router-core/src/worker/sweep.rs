//! Deadlines by a coarse sweep: each connection keeps one [`Timer`] for its whole life and only writes a number
//! into it; every [`TICK`] one pass over those numbers wakes who is late. A request makes no timer of its own.
//!
//! - [`Sweep`]: all timers of a worker.
//! - [`Timer`]: one connection's; it fires at most one tick late.

use std::{
    cell::RefCell,
    rc::Rc,
    task::{Context, Waker},
    time::Duration,
};

use slab::Slab;

use crate::route::Moment;

/// How often the sweep looks: how late a timeout may be.
pub(crate) const TICK: Duration = Duration::from_millis(50);

struct Slot {
    deadline: Moment,
    waker: Waker,
}

/// All timers of a worker; their number is bounded by that of its connections.
#[derive(Default)]
pub(crate) struct Sweep {
    slots: RefCell<Slab<Slot>>,
}

impl Sweep {
    /// Wakes every timer whose deadline is over.
    pub(crate) fn run(&self, now: Moment) {
        for (_, slot) in self.slots.borrow_mut().iter_mut() {
            if slot.deadline <= now {
                slot.deadline = Moment::NEVER;
                slot.waker.wake_by_ref();
            }
        }
    }

    /// Wakes every timer, so that each connection looks around.
    pub(crate) fn wake_all(&self) {
        self.run(Moment::NEVER);
    }
}

/// One connection's timer.
pub(crate) struct Timer {
    sweep: Rc<Sweep>,
    key: usize,
}

impl Timer {
    /// A timer that is not set.
    pub(crate) fn new(sweep: &Rc<Sweep>) -> Self {
        let slot = Slot { deadline: Moment::NEVER, waker: Waker::noop().clone() };
        Self { sweep: Rc::clone(sweep), key: sweep.slots.borrow_mut().insert(slot) }
    }

    /// The task of `cx` is woken soon after `deadline`, unless set otherwise before.
    pub(crate) fn set(&self, cx: &Context<'_>, deadline: Moment) {
        if let Some(slot) = self.sweep.slots.borrow_mut().get_mut(self.key) {
            slot.deadline = deadline;
            if !slot.waker.will_wake(cx.waker()) {
                slot.waker = cx.waker().clone();
            }
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.sweep.slots.borrow_mut().try_remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_timer_fires_once_when_it_is_due() {
        let (sweep, count) = (Rc::new(Sweep::default()), Arc::new(Count::default()));
        let waker = Waker::from(Arc::clone(&count));
        let timer = Timer::new(&sweep);
        timer.set(&Context::from_waker(&waker), Moment::from_micros(10));
        sweep.run(Moment::from_micros(9));
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        sweep.run(Moment::from_micros(10));
        sweep.run(Moment::from_micros(11));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        drop(timer);
        sweep.wake_all();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }
}
