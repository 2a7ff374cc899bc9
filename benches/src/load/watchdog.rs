//! A timeout that costs next to nothing when it does not strike: its timer is set once and moved only when it fires.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::Poll,
    time::{Duration, Instant},
};

use tokio::time::Sleep;

pub(super) struct Watchdog {
    limit: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Watchdog {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, sleep: Box::pin(tokio::time::sleep(limit)) }
    }

    /// What `work` came to, if within the limit from `began`.
    pub(super) async fn guard<T>(&mut self, began: Instant, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let deadline = began + self.limit;
        std::future::poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Some(done));
            }
            while self.sleep.as_mut().poll(context).is_ready() {
                if Instant::now() >= deadline {
                    return Poll::Ready(None);
                }
                self.sleep.as_mut().reset(deadline.into()); // it was set for a request long answered
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_strikes_late_requests_and_only_those() {
        let mut dog = Watchdog::new(Duration::from_millis(20));
        assert_eq!(dog.guard(Instant::now(), async { 1 }).await, Some(1));
        let began = Instant::now();
        assert_eq!(dog.guard(began, std::future::pending::<()>()).await, None);
        assert!(began.elapsed() >= Duration::from_millis(20));
        assert_eq!(dog.guard(Instant::now(), async { 2 }).await, Some(2), "it can be used again");
    }
}
