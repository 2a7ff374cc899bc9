//! What runs for as long as it is not told to stop, put together in the order in which it starts.
//!
//! - [`build()`]: `busbar build`, which ends by itself. [`router()`]: `busbar router`. [`up()`]: `busbar up`. [`runtime()`]: `busbar runtime`. Each is a checklist.
//! - [`edge`]: the router's server; [`feed`]: the registry → its table; [`drained`], [`demand`]: its table → the runtime.
//! - [`certificates`]: what is shown to clients that speak TLS, read again when its files change.
//! - [`access_log`]: where its lines go; [`printer`]: what `up` shows.
//! - [`source`]: where an app comes from; [`local`]: the app, running; [`dynos`]: what the admin API asks it.
//! - [`registry_wire`]: the registry for runtimes elsewhere.
//! - [`signals`], [`systemd`]: what the machine wants of us, and what it is told.

pub(crate) mod access_log;
mod build;
mod certificates;
mod demand;
mod doctor;
mod drained;
mod dynos;
mod edge;
mod feed;
mod local;
mod printer;
mod registry_wire;
mod router;
mod runtime;
mod signals;
mod source;
mod systemd;
mod up;

use std::io;

pub(crate) use self::{
    build::build, doctor::doctor, local::name_of, router::router, runtime::runtime, up::up,
};
use crate::failure::Failure;

/// Runs `deed` on this thread. Requests have threads of their own, so nothing here is in their way.
fn run(deed: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = built.map_err(|source| Failure::System { deed: "starting the event loop", source })?;
    let done = runtime.block_on(deed);
    runtime.shutdown_background(); // a thread that still waits for something must not keep us here
    done
}

/// Messages of the libraries go to standard error; `BUSBAR_LOG` chooses them, like `BUSBAR_LOG=debug`.
pub(crate) fn begin_tracing() {
    let chosen = tracing_subscriber::EnvFilter::try_from_env("BUSBAR_LOG");
    let filter = chosen.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let colour = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
    let told = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(colour)
        .with_writer(io::stderr)
        .try_init();
    debug_assert!(told.is_ok(), "only main begins tracing");
}
