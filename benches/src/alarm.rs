//! A timer as exact as the kernel's, for one thread: tokio's own counts in whole milliseconds, too coarse for a load generator.
//!
//! - [`Alarm::until`]: wait until a moment; many may wait.
//!
//! One timerfd is armed for the earliest moment anybody waits for.

use std::{
    cell::{Cell, RefCell},
    cmp::Reverse,
    collections::BinaryHeap,
    io,
    os::fd::OwnedFd,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::{Interest, unix::AsyncFd};

/// Wakes tasks of this thread at exact moments. Needs a running `LocalSet` for [`Alarm::start`].
#[derive(Clone)]
pub(crate) struct Alarm(Rc<Inner>);

struct Inner {
    timer: AsyncFd<OwnedFd>,
    waiting: RefCell<BinaryHeap<Reverse<Waiting>>>,
    order: Cell<u64>,
}

/// Ordered by moment, then by who came first.
struct Waiting {
    at: Instant,
    order: u64,
    waker: Waker,
}

impl Alarm {
    /// Starts the task that wakes the others.
    ///
    /// # Errors
    /// The kernel gave no timer.
    pub(crate) fn start() -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(deprecated, reason = "its fault is that a descriptor may not be owned; this one is")]
        let timer = AsyncFd::with_interest(fd, Interest::READABLE)?;
        let alarm = Self(Rc::new(Inner { timer, waiting: RefCell::default(), order: Cell::new(0) }));
        tokio::task::spawn_local(alarm.clone().ring());
        Ok(alarm)
    }

    /// Resolves at `at`, or at once when that has passed. Cancel safe.
    pub(crate) async fn until(&self, at: Instant) {
        let mut asked = false;
        std::future::poll_fn(|context| self.poll_until(at, &mut asked, context)).await;
    }

    /// Resolves after `span`.
    pub(crate) async fn after(&self, span: Duration) {
        self.until(Instant::now() + span).await;
    }

    fn poll_until(&self, at: Instant, asked: &mut bool, context: &Context<'_>) -> Poll<()> {
        if Instant::now() >= at {
            return Poll::Ready(());
        }
        if !*asked {
            *asked = true; // the tasks here never move to another waker
            let order = self.0.order.replace(self.0.order.get() + 1);
            let mut waiting = self.0.waiting.borrow_mut();
            let earliest = waiting.peek().is_none_or(|Reverse(first)| at < first.at);
            waiting.push(Reverse(Waiting { at, order, waker: context.waker().clone() }));
            if earliest {
                self.arm(at);
            }
        }
        Poll::Pending
    }

    fn arm(&self, at: Instant) {
        let wait = at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1)); // zero would disarm
        let spec = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec {
                tv_sec: wait.as_secs().cast_signed(),
                tv_nsec: i64::from(wait.subsec_nanos()),
            },
        };
        let _impossible = timerfd_settime(&self.0.timer, TimerfdTimerFlags::empty(), &spec);
    }

    async fn ring(self) {
        while let Ok(mut ready) = self.0.timer.readable().await {
            ready.clear_ready(); // edge triggered: the next expiry is a new event, nothing has to be read
            self.wake_due();
        }
    }

    fn wake_due(&self) {
        let now = Instant::now();
        let mut waiting = self.0.waiting.borrow_mut();
        while let Some(first) = waiting.peek() {
            if first.0.at > now {
                self.arm(first.0.at);
                return;
            }
            if let Some(Reverse(due)) = waiting.pop() {
                due.waker.wake();
            }
        }
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_come_in_order_and_never_early() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let rang = Rc::new(RefCell::new(Vec::new()));
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let alarm = Alarm::start().unwrap();
            let began = Instant::now();
            let tasks = [700, 100, 400].map(|micros| {
                let (alarm, rang) = (alarm.clone(), Rc::clone(&rang));
                tokio::task::spawn_local(async move {
                    let at = began + Duration::from_micros(micros);
                    alarm.until(at).await;
                    assert!(Instant::now() >= at);
                    rang.borrow_mut().push(micros);
                })
            });
            for task in tasks {
                task.await.unwrap();
            }
        });
        assert_eq!(*rang.borrow(), [100, 400, 700]);
    }
}
