//! Places for TLS handshakes under way: so many at a time, and the next ones wait.
//!
//! - [`Places`]: those of a worker.

use std::cell::Cell;

use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

/// The places of a worker.
#[derive(Debug)]
pub(crate) struct Places {
    free: Semaphore,
    /// How many wait for one.
    waiting: Cell<usize>,
}

impl Places {
    pub(crate) fn new(all: usize) -> Self {
        Self { free: Semaphore::new(all.min(Semaphore::MAX_PERMITS)), waiting: Cell::new(0) }
    }

    /// A place, as soon as one is free. It is never closed, so there is no error.
    ///
    /// # Cancel safety
    /// Dropped, it waits no more.
    pub(crate) async fn take(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        if let Ok(place) = self.free.try_acquire() {
            return Ok(place);
        }
        self.waiting.set(self.waiting.get() + 1);
        let _waits = Waits(&self.waiting);
        self.free.acquire().await
    }

    /// Whether somebody waits for one.
    pub(crate) fn are_wanted(&self) -> bool {
        self.waiting.get() > 0
    }

    /// How many are free.
    #[cfg(feature = "h3")]
    pub(crate) fn free(&self) -> usize {
        self.free.available_permits()
    }
}

struct Waits<'a>(&'a Cell<usize>);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
