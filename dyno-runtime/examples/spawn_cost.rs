//! How long a dyno takes from the decision to its command, with a runtime that holds 1 GiB of memory; and how much memory
//! `dyno-init` takes while it lives.
//!
//! `cargo run --release -p dyno-runtime --example spawn_cost -- [ROUNDS]` (as root, for all levels). Beside it, where they are
//! installed, `runc` and `bwrap`, which are given the same root and are timed by the same clock, to the end of `true`.
#![expect(clippy::print_stdout, reason = "this is a program; its output is what it measured")]

use std::{
    fs,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use dyno_runtime::{InitProgram, Isolation, Network, init, options::INIT_VERB, sandbox::probe::Trial};

/// What the runtime holds: every page of it written to.
const BALLAST: usize = 1 << 30;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(INIT_VERB) {
        return init::main();
    }
    let rounds = std::env::args().nth(1).and_then(|rounds| rounds.parse().ok()).unwrap_or(100);
    let ballast = vec![1u8; BALLAST];
    let done = measure(rounds);
    println!("(the measuring program held {} MiB)", std::hint::black_box(&ballast).len() >> 20);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn measure(rounds: usize) -> Result<(), String> {
    println!("{:<24} {:>10} {:>10} {:>10}  ({rounds} rounds)", "to exec, in ms", "p50", "p95", "max");
    let init = InitProgram::default();
    let root = rustix::process::geteuid().is_root();
    let levels: &[(Isolation, Network)] = if root {
        &[
            (Isolation::Plain, Network::Host),
            (Isolation::Full, Network::Host),
            (Isolation::Full, Network::Inbound),
        ]
    } else {
        &[(Isolation::Plain, Network::Host), (Isolation::User, Network::Host)]
    };
    for (isolation, network) in levels {
        let trial = Trial::open(*isolation, *network, &init)?;
        let mut times = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            times.push(trial.timed("exit 0").await?);
        }
        show(&format!("busbar {isolation}, {network:?}"), times);
        trial.close()?;
    }
    for (name, command) in [("bwrap", bwrap()), ("runc", runc())] {
        let Some(mut command) = command else {
            println!("{name}: not installed, or no root for it");
            continue;
        };
        let mut times = vec![];
        for round in 0..rounds {
            let began = Instant::now();
            let mut one = command(round);
            let ended = one.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
            times.push(began.elapsed());
            if !ended.is_ok_and(|status| status.success()) {
                println!("{name}: failed");
                break;
            }
        }
        show(&format!("{name}, to the end"), times);
    }
    let _no_runc = fs::remove_dir_all(bundle());
    memory(&init).await
}

fn show(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: f64| {
        let nth = (times.len() as f64 * part) as usize;
        times.get(nth.min(times.len().saturating_sub(1))).copied().unwrap_or_default().as_secs_f64() * 1e3
    };
    println!("{name:<24} {:>10.2} {:>10.2} {:>10.2}", at(0.5), at(0.95), at(1.0));
}

/// What the first process of a dyno takes while its command sleeps.
async fn memory(init: &InitProgram) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let trial = Trial::open(Isolation::Full, Network::Inbound, init)?;
    let look = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let own = std::process::id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        for child in children.split_whitespace() {
            let rollup = fs::read_to_string(format!("/proc/{child}/smaps_rollup")).unwrap_or_default();
            let line =
                |name: &str| rollup.lines().find(|line| line.starts_with(name)).unwrap_or("?").to_owned();
            println!("dyno-init: {}; {}; {}", line("Rss:"), line("Pss:"), line("Private_Dirty:"));
        }
    };
    let (done, ()) = tokio::join!(trial.once("sleep 1"), look);
    done.and(trial.close())
}

type Runs = Box<dyn FnMut(usize) -> Command>;

fn bwrap() -> Option<Runs> {
    installed("bwrap")?;
    Some(Box::new(|_| {
        let mut command = Command::new("bwrap");
        command.args([
            "--unshare-all",
            "--ro-bind",
            "/usr",
            "/usr",
            "--symlink",
            "usr/bin",
            "/bin",
            "--symlink",
        ]);
        command.args([
            "usr/lib",
            "/lib",
            "--symlink",
            "usr/lib64",
            "/lib64",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "true",
        ]);
        command
    }))
}

fn bundle() -> PathBuf {
    std::env::temp_dir().join(format!("spawn-cost-{}", std::process::id()))
}

/// With a bundle of its own, whose root has the machine's programs.
fn runc() -> Option<Runs> {
    installed("runc").filter(|()| rustix::process::geteuid().is_root())?;
    let bundle = bundle();
    for directory in ["rootfs/usr", "rootfs/proc", "rootfs/dev", "rootfs/sys"] {
        fs::create_dir_all(bundle.join(directory)).ok()?;
    }
    for (to, name) in [("usr/bin", "bin"), ("usr/lib", "lib"), ("usr/lib64", "lib64")] {
        std::os::unix::fs::symlink(to, bundle.join("rootfs").join(name)).ok()?;
    }
    let spec = Command::new("runc").arg("spec").current_dir(&bundle).status();
    spec.ok()?;
    let file = bundle.join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&file).ok()?).ok()?;
    *config.pointer_mut("/process/terminal")? = false.into();
    *config.pointer_mut("/process/args")? = vec!["true"].into();
    let usr = serde_json::json!({ "destination": "/usr", "source": "/usr", "type": "bind", "options": ["rbind", "ro"] });
    config.pointer_mut("/mounts")?.as_array_mut()?.push(usr);
    fs::write(&file, config.to_string()).ok()?;
    Some(Box::new(move |round| {
        let mut command = Command::new("runc");
        command
            .args(["run", "--bundle"])
            .arg(&bundle)
            .arg(format!("spawn-cost-{}-{round}", std::process::id()));
        command
    }))
}

fn installed(program: &str) -> Option<()> {
    Command::new(program).arg("--version").output().ok().map(|_| ())
}
