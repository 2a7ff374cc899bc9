//! What changes with every request, apart from the facts that do not: atomics shared by all workers, which outlive
//! every swap of the table.
//!
//! - [`DynoLoad`]: one dyno: in flight, quarantine and ejection, latency, age.
//! - [`AppLoad`]: one app: in flight, round-robin cursor, retries, who waits.
//! - [`Slot`]: one request's place at a dyno; dropping it gives the place back.
//!
//! Orderings: counts are only counts, so relaxed suffices, with one exception: giving a place back is sequentially
//! consistent, because [`WaitList`] argues from it.

use std::{
    fmt,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::Ordering::{Relaxed, SeqCst},
    },
};

use super::{admit::WaitList, dyno::Dyno};
use crate::sync::{AtomicU32, AtomicU64};

/// One dyno's load as all workers of this router see it. It fills a cache line of its own, so that requests to two
/// dynos never contend for one line.
#[derive(Default)]
#[repr(align(64))]
pub struct DynoLoad {
    in_flight: AtomicU32,
    /// See `quarantine.rs`.
    pub(super) failures: AtomicU32,
    pub(super) quarantined_until: AtomicU64,
    /// See `eject.rs`.
    pub(super) failed_in_a_row: AtomicU32,
    pub(super) ejections: AtomicU32,
    pub(super) ejected_until: AtomicU64,
    /// See `balance/warmup.rs`.
    pub(super) known_since: AtomicU64,
    /// See `balance/peak_ewma.rs`.
    pub(super) latency: AtomicU64,
    pub(super) silent_since: AtomicU32,
}

impl DynoLoad {
    /// Requests at the dyno now.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// One more, unless there are `cap` already; exact however many workers race.
    fn enter(&self, cap: Option<NonZeroU32>) -> bool {
        let Some(cap) = cap else {
            self.in_flight.fetch_add(1, Relaxed);
            return true;
        };
        let one_more = |now: u32| (now < cap.get()).then_some(now + 1);
        self.in_flight.fetch_update(Relaxed, Relaxed, one_more).is_ok()
    }
}

impl fmt::Debug for DynoLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DynoLoad({} in flight)", self.in_flight())
    }
}

/// One app's load as all workers of this router see it.
#[derive(Default)]
#[repr(align(64))]
pub struct AppLoad {
    /// Requests in flight in the lower half; in the upper half all that ever came, modulo 2³². One word, so that the latter
    /// costs nothing.
    requests: AtomicU64,
    /// See `balance/round_robin.rs`.
    pub(super) cursor: AtomicU32,
    /// See `eject.rs`.
    pub(super) ejections_void_until: AtomicU64,
    /// See `retry/budget.rs`.
    pub(super) retries: AtomicU64,
    /// Who waits for a dyno.
    pub waits: WaitList,
}

impl AppLoad {
    /// Requests of the app in this router now, those that wait included.
    pub fn in_flight(&self) -> u32 {
        lower(self.requests.load(Relaxed))
    }

    /// Requests of the app that ever came in, modulo 2³².
    pub fn arrived(&self) -> u32 {
        lower(self.requests.load(Relaxed) >> 32)
    }

    /// One more, unless `refuse` says why not for the number there is. Fewer than 2³² are ever in flight: each has a socket.
    pub(super) fn enter<E>(&self, refuse: impl Fn(u32) -> Option<E>) -> Result<(), E> {
        const ONE: u64 = (1 << 32) + 1;
        let mut now = self.requests.load(Relaxed);
        loop {
            if let Some(why) = refuse(lower(now)) {
                return Err(why);
            }
            match self.requests.compare_exchange_weak(now, now.wrapping_add(ONE), Relaxed, Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => now = other,
            }
        }
    }

    pub(super) fn leave(&self) {
        self.requests.fetch_sub(1, Relaxed);
    }
}

impl fmt::Debug for AppLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AppLoad({} in flight, {} waiting)", self.in_flight(), self.waits.len())
    }
}

/// The lower half.
const fn lower(word: u64) -> u32 {
    (word & 0xffff_ffff) as u32
}

/// One request's place at a dyno. While it lives the request counts as in flight there, whatever happens to the
/// table; dropping it gives the place back and calls the next request that waits for one.
#[must_use = "dropping a slot gives the place at the dyno back"]
pub struct Slot {
    dyno: Arc<Dyno>,
}

impl Slot {
    /// A place at `dyno`, unless `cap` requests are there already.
    pub(super) fn take(dyno: &Arc<Dyno>, cap: Option<NonZeroU32>) -> Option<Self> {
        dyno.load.enter(cap).then(|| Self { dyno: Arc::clone(dyno) })
    }

    /// The dyno.
    pub const fn dyno(&self) -> &Arc<Dyno> {
        &self.dyno
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.dyno.load.in_flight.fetch_sub(1, SeqCst);
        self.dyno.app.waits.call_for(self.dyno.key);
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({})", self.dyno.label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::fixture;

    #[test]
    fn a_slot_counts_until_it_is_dropped_even_after_its_dyno_left() {
        let (set, _app) = fixture::app(1, |_| {});
        let dyno = Arc::clone(&set.dynos[0]);
        let slot = Slot::take(&dyno, None).unwrap();
        drop(set);
        assert_eq!(dyno.load.in_flight(), 1);
        drop(slot);
        assert_eq!(dyno.load.in_flight(), 0);
    }

    #[test]
    fn racing_threads_never_exceed_the_cap() {
        let (set, _app) = fixture::app(1, |_| {});
        let (dyno, cap) = (&set.dynos[0], NonZeroU32::new(3));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        // Each thread alone asks for more than there is.
                        let slots: Vec<_> = (0..4).filter_map(|_| Slot::take(dyno, cap)).collect();
                        assert!(slots.len() <= 3 && dyno.load.in_flight() <= 3);
                    }
                });
            }
        });
        assert_eq!(dyno.load.in_flight(), 0);
    }

    #[test]
    fn two_dynos_share_no_cache_line() {
        assert_eq!((align_of::<DynoLoad>(), size_of::<DynoLoad>()), (64, 64));
    }
}
