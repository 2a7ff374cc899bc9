//! What the registry keeps, and what it tells its watchers.
//!
//! - [`AppRecord`]: an app, its domains, its [`Routing`], the state of its web formation.
//! - [`Registration`] → [`Lease`]: a dyno asks to be in the formation, and holds that for a while.
//! - [`DynoRecord`]: a registered dyno as others see it.
//! - [`Snapshot`], [`Event`], [`Change`]: everything at one [`Revision`], and what changed after it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Address, AppName, Domain, DynoName, Millis, Routing, address};

/// A point in the registry's history. Each change has one of its own; later is larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The fencing number of a lease: of two holders of one name or one address, the larger one is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An unguessable name for one lease.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub String);

impl LeaseId {
    /// The id of a lease of `app`: its name, a dot, 32 hex digits. Every registry makes its ids this way, so that
    /// whoever checks a token knows the app of a lease without looking it up.
    pub fn new(app: &AppName, random: [u8; 16]) -> Self {
        Self(format!("{app}.{:032x}", u128::from_be_bytes(random)))
    }
    /// The app whose dyno holds this lease. `None`: no registry made this id.
    pub fn app(&self) -> Option<AppName> {
        self.0.split_once('.').and_then(|(app, _)| app.parse().ok())
    }
}

impl fmt::Debug for LeaseId {
    /// Whoever knows a lease's id can end it, so logs never show one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeaseId(..)")
    }
}

/// An app as the registry keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppRecord {
    /// Its name, unique in the registry.
    pub name: AppName,
    /// The host names it answers to; each belongs to one app only.
    #[serde(default)]
    pub domains: Vec<Domain>,
    /// It also answers for hosts that no app claims. At most one app does.
    #[serde(default)]
    pub catch_all: bool,
    /// Every request is answered with the maintenance page (H80).
    #[serde(default)]
    pub maintenance: bool,
    /// How its requests are routed.
    #[serde(default)]
    pub routing: Routing,
    /// What its runtime says about the web dynos that are not registered.
    #[serde(default)]
    pub web: WebFormation,
}

impl AppRecord {
    /// An app with these domains, routed as Heroku would.
    pub fn new(name: AppName, domains: impl IntoIterator<Item = Domain>) -> Self {
        Self {
            name,
            domains: domains.into_iter().collect(),
            catch_all: false,
            maintenance: false,
            routing: Routing::default(),
            web: WebFormation::default(),
        }
    }
}

/// What a runtime knows about an app's web dynos. It tells the router what to say when none is up:
/// `quantity == 0` is H14, `starting > 0` is worth waiting for (H20 in the end), all crashed is H10.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebFormation {
    /// How many web dynos there should be.
    pub quantity: u32,
    /// How many are starting now.
    pub starting: u32,
    /// How many have crashed and wait for their restart.
    pub crashed: u32,
}

/// Whether a registered dyno gets new requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DynoState {
    /// New requests may be sent to it.
    Up,
    /// It finishes what it has and gets nothing new.
    Draining,
}

/// A dyno asks to be registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// The app it belongs to; its token must be for this app.
    pub app: AppName,
    /// Its name in the formation.
    pub dyno: DynoName,
    /// Where it accepts connections. Read from JSON, it is never a socket file.
    #[serde(deserialize_with = "address::tcp_only")]
    pub address: Address,
    /// How long it stays registered without a renewal; the registry keeps this within its own bounds.
    pub ttl_ms: Millis,
}

/// A dyno's place in the formation, for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// To be shown at each renewal.
    pub id: LeaseId,
    /// The fencing number.
    pub generation: Generation,
    /// How long it lasts from now without a renewal.
    pub ttl_ms: Millis,
    /// The revision at which this was said.
    pub revision: Revision,
}

/// A registered dyno as routers see it. Immutable: a change is a new record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DynoRecord {
    /// The app it belongs to.
    pub app: AppName,
    /// Its name in the formation.
    pub dyno: DynoName,
    /// Where it accepts connections.
    pub address: Address,
    /// The fencing number of its lease; `(app, dyno, generation)` is unique for ever.
    pub generation: Generation,
    /// Whether it gets new requests.
    pub state: DynoState,
}

impl DynoRecord {
    /// A dyno that is up. Whoever keeps no registry gives each dyno it ever names another `generation`.
    pub const fn up(app: AppName, dyno: DynoName, address: Address, generation: Generation) -> Self {
        Self { app, dyno, address, generation, state: DynoState::Up }
    }
}

/// Everything at one revision.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// Watching from here misses nothing.
    pub revision: Revision,
    /// All apps, by name.
    pub apps: Vec<AppRecord>,
    /// All registered dynos, by app, name and generation.
    pub dynos: Vec<DynoRecord>,
}

/// One change, at the revision it made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Larger than that of every event before it.
    pub revision: Revision,
    /// What changed.
    #[serde(flatten)]
    pub change: Change,
}

/// What can change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// The app is new or different.
    AppPut {
        /// As it is now.
        app: AppRecord,
    },
    /// The app and all its dynos are gone.
    AppRemoved {
        /// Its name.
        app: AppName,
    },
    /// The dyno is new, or drains.
    DynoPut {
        /// As it is now.
        dyno: DynoRecord,
    },
    /// The dyno deregistered, was fenced off, or its lease ran out.
    DynoRemoved {
        /// The app it belonged to.
        app: AppName,
        /// Its name.
        dyno: DynoName,
        /// Which one of that name.
        generation: Generation,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_id_names_its_app_and_is_never_shown() {
        let id = LeaseId::new(&"my-shop".parse().unwrap(), [0xab; 16]);
        assert_eq!(id.app().unwrap().as_str(), "my-shop");
        assert_eq!(LeaseId("nonsense".into()).app(), None);
        assert!(!format!("{id:?}").contains("ab"));
    }
}
