//! Changes a route again and again while a run lasts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// Does something every so often in a thread of its own, until dropped.
pub(super) struct Changer {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Changer {
    /// `change` is given a number that grows by one each time, and says whether it worked.
    pub(super) fn start(
        every: Duration,
        mut change: impl FnMut(u64) -> std::io::Result<()> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&done));
        let thread = thread::Builder::new().name("changes".into()).spawn(move || {
            let mut next = Instant::now();
            while !stopped.load(Relaxed) {
                if change(counted.load(Relaxed)).is_ok() {
                    counted.fetch_add(1, Relaxed);
                }
                next += every;
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        })?;
        Ok(Self { stop, done, thread: Some(thread) })
    }

    /// How many changes were made so far.
    pub(super) fn done(&self) -> u64 {
        self.done.load(Relaxed)
    }
}

impl Drop for Changer {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}
