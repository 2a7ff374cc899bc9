//! A runtime is killed; the next one goes on with its dynos, or removes them.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test says what it needs by failing, and why it was skipped by printing"
)]

#[path = "support/house.rs"]
mod support;

#[path = "adopt/back.rs"]
mod back;
#[path = "adopt/killed.rs"]
mod killed;
#[path = "adopt/log.rs"]
mod log;
#[path = "adopt/points.rs"]
mod points;
