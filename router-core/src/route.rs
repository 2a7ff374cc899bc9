//! DECIDES. No tokio, no sockets, no clocks: `now` is an argument.
//!
//! - [`moment`]: [`Moment`], the only time there is here.
pub mod moment;
pub use moment::Moment;
