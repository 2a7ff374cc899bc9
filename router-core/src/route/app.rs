//! An app in the table: its name, its dyno set behind one swap, its load.
//!
//! - [`App`]: found by host; lives as long as somebody holds it.
//! - [`DynoSet`]: everything about an app that must agree, published together.

use std::{fmt, sync::Arc};

use busbar_registry::{AppName, Routing, WebFormation};

use super::{dyno::Dyno, load::AppLoad};
use crate::sync::ArcSwap;

/// An app. A dyno coming or going swaps its [`DynoSet`] and touches nothing else in the table.
pub struct App {
    /// Its name.
    pub name: AppName,
    /// What changes with every request.
    pub load: Arc<AppLoad>,
    set: ArcSwap<DynoSet>,
}

impl App {
    pub(super) fn new(name: AppName, load: Arc<AppLoad>, set: DynoSet) -> Self {
        Self { name, load, set: ArcSwap::from_pointee(set) }
    }

    /// Its dyno set as it is now, to keep. Take it once per request and decide everything from it; take it anew
    /// only after waiting.
    pub fn set(&self) -> Arc<DynoSet> {
        self.set.load_full()
    }

    /// The same for one synchronous step, without touching the set's reference count.
    pub fn with_set<T>(&self, step: impl FnOnce(&DynoSet) -> T) -> T {
        step(&self.set.load())
    }

    /// Publishes a new set, then lets everybody who waits look at it.
    pub(super) fn publish(&self, set: DynoSet) {
        self.set.store(Arc::new(set));
        self.load.waits.call_all();
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "App({}, {:?}, {:?})", self.name, self.set.load().dynos, self.load)
    }
}

/// What one request of an app is decided by: all of it was published in one swap, so it agrees.
#[derive(Clone)]
pub struct DynoSet {
    /// The web dynos that are up, by name. Draining ones are not here.
    pub dynos: Box<[Arc<Dyno>]>,
    /// How requests are routed.
    pub routing: Arc<Routing>,
    /// Every request is answered with the maintenance page (H80).
    pub maintenance: bool,
    /// What the runtime says about the dynos that are not up.
    pub web: WebFormation,
    /// The app's own.
    pub(super) load: Arc<AppLoad>,
}

impl fmt::Debug for DynoSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynoSet")
            .field("dynos", &self.dynos)
            .field("maintenance", &self.maintenance)
            .field("web", &self.web)
            .finish_non_exhaustive()
    }
}
