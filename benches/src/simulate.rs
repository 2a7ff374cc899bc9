//! The queueing study: what a policy makes requests wait, on the router's own code, without a socket and without a clock.
//!
//! - [`setup`]: [`Setup`], one experiment: [`Policy`], routers, dynos, [`Service`] times, load, [`Trouble`].
//! - [`run`]: plays it in virtual time; [`outcome`]: [`Outcome`], what it came to.
//! - [`study`]: many experiments; [`table`]: their figures as people read them.
//! - `world`: the events in their order; `router`: [`router_core::route`] and nothing else; `dyno`: one request at a time,
//!   first come, first served; `workload`: who comes when, and for how long.
//!
//! What is simulated: Poisson arrivals, spread at random over routers that know nothing of each other; each looks the app up,
//! admits, chooses, waits in its queue, retries and quarantines as the real one does. What is not: the network, the cost of
//! routing itself, and limits (H11, H12, H22): with them, a policy would look better for refusing more.

mod dyno;
pub mod outcome;
mod router;
mod service;
pub mod setup;
pub mod study;
pub mod table;
mod workload;
mod world;

pub use busbar_registry::NameError;

pub use self::{
    outcome::Outcome,
    service::Service,
    setup::{Policy, Setup, Trouble},
    world::run,
};
