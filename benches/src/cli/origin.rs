//! `busbar-bench origin`

use std::{net::SocketAddr, sync::Arc};

use clap::Args;
use tokio::sync::watch;

use super::{End, Failure, interrupt};
use crate::{
    origin::{Counts, Listener, serve},
    out, process,
};

/// Serve as the server behind the proxy, as cheaply as can be, in one thread.
///
/// Paths: / (13 bytes), /1k, /64k, /1m, any size; /chunked, /trailers; /as/NAME for one misbehaviour; /__counts for what was
/// served. A WebSocket upgrade is echoed; request bodies are thrown away.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// ADDRESS[?key=value&…], as often as you like. Keys: latency=fixed:20ms | exp:20ms | lognormal:46ms:1.9 |
    /// bimodal:50ms:1s:0.05, concurrency=1, stall=10s/1s, speaks=h1|h2|tls, misbehave=refuses | accepts-then-silent |
    /// half-reply | drips | resets-mid-body | lies-about-length | closes-idle-connections
    #[arg(long = "listen", short, value_name = "LISTENER", default_value = "127.0.0.1:9000")]
    listeners: Vec<Listener>,

    /// Where random service times come from.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Run on this core only.
    #[arg(long)]
    core: Option<usize>,
}

pub(super) fn run(arguments: Arguments) -> Result<End, Failure> {
    if let Some(core) = arguments.core {
        process::pin(core)?;
    }
    let stop = interrupt::stop_on_signal()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let counts = Arc::<Counts>::default();
    let announce = |addresses: &[SocketAddr]| {
        for address in addresses {
            out::say(format_args!("listening {address}"));
        }
    };
    runtime.block_on(async {
        let (stopping, stopped) = watch::channel(false);
        let serving = serve(arguments.listeners, arguments.seed, Arc::clone(&counts), announce, stopped);
        tokio::select! {
            done = serving => done,
            () = stop.pulled() => {
                drop(stopping);
                Ok(())
            }
        }
    })?;
    out::say(serde_json::to_string(&counts.served())?);
    Ok(End::Done)
}
