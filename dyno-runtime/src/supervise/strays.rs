//! Dynos whose runtime was killed, from the start of the next one until somebody wants them.
//!
//! They run, and what they write waits in their pipes. [`take_stock`] finds them; the first deploy of their app adopts them;
//! those that nobody has wanted for long enough are removed ([`expire`]).

use std::sync::{Arc, PoisonError};

use busbar_registry::{Lease, Registry};

use super::{
    House, Swept,
    state::{StateDirectory, Stray},
};
use crate::{options::RuntimeOptions, register};

/// Which dynos can be gone on with; all others that were left are gone when this returns.
pub(super) async fn take_stock(
    state: &StateDirectory,
    options: &RuntimeOptions,
    registry: &Arc<dyn Registry>,
) -> (Vec<Stray>, Swept) {
    let (mut strays, mut others) = state.left();
    if options.adopt.is_none() {
        give_back(registry, &strays);
        others.extend(strays.drain(..).map(|stray| stray.left));
    }
    let swept = state.sweep_these(others).await;
    if !strays.is_empty() {
        tracing::info!(dynos = strays.len(), "dynos of an earlier runtime wait to be adopted");
    }
    (strays, swept)
}

/// Kills them, and removes what they had.
pub(super) async fn sweep(house: &House, strays: Vec<Stray>) {
    give_back(&house.registry.0, &strays);
    house.state.sweep_these(strays.into_iter().map(|stray| stray.left)).await;
}

/// Removes in due time those that nobody wants.
pub(super) fn expire(house: &Arc<House>) {
    let some_left = !house.strays.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
    let Some(within) = house.options.adopt.filter(|_| some_left) else { return };
    let house = Arc::downgrade(house);
    tokio::spawn(async move {
        tokio::time::sleep(within).await;
        if let Some(house) = house.upgrade() {
            let strays = house.take_strays(|_| true);
            sweep(&house, strays).await;
        }
    });
}

/// Deregisters them, so that no router sends anything where nobody is. Nobody waits for it.
fn give_back(registry: &Arc<dyn Registry>, strays: &[Stray]) {
    let leases: Vec<Lease> = strays.iter().filter_map(|stray| stray.life.lease.clone()).collect();
    if leases.is_empty() {
        return;
    }
    let registry = Arc::clone(registry);
    tokio::spawn(async move {
        for lease in leases {
            // It runs out by itself in a moment.
            let _unreachable = register::call(registry.deregister(&lease.id)).await;
        }
    });
}

impl House {
    /// Those that nobody has taken yet.
    pub(super) fn take_strays(&self, which: impl Fn(&Stray) -> bool) -> Vec<Stray> {
        let mut strays = self.strays.lock().unwrap_or_else(PoisonError::into_inner);
        strays.extract_if(.., |stray| which(stray)).collect()
    }

    /// The keys of those that wait.
    pub(super) fn waiting(&self) -> usize {
        self.strays.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
