//! DECIDES. No tokio, no sockets, no clocks: `now` is an argument.
//!
//! - [`moment`]: [`Moment`], the only time there is here.
//! - [`fault`]: [`Fault`], everything that can end a request other than a dyno's own answer.
//! - [`page`]: what the client reads when a fault ended its request.
//! - [`deadline`]: [`RequestClock`], how long each phase of a request may take.
//! - [`request_id`]: [`RequestId`], taken from the client or made.
//! - [`logline`]: [`LogLine`], Heroku's router log line.
pub mod deadline;
pub mod fault;
pub mod logline;
pub mod moment;
pub mod page;
pub mod request_id;

pub use deadline::RequestClock;
pub use fault::Fault;
pub use logline::LogLine;
pub use moment::Moment;
pub use request_id::{RequestId, RequestIds};
