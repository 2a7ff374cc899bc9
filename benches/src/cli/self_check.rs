//! `busbar-bench self-check`

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use clap::Args;

use super::{End, Failure, interrupt};
use crate::{
    load::{self, Plan, Stop},
    origin::{Listener, Origin},
    out, process,
    results::Spread,
    units,
};

/// Check the instrument: drive the origin with this generator and with wrk in turns, and print the ratio.
///
/// A generator slower than wrk would measure itself. Exits with 1 when its median is below 95 % of wrk's.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Connections.
    #[arg(long, short, default_value_t = 64)]
    connections: usize,

    /// How long each measurement takes.
    #[arg(long, short, default_value = "2s", value_parser = units::duration)]
    duration: Duration,

    /// How often each is measured.
    #[arg(long, default_value_t = 3)]
    rounds: u32,

    /// The path to ask for.
    #[arg(long, default_value = "/")]
    path: String,

    /// Run the generators and the origin on this core.
    #[arg(long)]
    core: Option<usize>,
}

pub(super) fn run(arguments: &Arguments) -> Result<End, Failure> {
    if let Some(core) = arguments.core {
        process::pin(core)?;
    }
    let stop = interrupt::stop_on_signal()?;
    let origin = Origin::start(vec![Listener::anywhere()], 1)?;
    let address = *origin.addresses.first().ok_or("the origin has no address")?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=arguments.rounds {
        let our = drive(arguments, address, &stop)?;
        if stop.is_pulled() {
            return Ok(End::Interrupted);
        }
        let their = wrk(arguments, address)?;
        out::say(format_args!(
            "round {round}: busbar-bench {our:.0}/s, wrk {their:.0}/s, ratio {:.2}",
            our / their
        ));
        ours.push(our);
        theirs.push(their);
    }
    let (Some(ours), Some(theirs)) = (Spread::of(ours), Spread::of(theirs)) else {
        return Err("--rounds 0 measures nothing".into());
    };
    let ratio = ours.median / theirs.median;
    out::say(format_args!(
        "medians: busbar-bench {:.0}/s, wrk {:.0}/s, ratio {ratio:.2}",
        ours.median, theirs.median
    ));
    Ok(if ratio < 0.95 { End::ThresholdHolds } else { End::Done })
}

fn drive(arguments: &Arguments, address: SocketAddr, stop: &Stop) -> Result<f64, Failure> {
    let mut plan = Plan::simple(address, &address.to_string(), &arguments.path);
    plan.connections = arguments.connections;
    plan.bound.time = arguments.duration;
    Ok(load::run(&plan, stop, &mut ())?.per_second)
}

/// What wrk says.
fn wrk(arguments: &Arguments, address: SocketAddr) -> Result<f64, Failure> {
    let output = Command::new("wrk")
        .args(["-t1", &format!("-c{}", arguments.connections)])
        .arg(format!("-d{}s", arguments.duration.as_secs().max(1)))
        .arg(format!("http://{address}{}", arguments.path))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run wrk ({error}); install it with: apt-get install wrk"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let rate = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    let rate = rate.and_then(|rate| rate.trim().parse().ok());
    rate.ok_or_else(|| format!("wrk said nothing of use: {text}").into())
}
