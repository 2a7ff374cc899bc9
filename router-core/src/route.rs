//! DECIDES. No tokio, no sockets, no clocks: `now` is an argument.
//!
//! In the order in which a request meets them:
//! - [`host`]: [`Host`](host::Host), the request's host in canonical form.
//! - [`table`]: host → app; [`roster`] keeps it as the registry says.
//! - [`app`], [`dyno`]: what is in the table: facts; [`load`]: the counters beside them.
//! - [`admit`]: limits, what to say while no dyno is up, the queue for a free dyno.
//! - [`affinity`]: the cookie that says which dyno a client's requests go to.
//! - [`seek`]: a place at a dyno, or what to wait for. [`balance`]: which dyno; [`retry`], [`quarantine`] and [`eject`]: which one not.
//! - [`forward`]: the headers that are added on the way; [`request_id`]: taken from the client or made.
//! - [`deadline`]: [`RequestClock`], how long each phase of a request may take.
//! - [`fault`]: [`Fault`], everything that can end a request other than a dyno's own answer; [`page`]: what the
//!   client reads then.
//! - [`logline`]: [`LogLine`], Heroku's router log line.
//! - [`moment`]: [`Moment`], the only time there is here.
pub mod admit;
pub mod affinity;
pub mod app;
pub mod balance;
pub mod deadline;
pub mod dyno;
pub mod eject;
pub mod fault;
#[cfg(test)]
pub(crate) mod fixture;
pub mod forward;
pub mod host;
pub mod load;
pub mod logline;
pub mod moment;
pub mod page;
pub mod quarantine;
pub mod request_id;
pub mod retry;
pub mod roster;
pub mod seek;
pub mod table;

pub use deadline::RequestClock;
pub use fault::Fault;
pub use logline::LogLine;
pub use moment::Moment;
pub use request_id::{RequestId, RequestIds};
