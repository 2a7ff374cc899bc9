//! What `route/` shares between threads: the standard library's atomics and lock, and arc-swap. Under `--cfg busbar_loom` they are
//! loom's, which tries every interleaving (`tests/loom.rs`). Not `--cfg loom`: tokio reads that, too, and has no sockets then.
//!
//! Two are not loom's own:
//! - the atomics: loom takes sequentially consistent accesses for acquire and release. A fence before each of them makes up for it
//!   and adds nothing: an access that is not sequentially consistent may still be seen before an earlier one that is.
//! - `ArcSwap`: loom does not see into arc-swap. A locked `Arc` stands for it: a load gives a whole set, one that was published, and
//!   never an older one than the thread has seen. arc-swap itself has loom's and miri's tests at home.

#[cfg(not(busbar_loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU32, AtomicU64, fence},
};

#[cfg(not(busbar_loom))]
pub(crate) use arc_swap::ArcSwap;
#[cfg(busbar_loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic::fence};

#[cfg(busbar_loom)]
pub(crate) use self::modelled::{ArcSwap, AtomicU32, AtomicU64};

#[cfg(busbar_loom)]
mod modelled {
    use std::sync::{Arc, PoisonError, atomic::Ordering};

    use loom::sync::{Mutex, atomic, atomic::fence};

    /// See the page.
    fn strictly(ordering: Ordering) -> Ordering {
        if ordering == Ordering::SeqCst {
            fence(Ordering::SeqCst);
        }
        ordering
    }

    macro_rules! atomic {
        ($name:ident, $int:ty) => {
            #[derive(Debug, Default)]
            pub(crate) struct $name(atomic::$name);

            impl $name {
                pub(crate) fn load(&self, ordering: Ordering) -> $int {
                    self.0.load(strictly(ordering))
                }
                pub(crate) fn store(&self, value: $int, ordering: Ordering) {
                    self.0.store(value, strictly(ordering));
                }
                pub(crate) fn fetch_add(&self, value: $int, ordering: Ordering) -> $int {
                    self.0.fetch_add(value, strictly(ordering))
                }
                pub(crate) fn fetch_sub(&self, value: $int, ordering: Ordering) -> $int {
                    self.0.fetch_sub(value, strictly(ordering))
                }
                pub(crate) fn fetch_max(&self, value: $int, ordering: Ordering) -> $int {
                    self.0.fetch_max(value, strictly(ordering))
                }
                pub(crate) fn fetch_update(
                    &self,
                    set: Ordering,
                    fetch: Ordering,
                    step: impl FnMut($int) -> Option<$int>,
                ) -> Result<$int, $int> {
                    self.0.fetch_update(strictly(set), fetch, step)
                }
                pub(crate) fn compare_exchange(
                    &self,
                    current: $int,
                    new: $int,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$int, $int> {
                    self.0.compare_exchange(current, new, strictly(success), failure)
                }
                pub(crate) fn compare_exchange_weak(
                    &self,
                    current: $int,
                    new: $int,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$int, $int> {
                    self.0.compare_exchange_weak(current, new, strictly(success), failure)
                }
            }
        };
    }
    atomic!(AtomicU32, u32);
    atomic!(AtomicU64, u64);

    /// As much of arc-swap's as `route/` uses.
    pub(crate) struct ArcSwap<T>(Mutex<Arc<T>>);

    impl<T> ArcSwap<T> {
        pub(crate) fn from_pointee(value: T) -> Self {
            Self(Mutex::new(Arc::new(value)))
        }
        pub(crate) fn load_full(&self) -> Arc<T> {
            Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
        }
        pub(crate) fn load(&self) -> Arc<T> {
            self.load_full()
        }
        pub(crate) fn store(&self, value: Arc<T>) {
            let before =
                std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), value);
            drop(before); // whatever its drop does happens outside the lock
        }
    }
}
