//! `busbar-bench launch`, hidden: how proxies are started; and `busbar-bench hyper-proxy`, hidden: one of them.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::Args;

use super::{End, Failure};
use crate::{opponent, process::child};

/// Become a program, pinned to a core, that ends when its parent does.
#[derive(Debug, Args)]
pub(super) struct Launch {
    #[arg(long)]
    core: usize,

    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

/// Be the proxy "just use hyper".
#[derive(Debug, Args)]
pub(super) struct HyperProxy {
    #[arg(long)]
    listen: SocketAddr,

    #[arg(long)]
    host: String,

    #[arg(long = "dyno", required = true)]
    dynos: Vec<SocketAddr>,

    #[arg(long, requires = "key")]
    certificate: Option<PathBuf>,

    #[arg(long, requires = "certificate")]
    key: Option<PathBuf>,
}

pub(super) fn launch(arguments: &Launch) -> Result<End, Failure> {
    let (program, rest) = arguments.program.split_first().ok_or("there is no program")?;
    let error = child::become_program(arguments.core, program, rest);
    Err(format!("cannot start {}: {error}", program.display()).into())
}

pub(super) fn hyper_proxy(arguments: HyperProxy) -> Result<End, Failure> {
    let HyperProxy { listen, host, dynos, certificate, key } = arguments;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(opponent::serve(opponent::Orders { listen, host, dynos, tls: certificate.zip(key) }))?;
    Ok(End::Done)
}
