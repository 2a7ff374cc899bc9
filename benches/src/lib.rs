//! What benches and studies share.
//!
//! - [`fixture`]: tables of any size.
//! - [`simulate`]: the queueing study, in virtual time.
//!
//! `cargo bench -p busbar-bench` measures the routing path; `cargo run --release -p busbar-bench --example table_study`
//! prints what a big table costs.
#![forbid(unsafe_code)]

pub mod fixture;
pub mod simulate;

/// The program's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
