//! From what is written to what is meant. Everything that is wrong is complained about; what is returned then is
//! only good for finding more that is wrong.

mod acme;
mod apps;
mod certificates;
mod edge;
mod heads;
mod http2;
mod listeners;

use std::{
    collections::HashMap, num::NonZeroUsize, ops::Range, str::FromStr, thread::available_parallelism,
    time::Duration,
};

use super::{
    AdminListen, Config, Limits, Overrides, RegistryListen,
    address::Endpoint,
    complaint::Complaints,
    raw::{RawConfig, RawLimits, RawRegistry},
    table::At,
    units::Span,
};

/// How long requests may go on after a shutdown has begun, when nobody says. Heroku's 30 s from SIGTERM to SIGKILL.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// More threads than this is a slip.
const MOST_WORKERS: u64 = 1024;

/// What `raw` means, with `overrides` in place of what it says.
pub(super) fn check(raw: RawConfig, overrides: &Overrides, complaints: &mut Complaints<'_>) -> Config {
    let written = listeners::check(raw.listen, raw.listeners, complaints);
    let flagged: Vec<_> = overrides.listen.iter().cloned().map(Into::into).collect();
    let listen = if flagged.is_empty() { written } else { flagged };
    let (apps, wanting) = apps::check(raw.apps, &listen, complaints);
    let (acme, wanted) = acme::check(raw.acme, wanting, &listen, complaints);
    let uploads = certificates::uploads(raw.tls.uploads.as_ref(), complaints);
    let others_come = acme.is_some() || uploads.is_some();
    let certificates = certificates::check(raw.certificates, others_come, &listen, complaints);
    let written_workers = raw.workers.and_then(|workers| worker_count(&workers, complaints));
    let cpus = || available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let written_drain = raw.drain_timeout.and_then(|span| parsed::<Span>("drain_timeout", &span, complaints));
    let written_delay = raw.drain_delay.and_then(|span| parsed::<Span>("drain_delay", &span, complaints));
    let written_admin = raw.admin.and_then(|admin| parsed::<AdminListen>("listen", &admin, complaints));
    let written_log = raw.access_log.and_then(|log| parsed("access", &log, complaints));
    Config {
        listen,
        workers: overrides.workers.or(written_workers).unwrap_or_else(cpus),
        drain_timeout: overrides.drain_timeout.or(written_drain).map_or(DRAIN_TIMEOUT, |span| span.0),
        drain_delay: written_delay.map_or(Duration::ZERO, |span| span.0),
        limits: limits(raw.limits, complaints),
        http2: http2::check(&raw.http2, complaints),
        handshakes: certificates::handshakes(&raw.tls, complaints),
        uploads,
        ticket_keys: certificates::ticket_keys(raw.tls.ticket_keys.as_ref(), complaints),
        certificates,
        acme,
        wanted,
        edge: edge::check(raw.edge, complaints),
        admin: overrides.admin.clone().or(written_admin),
        registry: raw.registry.and_then(|registry| registry_listen(registry, complaints)),
        access_log: overrides.access_log.clone().or(written_log).unwrap_or_default(),
        apps,
    }
}

fn worker_count(workers: &At<u64>, complaints: &mut Complaints<'_>) -> Option<NonZeroUsize> {
    let advice = format!("write 1 to {MOST_WORKERS}, or leave the key out for one per CPU");
    bounded("workers", workers, 1..=MOST_WORKERS, &advice, complaints).and_then(NonZeroUsize::new)
}

fn limits(raw: RawLimits, complaints: &mut Complaints<'_>) -> Limits {
    let usual = Limits::default();
    let (request, response) = heads::check(&raw, complaints);
    let wait = |key, written: Option<At<String>>, usual, complaints: &mut Complaints<'_>| {
        written.and_then(|span| positive(key, &span, complaints)).unwrap_or(usual)
    };
    Limits {
        request,
        response,
        connections: raw.connections.and_then(|n| count("connections", &n, 10_000_000, complaints)),
        connections_per_client: raw
            .connections_per_client
            .and_then(|n| count("connections_per_client", &n, 10_000_000, complaints))
            .and_then(NonZeroUsize::new),
        kept_per_dyno: raw.kept_per_dyno.and_then(|n| count("kept_per_dyno", &n, 1_000_000, complaints)),
        kept_connections: raw
            .kept_connections
            .and_then(|n| count("kept_connections", &n, 10_000_000, complaints)),
        head_timeout: wait("head_timeout", raw.head_timeout, usual.head_timeout, complaints),
        keepalive_timeout: wait(
            "keepalive_timeout",
            raw.keepalive_timeout,
            usual.keepalive_timeout,
            complaints,
        ),
    }
}

fn count(key: &str, written: &At<u64>, most: u64, complaints: &mut Complaints<'_>) -> Option<usize> {
    bounded(key, written, 1..=most, &format!("write 1 to {most}"), complaints)
}

/// A span of time that is not nothing.
fn positive(key: &str, written: &At<String>, complaints: &mut Complaints<'_>) -> Option<Duration> {
    let Span(span) = parsed(key, written, complaints)?;
    if span.is_zero() {
        complaints.add(
            &written.at,
            format!("`{key}` is {:?}; every request would fail, so write at least 1ms", written.value),
        );
    }
    Some(span)
}

fn registry_listen(raw: RawRegistry, complaints: &mut Complaints<'_>) -> Option<RegistryListen> {
    if raw.listen.as_ref().is_none_or(|list| list.value.is_empty()) {
        complaints.add(
            &raw.place,
            "[registry] has no `listen`; write where, like [\"unix:/run/busbar/registry.sock\"]",
        );
    }
    let listen = all(raw.listen, "registry address", str::parse::<Endpoint>, complaints).unwrap_or_default();
    let Some(key_file) = raw.key_file else {
        complaints.add(
            &raw.place,
            "[registry] has no `key_file`; make one with `busbar token --new-key --key-file FILE`",
        );
        return None;
    };
    Some(RegistryListen { listen, key_file: key_file.value.into() })
}

/// Reads each text of a list; complains about bad ones and about repetitions.
fn all<T, E>(
    written: Option<At<Vec<At<String>>>>,
    what: &str,
    read: fn(&str) -> Result<T, E>,
    complaints: &mut Complaints<'_>,
) -> Option<Vec<T>>
where
    T: Clone + Eq + std::hash::Hash,
    E: std::fmt::Display,
{
    let mut first: HashMap<T, Range<usize>> = HashMap::new();
    let mut list = Vec::new();
    for text in written?.value {
        match read(&text.value) {
            Err(error) => complaints.add(&text.at, error.to_string()),
            Ok(item) => {
                if let Some(earlier) = first.insert(item.clone(), text.at.clone()) {
                    let line = complaints.line(&earlier);
                    let said =
                        format!("{what} {:?} is already on line {line}; remove one of them", text.value);
                    complaints.add(&text.at, said);
                } else {
                    list.push(item);
                }
            }
        }
    }
    Some(list)
}

/// Reads the text of `key`.
fn parsed<T>(key: &str, written: &At<String>, complaints: &mut Complaints<'_>) -> Option<T>
where
    T: FromStr<Err: std::fmt::Display>,
{
    let read = written.value.parse();
    read.map_err(|error| complaints.add(&written.at, format!("`{key}` is {:?}; {error}", written.value))).ok()
}

/// The number of `key`, if it is within `bounds`.
fn bounded<N: TryFrom<u64>>(
    key: &str,
    written: &At<u64>,
    bounds: std::ops::RangeInclusive<u64>,
    advice: &str,
    complaints: &mut Complaints<'_>,
) -> Option<N> {
    let number = Some(written.value).filter(|n| bounds.contains(n)).and_then(|n| N::try_from(n).ok());
    if number.is_none() {
        complaints.add(&written.at, format!("`{key}` is {}; {advice}", written.value));
    }
    number
}
