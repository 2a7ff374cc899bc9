//! `busbar-bench`: what a performance engineer needs to say something true about a proxy, and criterion benches of ours.
//!
//! - [`origin`]: the cheap server behind the proxy, with service times and misbehaviours to order.
//! - [`load`]: the generator: closed loop, or open loop with latencies counted from the intended moment.
//! - [`compare`]: proxies side by side in one run, each started, pinned, measured and stopped.
//! - [`simulate`]: the queueing study, in virtual time and without a socket.
//! - [`results`]: the format everything is written in, and its tables.
//! - [`report`]: results as one HTML page with plots.
//! - [`verdict`]: `--fail-if 'p99>50ms'`.
//! - [`process`]: children that end with us, and what a process tree costs.
//! - [`cli`]: the verbs of the program.
//! - [`fixture`]: route tables of any size, for the criterion benches.
//!
//! `cargo bench -p busbar-bench` measures the routing path; `cargo run --release -p busbar-bench --example table_study`
//! prints what a big table costs; `docs/load-testing.md` shows the program.
#![forbid(unsafe_code)]

mod alarm;
pub mod cli;
pub mod compare;
pub mod fixture;
pub mod load;
mod opponent;
pub mod origin;
mod out;
pub mod process;
pub mod report;
pub mod results;
pub mod simulate;
mod tls;
pub mod units;
pub mod verdict;
mod wire;

/// The program's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
