//! What `[app.routing]` means: [`Routing`], every key of it, with bounds.

mod speech;

use std::{num::NonZeroU32, time::Duration};

use busbar_registry::{Balance, Millis, Routing};

use super::super::{
    super::{
        complaint::Complaints,
        raw::RawRouting,
        table::At,
        units::{Age, Rate, Size, Span},
    },
    bounded, parsed, positive,
};

/// What `raw` means; what it does not say is as usual.
pub(super) fn check(mut raw: RawRouting, complaints: &mut Complaints<'_>) -> Routing {
    let usual = Routing::default();
    let u = &usual;
    let c = complaints;
    let speech = speech::check(&mut raw, c);
    Routing {
        balance: raw.balance.map_or(u.balance, |written| balance(&written, c)),
        session_affinity: raw.session_affinity.map_or(u.session_affinity, |written| written.value),
        slow_start_ms: span("slow_start", raw.slow_start, u.slow_start_ms, c),
        concurrency_per_dyno: raw
            .concurrency_per_dyno
            .and_then(|n| at_least_one("concurrency_per_dyno", &n, c)),
        queue_limit: count("queue_limit", raw.queue_limit, 0, u.queue_limit, c),
        in_flight_per_dyno: count("in_flight_per_dyno", raw.in_flight_per_dyno, 1, u.in_flight_per_dyno, c),
        request_limit: raw.request_limit.and_then(|n| at_least_one("request_limit", &n, c)),
        connect_timeout_ms: timeout("connect_timeout", raw.connect_timeout, u.connect_timeout_ms, c),
        connect_attempts: count("connect_attempts", raw.connect_attempts, 1, u.connect_attempts, c),
        quarantine_ms: span("quarantine", raw.quarantine, u.quarantine_ms, c),
        eject_after: raw.eject_after.and_then(|n| at_least_one("eject_after", &n, c)),
        eject_for_ms: timeout("eject_for", raw.eject_for, u.eject_for_ms, c),
        eject_at_most_percent: percent(
            "eject_at_most_percent",
            raw.eject_at_most_percent,
            100,
            u.eject_at_most_percent,
            c,
        ),
        retry_budget_percent: percent(
            "retry_budget_percent",
            raw.retry_budget_percent,
            1000,
            u.retry_budget_percent,
            c,
        ),
        retry_budget_per_second: count(
            "retry_budget_per_second",
            raw.retry_budget_per_second,
            0,
            u.retry_budget_per_second,
            c,
        ),
        first_byte_timeout_ms: timeout(
            "first_byte_timeout",
            raw.first_byte_timeout,
            u.first_byte_timeout_ms,
            c,
        ),
        idle_timeout_ms: timeout("idle_timeout", raw.idle_timeout, u.idle_timeout_ms, c),
        total_timeout_ms: raw
            .total_timeout
            .and_then(|written| positive("total_timeout", &written, c))
            .map(millis),
        min_rate: raw
            .min_rate
            .and_then(|rate| parsed::<Rate>("min_rate", &rate, c))
            .map_or(u.min_rate, |rate| rate.0),
        min_rate_period_ms: timeout("min_rate_period", raw.min_rate_period, u.min_rate_period_ms, c),
        hold_timeout_ms: span("hold_timeout", raw.hold_timeout, u.hold_timeout_ms, c),
        response_buffer_bytes: raw.response_buffer.map_or(u.response_buffer_bytes, |size| buffer(&size, c)),
        dyno_keepalive_ms: span("dyno_keepalive", raw.dyno_keepalive, u.dyno_keepalive_ms, c),
        dyno_protocol: speech.protocol,
        dyno_tls: speech.tls,
        answer_continue: raw.answer_continue.map_or(u.answer_continue, |written| written.value),
        https_redirect: raw.https_redirect.map_or(u.https_redirect, |written| written.value),
        hsts_seconds: raw.hsts.and_then(|age| parsed::<Age>("hsts", &age, c)).map(|Age(seconds)| seconds),
        error_page_url: raw.error_page_url.and_then(|url| page("error_page_url", url, c)),
        maintenance_page_url: raw.maintenance_page_url.and_then(|url| page("maintenance_page_url", url, c)),
    }
}

fn balance(written: &At<String>, complaints: &mut Complaints<'_>) -> Balance {
    match written.value.as_str() {
        "least" => Balance::Least,
        "p2c" => Balance::P2c,
        "peak_ewma" => Balance::PeakEwma,
        "round_robin" => Balance::RoundRobin,
        "random" => Balance::Random,
        "rendezvous" => Balance::Rendezvous,
        other => {
            let names = "least, p2c, peak_ewma, round_robin, random or rendezvous";
            complaints.add(&written.at, format!("there is no balance {other:?}; write {names}"));
            Balance::default()
        }
    }
}

fn at_least_one(key: &str, written: &At<u64>, complaints: &mut Complaints<'_>) -> Option<NonZeroU32> {
    let advice = "write 1 or more, or leave the key out for no limit";
    bounded(key, written, 1..=u64::from(u32::MAX), advice, complaints).and_then(NonZeroU32::new)
}

fn count(
    key: &str,
    written: Option<At<u64>>,
    least: u64,
    usual: u32,
    complaints: &mut Complaints<'_>,
) -> u32 {
    let advice = format!("write {least} to 1000000");
    written.and_then(|n| bounded(key, &n, least..=1_000_000, &advice, complaints)).unwrap_or(usual)
}

fn percent(
    key: &str,
    written: Option<At<u64>>,
    most: u64,
    usual: u32,
    complaints: &mut Complaints<'_>,
) -> u32 {
    let advice = format!("write 0 to {most}, without a percent sign");
    written.and_then(|n| bounded(key, &n, 0..=most, &advice, complaints)).unwrap_or(usual)
}

fn span(key: &str, written: Option<At<String>>, usual: Millis, complaints: &mut Complaints<'_>) -> Millis {
    let span = written.and_then(|written| parsed::<Span>(key, &written, complaints));
    span.map_or(usual, |Span(span)| millis(span))
}

/// Not nothing.
fn timeout(key: &str, written: Option<At<String>>, usual: Millis, complaints: &mut Complaints<'_>) -> Millis {
    written.and_then(|written| positive(key, &written, complaints)).map_or(usual, millis)
}

fn buffer(written: &At<String>, complaints: &mut Complaints<'_>) -> u32 {
    const MOST: usize = 64 * 1024 * 1024;
    let usual = Routing::default().response_buffer_bytes;
    let Some(Size(bytes)) = parsed::<Size>("response_buffer", written, complaints) else { return usual };
    u32::try_from(bytes).ok().filter(|_| bytes <= MOST).unwrap_or_else(|| {
        complaints.add(&written.at, format!("`response_buffer` is {:?}; write 0B to 64MiB", written.value));
        usual
    })
}

fn millis(span: Duration) -> Millis {
    Millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

fn page(key: &str, written: At<String>, complaints: &mut Complaints<'_>) -> Option<String> {
    let url = written.value.parse::<http::Uri>().ok();
    let good =
        url.is_some_and(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some());
    if !good {
        complaints.add(
            &written.at,
            format!("`{key}` is {:?}; write a whole http:// or https:// address", written.value),
        );
    }
    good.then_some(written.value)
}
