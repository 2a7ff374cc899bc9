//! What many dynos cost that do nothing: CPU time of the runtime and of the dynos' first processes, their memory, how long
//! it takes to start all and to stop them.
//!
//! `cargo run --release -p dyno-runtime --example many_dynos -- [DYNOS] [SECONDS]` (as root): under full isolation, each with
//! a network of its own and a memory quota. Without arguments 500 dynos and 60 s.
#![expect(clippy::print_stdout, reason = "this is a program; its output is what it measured")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use busbar_registry::{AppName, Bounds, Memory};
use dyno_runtime::{
    AppDefinition, Isolation, Network, Phase, Procfile, Runtime, RuntimeOptions, init, options::INIT_VERB,
};

/// No app may have more dynos.
const OF_ONE_APP: usize = 100;

type Done<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let number = |nth| std::env::args().nth(nth).and_then(|number| number.parse().ok());
    if std::env::args().nth(1).as_deref() == Some(INIT_VERB) {
        return init::main();
    }
    let (dynos, seconds) = (number(1).unwrap_or(500), number(2).unwrap_or(60));
    let place = std::env::temp_dir().join(format!("many-dynos-{}", std::process::id()));
    let done = measure(&place, dynos, Duration::from_secs(seconds as u64));
    let removed = fs::remove_dir_all(&place);
    match done.and_then(|()| Ok(removed?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn measure(place: &Path, dynos: usize, idle: Duration) -> Done<()> {
    let directory = place.join("app");
    fs::create_dir_all(&directory)?;
    let mut options = RuntimeOptions {
        instance: format!("many-{}", std::process::id()),
        state_directory: Some(place.join("state")),
        isolation: Isolation::Full,
        ..RuntimeOptions::default()
    };
    (options.sandbox.network, options.sandbox.scratch) = (Network::Inbound, Some(place.join("scratch")));
    let runtime = Runtime::start(options, Memory::start(Bounds::default())).await?;
    let began = Instant::now();
    let mut apps: Vec<AppName> = vec![];
    while apps.len() * OF_ONE_APP < dynos {
        let (name, count) = (format!("app{}", apps.len()), OF_ONE_APP.min(dynos - apps.len() * OF_ONE_APP));
        deploy(&runtime, name.parse()?, &directory, count).await?;
        apps.push(name.parse()?);
    }
    let pids = until_up(&runtime, &apps, dynos).await?;
    println!("{dynos} dynos: {:.1} s until all are up", began.elapsed().as_secs_f64());
    // What follows a start is no part of being idle.
    tokio::time::sleep(Duration::from_secs(5)).await;
    memory(&pids);
    let before = (cpu_time(&["self".to_owned()]), cpu_time(&pids));
    tokio::time::sleep(idle).await;
    let part = |now: Duration, before: Duration| (now - before).as_secs_f64() / idle.as_secs_f64() * 100.0;
    let (own, first) = (part(cpu_time(&["self".to_owned()]), before.0), part(cpu_time(&pids), before.1));
    println!("idle for {idle:?}: the runtime {own:.2} % of one core, the first processes {first:.2} %");
    let began = Instant::now();
    runtime.shutdown().await;
    println!("{:.1} s until all are gone", began.elapsed().as_secs_f64());
    Ok(())
}

async fn deploy(runtime: &Runtime, app: AppName, directory: &Path, dynos: usize) -> Done<()> {
    let procfile = Procfile::parse("worker: exec sleep 100000\n")?;
    let mut definition = AppDefinition::new(app, PathBuf::from(directory), procfile);
    definition.formation = format!("worker={dynos}:standard-1x").parse()?;
    Ok(runtime.deploy(definition).await?)
}

/// The first processes.
async fn until_up(runtime: &Runtime, apps: &[AppName], dynos: usize) -> Done<Vec<String>> {
    loop {
        let mut pids = vec![];
        for app in apps {
            let up = runtime.ps(app).await?.into_iter().filter(|dyno| dyno.phase == Phase::Up);
            pids.extend(up.filter_map(|dyno| dyno.pid).map(|pid| pid.to_string()));
        }
        if pids.len() == dynos {
            return Ok(pids);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn memory(pids: &[String]) {
    let sum = |pids: &[String], line: &str| -> u64 {
        pids.iter().map(|pid| kilobytes(&format!("/proc/{pid}/smaps_rollup"), line)).sum()
    };
    let own = ["self".to_owned()];
    let each = |kilobytes: u64| kilobytes as f64 / pids.len().max(1) as f64;
    println!(
        "of one dyno, in KiB: its first process {:.0} PSS, {:.0} of it private and written to; the runtime {:.0} PSS",
        each(sum(pids, "Pss:")),
        each(sum(pids, "Private_Dirty:")),
        each(sum(&own, "Pss:")),
    );
}

fn kilobytes(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}

/// User and system time.
fn cpu_time(pids: &[String]) -> Duration {
    // What the kernel has counted, in nanoseconds: its ticks would be too coarse for processes that hardly run.
    let of_thread = |path: PathBuf| -> u64 {
        let text = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        text.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default()
    };
    let threads = pids.iter().flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten());
    Duration::from_nanos(threads.flatten().map(|thread| of_thread(thread.path())).sum())
}
