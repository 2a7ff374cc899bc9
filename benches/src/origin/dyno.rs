//! The work behind one listener: how long a request waits and how long it takes.

use std::{
    cell::RefCell,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use fastrand::Rng;
use tokio::sync::Semaphore;

use super::{Latency, Listener, Misbehaviour, Speaks};
use crate::alarm::Alarm;

pub(super) struct Dyno {
    listener: Listener,
    began: Instant,
    rng: RefCell<Rng>,
    turns: Option<Semaphore>,
    alarm: Alarm,
}

impl Dyno {
    pub(super) fn new(listener: Listener, seed: u64, alarm: Alarm) -> Self {
        let turns = listener.concurrency.map(NonZeroUsize::get).map(Semaphore::new);
        Self { listener, began: Instant::now(), rng: RefCell::new(Rng::with_seed(seed)), turns, alarm }
    }

    pub(super) const fn misbehaviour(&self) -> Option<Misbehaviour> {
        self.listener.misbehaviour
    }

    pub(super) const fn speaks(&self) -> Speaks {
        self.listener.speaks
    }

    /// Whether [`Dyno::work`] ever waits.
    pub(super) const fn is_instant(&self) -> bool {
        self.listener.stall.is_none()
            && self.turns.is_none()
            && matches!(self.listener.latency, Latency::None)
    }

    /// Waits as long as this request takes.
    pub(super) async fn work(&self) {
        let _turn = match &self.turns {
            Some(turns) => turns.acquire().await.ok(),
            None => None,
        };
        if let Some(left) = self.listener.stall.and_then(|stall| stalled(self.began.elapsed(), stall)) {
            self.alarm.after(left).await;
        }
        let time = self.listener.latency.draw(&mut self.rng.borrow_mut());
        if !time.is_zero() {
            self.alarm.after(time).await;
        }
    }
}

/// How long a stall lasts that holds at `now`.
fn stalled(now: Duration, (every, span): (Duration, Duration)) -> Option<Duration> {
    let within = Duration::from_nanos_u128(now.as_nanos() % every.as_nanos().max(1));
    (within >= every - span).then(|| every - within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_the_end_of_each_period() {
        let stall = (Duration::from_secs(10), Duration::from_secs(1));
        let at = |millis| stalled(Duration::from_millis(millis), stall).map(|left| left.as_millis());
        assert_eq!(
            [0, 8_999, 9_000, 9_750, 10_000, 19_500].map(at),
            [None, None, Some(1000), Some(250), None, Some(500)]
        );
    }
}
