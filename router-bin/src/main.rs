//! `busbar`: an HTTP router for apps made of dynos.
//!
//! - [`cli`]: the verbs. [`app`]: what runs until it is told to stop, in the order in which it starts.
//! - [`config`]: the router's configuration file. [`declared`]: what it declares, in the registry.
//! - [`acme`]: certificates that the router requests itself.
//! - [`admin`]: the API of a running busbar; [`admin_client`]: the side that asks; [`dynos`], [`logs`]: of what.
//! - [`attach`]: both sides of being attached to a one-off dyno.
//! - [`key_file`], [`local_ca`], [`uploads`]: what only this machine's user may read.
//! - [`buildpacks`]: those that are in this program.
//! - [`say`], [`out`], [`failure`]: what people are told, and the exit code.

mod acme;
mod admin;
mod admin_client;
mod app;
mod attach;
mod buildpacks;
mod cli;
mod config;
mod declared;
mod dynos;
mod failure;
mod key_file;
mod local_ca;
mod logs;
mod out;
mod say;
mod uploads;

use std::process::ExitCode;

use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A process that is to become a dyno: nothing may have been started in it.
    if std::env::args_os().nth(1).is_some_and(|verb| verb == dyno_runtime::options::INIT_VERB) {
        return dyno_runtime::init::main();
    }
    let cli = cli::Cli::parse();
    app::begin_tracing();
    let Err(failure) = cli.run() else { return ExitCode::SUCCESS };
    match failure.exit() {
        None => ExitCode::SUCCESS,
        Some(exit) => {
            failure.tell();
            exit
        }
    }
}
