//! File descriptors: how many connections fit into what the process may open.
//!
//! - [`limit`], [`open`]: of this process. [`fit`]: the bounds that fit into it.

use std::{fs, num::NonZeroUsize};

use super::ServerOptions;

/// Kept for logs, the admin API, files that are opened now and then.
const RESERVE: u64 = 32;

/// How many this process may have open at a time; `None`: any number.
pub fn limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// How many it has open now.
pub fn open() -> Option<u64> {
    // The directory itself is open while it is read.
    fs::read_dir("/proc/self/fd").ok().map(|entries| (entries.count() as u64).saturating_sub(1))
}

/// Lowers the bounds of `options` so that clients take at most three quarters of `limit`, and connections kept to
/// dynos at most an eighth: the rest is for dynos that are dialled and for everything else. What a worker then has
/// too little of waits in the kernel's queue instead of failing.
pub(crate) fn fit(options: &mut ServerOptions, limit: u64) {
    let available = limit.saturating_sub(RESERVE).max(8);
    let share = |part: u64| {
        let part =
            NonZeroUsize::new(usize::try_from(part).unwrap_or(usize::MAX)).map_or(1, NonZeroUsize::get);
        part.div_euclid(options.workers.get()).max(1)
    };
    let (clients, kept) = (share(available / 4 * 3), share(available / 8));
    if options.connections_per_worker > clients {
        tracing::warn!(
            "this process may open {limit} files, so each worker takes {clients} client connections at a time \
             instead of {}; raise the limit (LimitNOFILE=, ulimit -n)",
            options.connections_per_worker
        );
        options.connections_per_worker = clients;
    }
    options.pool.total = options.pool.total.min(kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(limit: u64, workers: usize) -> (usize, usize) {
        let workers = NonZeroUsize::new(workers).unwrap();
        let mut options = ServerOptions { workers, ..ServerOptions::default() };
        fit(&mut options, limit);
        (options.connections_per_worker, options.pool.total)
    }

    #[test]
    fn connections_fit_into_the_descriptors_there_are() {
        assert_eq!(fitted(1 << 20, 2), (10_000, 8192));
        assert_eq!(fitted(1024, 2), (372, 62));
        assert_eq!(fitted(64, 1), (24, 4));
        assert_eq!(fitted(0, 4), (1, 1));
    }
}
