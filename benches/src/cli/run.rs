//! `busbar-bench run URL`

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::{End, Failure, files, interrupt, judge, progress::Show, target};
use crate::{
    load::{
        self, LoadError, Plan,
        plan::{Arrivals, Bound, Pace, Protocol, RATES, Request, Session, Slow},
    },
    out, process,
    results::{hgrm, table},
    units,
    verdict::{Facts, Threshold},
};

/// Most connections, and most streams on each.
const MOST: usize = 100_000;

/// Send requests, and say how long the answers took.
///
/// Without --rate each connection sends its next request when it has its answer (closed loop). With --rate requests are due at
/// moments that do not depend on the server, and latencies count from those (open loop): only this shows what users of a
/// stalling server would have felt.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// http, https, ws or wss; on this machine.
    url: String,

    /// Connections.
    #[arg(long, short, default_value = "64")]
    connections: NonZeroUsize,

    /// Threads.
    #[arg(long, short, default_value = "1")]
    threads: NonZeroUsize,

    /// How long.
    #[arg(long, short, default_value = "10s", value_parser = units::duration)]
    duration: Duration,

    /// At most so many requests.
    #[arg(long, short = 'n')]
    requests: Option<u64>,

    /// Open loop: requests per second altogether.
    #[arg(long, short)]
    rate: Option<f64>,

    /// How the moments of an open loop are spread.
    #[arg(long, value_enum, default_value_t = ArrivalsName::Constant, requires = "rate")]
    arrivals: ArrivalsName,

    /// Where random moments come from.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// How long to run before anything counts.
    #[arg(long, default_value = "0", value_parser = units::duration)]
    warmup: Duration,

    /// A new connection for each request (HTTP/1.1).
    #[arg(long, conflicts_with = "http2")]
    new_connections: bool,

    /// HTTP/2; with http:// without negotiation.
    #[arg(long)]
    http2: bool,

    /// HTTP/2 streams at once on each connection.
    #[arg(long, default_value = "1", requires = "http2")]
    streams: NonZeroUsize,

    /// How TLS sessions begin. Certificates are not verified.
    #[arg(long, value_enum, default_value_t = SessionName::Full)]
    tls_session: SessionName,

    /// The method; POST when there is an upload, else GET.
    #[arg(long, short)]
    method: Option<http::Method>,

    /// The Host header and TLS server name, when they are not those of the URL.
    #[arg(long)]
    host: Option<String>,

    /// One more header, `Name: value`.
    #[arg(long = "header", short = 'H', value_name = "HEADER", value_parser = header)]
    headers: Vec<(String, String)>,

    /// Bytes of body of each request, or of each WebSocket message: 512, 64k, 1m.
    #[arg(long, value_parser = upload, default_value = "0")]
    upload: usize,

    /// Read each answer at so many bytes per second.
    #[arg(long, value_parser = units::size, value_name = "BYTES")]
    slow_read: Option<u64>,

    /// Send each request at so many bytes per second.
    #[arg(long, value_parser = units::size, value_name = "BYTES")]
    slow_send: Option<u64>,

    /// How long an answer may take from when the request was due.
    #[arg(long, default_value = "30s", value_parser = units::duration)]
    timeout: Duration,

    /// How long requests under way at the end may take.
    #[arg(long, default_value = "5s", value_parser = units::duration)]
    grace: Duration,

    /// End early after so long with nothing but errors.
    #[arg(long, default_value = "5s", value_parser = units::duration)]
    give_up: Duration,

    /// Exit with 1 when this holds: 'p99>50ms', 'errors>0', 'rate<1000'. As often as you like.
    #[arg(long)]
    fail_if: Vec<Threshold>,

    /// Write the result as JSON; - is standard output.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the latency distribution as HdrHistogram does.
    #[arg(long, value_name = "FILE")]
    hgrm: Option<PathBuf>,

    /// Show neither progress nor the table.
    #[arg(long, short)]
    quiet: bool,

    /// Run on this core only.
    #[arg(long)]
    core: Option<usize>,

    /// Yes, the target is not this machine, and you may do this to it.
    #[arg(long)]
    i_own_this_host: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ArrivalsName {
    Constant,
    Poisson,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SessionName {
    Full,
    Resumed,
}

pub(super) fn run(arguments: &Arguments) -> Result<End, Failure> {
    let plan = plan(arguments)?;
    if let Some(core) = arguments.core {
        process::pin(core)?;
    }
    let stop = interrupt::stop_on_signal()?;
    let mut show = Show::new(plan.bound, arguments.quiet);
    let result = match load::run(&plan, &stop, &mut show) {
        Err(LoadError::Interrupted) => return Ok(End::Interrupted),
        result => result?,
    };
    if !arguments.quiet {
        out::say(table::run(&result));
    }
    if let Some(path) = &arguments.json {
        files::write_json(path, &result)?;
    }
    if let Some(path) = &arguments.hgrm {
        files::write(path, &hgrm::text(&result.latency))?;
    }
    let verdict = judge(&arguments.fail_if, Facts::Run(&result));
    let end = End::from(result.ended);
    Ok(if end == End::Done { verdict } else { end })
}

fn plan(arguments: &Arguments) -> Result<Plan, Failure> {
    let target = target::find(&arguments.url, arguments.i_own_this_host)?;
    let connections = arguments.connections.get();
    let protocol = match (target.is_websocket, arguments.http2, arguments.new_connections) {
        (true, false, false) => Protocol::WebSocket,
        (true, ..) => return Err("--http2 and --new-connections are not for WebSocket".into()),
        (false, true, _) => Protocol::Http2 { streams: arguments.streams.get() },
        (false, false, true) => Protocol::Http1PerConnection,
        (false, false, false) => Protocol::Http1,
    };
    if connections > MOST || arguments.streams.get() > MOST || connections * arguments.streams.get() > MOST {
        return Err(format!("at most {MOST} requests can be under way at once").into());
    }
    let pace = match arguments.rate {
        None => Pace::Closed,
        Some(rate) if RATES.contains(&rate) => Pace::Open { rate, arrivals: arguments.arrivals.into() },
        Some(rate) => return Err(format!("a rate of {rate} requests per second cannot be kept").into()),
    };
    if (arguments.slow_read.is_some() || arguments.slow_send.is_some())
        && !matches!(protocol, Protocol::Http1 | Protocol::Http1PerConnection)
    {
        return Err("--slow-read and --slow-send are for HTTP/1.1".into());
    }
    let method = if arguments.upload > 0 { http::Method::POST } else { http::Method::GET };
    let method = arguments.method.clone().unwrap_or(method);
    if method == http::Method::HEAD || method == http::Method::CONNECT {
        return Err(format!("{method} is not supported: its answers end differently").into());
    }
    let request = Request {
        method,
        host: arguments.host.clone().unwrap_or(target.host),
        path: target.path,
        fields: arguments.headers.clone(),
        body: arguments.upload,
    };
    Ok(Plan {
        address: target.address,
        request,
        protocol,
        tls: target.is_tls.then(|| arguments.tls_session.into()),
        connections,
        threads: arguments.threads.get().min(connections),
        pace,
        bound: Bound { time: arguments.duration, requests: arguments.requests },
        warmup: arguments.warmup,
        timeout: arguments.timeout,
        grace: arguments.grace,
        give_up: arguments.give_up,
        slow: Slow { read: arguments.slow_read, send: arguments.slow_send },
        seed: arguments.seed,
    })
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or_else(|| format!("`{text}` is not `Name: value`"))?;
    http::HeaderName::try_from(name.trim()).map_err(|error| error.to_string())?;
    http::HeaderValue::try_from(value.trim()).map_err(|error| error.to_string())?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn upload(text: &str) -> Result<usize, String> {
    let size = units::size(text)?;
    usize::try_from(size).ok().filter(|size| *size <= 1 << 30).ok_or_else(|| "at most 1g".into())
}

impl From<ArrivalsName> for Arrivals {
    fn from(name: ArrivalsName) -> Self {
        match name {
            ArrivalsName::Constant => Self::Constant,
            ArrivalsName::Poisson => Self::Poisson,
        }
    }
}

impl From<SessionName> for Session {
    fn from(name: SessionName) -> Self {
        match name {
            SessionName::Full => Self::Full,
            SessionName::Resumed => Self::Resumed,
        }
    }
}
