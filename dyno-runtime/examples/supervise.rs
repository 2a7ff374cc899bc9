//! A whole supervisor: runs the app in a directory and shows its log, without a router.
//!
//! `cargo run -p dyno-runtime --example supervise -- examples/hello [STATE-DIRECTORY] [best-effort|off] [INSTANCE]
//! [full|user|plain] [outbound|inbound|host]`
//!
//! Ctrl-C or SIGTERM stops the app in order. After `kill -9` of this program, its next start goes on with its dynos.
#![expect(clippy::print_stdout, reason = "this is a program; its output is the app's log")]

use std::{io, path::Path, process::ExitCode};

use busbar_registry::{AppRecord, Bounds, Memory, Registry as _, Routing, WebFormation};
use dyno_runtime::{
    AppDefinition, Enforcement, Runtime, RuntimeOptions, init,
    options::INIT_VERB,
    supervise::{DieAt, Milestone},
};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(directory) = arguments.next() else {
        println!(
            "usage: supervise DIRECTORY [STATE-DIRECTORY] [best-effort|off] [INSTANCE] [ISOLATION] [NETWORK]"
        );
        return ExitCode::from(2);
    };
    // Every dyno begins its life as this very program.
    if directory == INIT_VERB {
        return init::main();
    }
    let mut options =
        RuntimeOptions { state_directory: arguments.next().map(Into::into), ..RuntimeOptions::default() };
    if arguments.next().as_deref() == Some("off") {
        options.cgroups = Enforcement::Off;
    }
    if let Some(instance) = arguments.next() {
        options.instance = instance;
    }
    if let Some(level) = arguments.next().and_then(|word| word.parse().ok()) {
        options.isolation = level;
        options.sandbox.scratch = options.state_directory.as_ref().map(|state| state.join("scratch"));
    }
    if let Some(network) = arguments.next().and_then(|word| word.parse().ok()) {
        options.sandbox.network = network;
    }
    // For tests: it dies there.
    let die_at = std::env::var("BUSBAR_DIE_AT").unwrap_or_default();
    options.die_at = DieAt(Milestone::ALL.into_iter().find(|milestone| format!("{milestone:?}") == die_at));
    match run(Path::new(&directory), options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(directory: &Path, options: RuntimeOptions) -> Result<(), Box<dyn std::error::Error>> {
    let app = AppDefinition::from_directory("hello".parse()?, directory)?;
    let name = app.name.clone();
    let registry = Memory::start(Bounds::default());
    let record = AppRecord {
        name: name.clone(),
        domains: vec![],
        catch_all: true,
        maintenance: false,
        routing: Routing::default(),
        web: WebFormation::default(),
    };
    registry.put_app(record, None).await?;
    let runtime = Runtime::start(options, registry).await?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    println!("swept {} dynos", runtime.swept().dynos);
    runtime.deploy(app).await?;
    let (before, mut tail) = runtime.logs(&name, usize::MAX)?;
    let show = async {
        for line in before {
            line.write_to(&mut io::stdout())?;
        }
        while let Some(line) = tail.next().await {
            line.write_to(&mut io::stdout())?;
        }
        io::Result::Ok(())
    };
    let stop = async {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        runtime.shutdown().await;
    };
    let (shown, ()) = tokio::join!(show, stop);
    Ok(shown?)
}
