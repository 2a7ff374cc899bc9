//! DECIDES. No tokio, no sockets, no clocks: `now` is an argument.
//!
//! In the order in which a request meets them:
//! - [`host`]: [`Host`](host::Host), the request's host in canonical form.
//! - [`table`]: host → app; [`roster`] keeps it as the registry says.
//! - [`app`], [`dyno`]: what is in the table: facts; [`load`]: the counters beside them.
//! - [`admit`]: limits, what to say while no dyno is up, the queue for a free dyno.
//! - [`balance`]: which dyno; [`retry`] and [`quarantine`]: which one not.
//! - [`moment`]: [`Moment`], the only time there is here.
pub mod admit;
pub mod app;
pub mod balance;
pub mod dyno;
#[cfg(test)]
pub(crate) mod fixture;
pub mod host;
pub mod load;
pub mod moment;
pub mod quarantine;
pub mod retry;
pub mod roster;
pub mod table;
pub use moment::Moment;
