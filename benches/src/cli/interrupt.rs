//! Ctrl-C and SIGTERM end what runs; a second one ends the program at once.

use std::{io, thread};

use tokio::signal::unix::{SignalKind, signal};

use crate::load::Stop;

/// Pulls the returned stop when a signal comes.
pub(super) fn stop_on_signal() -> io::Result<Stop> {
    let stop = Stop::new();
    let pull = stop.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if pull.is_pulled() {
                    std::process::exit(130);
                }
                pull.pull();
            }
        });
    })?;
    Ok(stop)
}
