//! What dynos, runtimes and routers say to each other, and where it is kept.
//!
//! Start here:
//! - [`names`]: [`AppName`], [`ProcessType`], [`DynoName`], [`Domain`]: names that cannot be malformed.
//! - [`model`]: what is kept: an app with its domains and [`Routing`] settings, a registered dyno, its lease.
//! - [`Routing`] (in [`routing`]): how requests of one app are routed; every default is Heroku's.
//! - [`Registry`]: the one trait: register, renew, drain, deregister, snapshot, watch.
//! - [`Refusal`]: every way the registry says no, typed.
//!
//! The registry refuses: malformed names, a domain that belongs to another app, a lease that is fenced off.
#![forbid(unsafe_code)]

pub mod model;
pub mod names;
pub mod refusal;
pub mod registry;
pub mod routing;

pub use model::{
    AppRecord, Change, DynoRecord, DynoState, Event, Generation, Lease, LeaseId, Registration, Revision,
    Snapshot, WebFormation,
};
pub use names::{AppName, Domain, DynoName, NameError, ProcessType};
pub use refusal::Refusal;
pub use registry::{Registry, Watch};
pub use routing::{Balance, Millis, Routing};
