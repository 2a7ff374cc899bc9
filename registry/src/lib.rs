//! What dynos, runtimes and routers say to each other, and where it is kept.
//!
//! Start here:
//! - [`names`]: [`AppName`], [`ProcessType`], [`DynoName`], [`Domain`]: names that cannot be malformed.
//! - [`model`]: what is kept: an app with its domains and [`Routing`] settings, a registered dyno, its lease.
//! - [`Address`]: where a dyno is.
//! - [`Routing`] (in [`routing`]): how requests of one app are routed; every default is Heroku's.
//! - [`Registry`]: the one trait: register, renew, drain, deregister, snapshot, watch.
//! - [`Refusal`]: every way the registry says no, typed.
//!
//! Where it is kept (feature `memory`): `ledger` is the pure state, `Memory` the registry inside one process.
//! Over HTTP: `wire` with `Capabilities` (feature `server`), `Client` and `Holder` (feature `client`).
//!
//! The registry refuses: malformed names, a domain that belongs to another app, a lease that is fenced off.
#![forbid(unsafe_code)]

pub mod address;
#[cfg(feature = "server")]
pub mod capability;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "memory")]
pub mod ledger;
#[cfg(feature = "memory")]
pub mod memory;
pub mod model;
pub mod names;
pub mod refusal;
pub mod registry;
pub mod routing;
#[cfg(any(feature = "server", feature = "client"))]
pub mod token;
#[cfg(any(feature = "server", feature = "client"))]
pub mod wire;

pub use address::Address;
#[cfg(feature = "server")]
pub use capability::Capabilities;
#[cfg(feature = "client")]
pub use client::{Client, Holder};
#[cfg(feature = "memory")]
pub use ledger::Bounds;
#[cfg(feature = "memory")]
pub use memory::Memory;
pub use model::{
    AppRecord, Change, DynoRecord, DynoState, Event, Generation, Lease, LeaseId, Registration, Revision,
    Snapshot, WebFormation,
};
pub use names::{AppName, Domain, DynoName, NameError, ProcessType};
pub use refusal::{Bound, Refusal};
pub use registry::{Registry, Watch};
pub use routing::{Balance, DynoProtocol, DynoTls, Millis, Routing};
#[cfg(any(feature = "server", feature = "client"))]
pub use token::Token;
