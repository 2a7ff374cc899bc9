//! What makes the figures of `busbar-bench` worth believing: counts, latencies, errors and endings are what they are said to be.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test says what it needs by failing")]

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use busbar_bench::{
    load::{
        self, Plan, Progress, Stop, Watcher,
        plan::{Arrivals, Bound, Pace, Protocol, Session},
    },
    origin::{Listener, Misbehaviour, Origin, Served},
    results::{Ended, RunResult},
};

/// What the origin has counted once it has counted so much, which it does after an answer was written.
fn settled(origin: &Origin, enough: impl Fn(&Served) -> bool) -> Served {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !enough(&origin.counts.served()) && Instant::now() < deadline {
        thread::yield_now();
    }
    origin.counts.served()
}

fn origin(settings: &str) -> (Origin, SocketAddr) {
    let listener: Listener = format!("127.0.0.1:0?{settings}").parse().unwrap();
    let origin = Origin::start(vec![listener], 1).unwrap();
    let address = origin.addresses[0];
    (origin, address)
}

fn plan(address: SocketAddr, connections: usize, millis: u64) -> Plan {
    let mut plan = Plan::simple(address, "localhost", "/");
    plan.connections = connections;
    plan.bound = Bound { time: Duration::from_millis(millis), requests: None };
    plan
}

fn run(plan: &Plan) -> RunResult {
    load::run(plan, &Stop::new(), &mut ()).unwrap()
}

/// Answers nobody for a quarter of every second.
const STALLS: &str = "stall=1s/250ms";
/// Far below a stall, and far above what a busy machine adds to nearly every request.
const SLOW_US: f64 = 60_000.0;

fn open(rate: f64) -> Pace {
    Pace::Open { rate, arrivals: Arrivals::Constant }
}

#[test]
fn a_stall_shows_in_an_open_loop_and_hides_in_a_closed_one() {
    let (_origin, address) = origin(STALLS);
    let mut open_loop = plan(address, 64, 2000);
    open_loop.pace = open(500.0);
    let (open, closed) = (run(&open_loop), run(&plan(address, 1, 2000)));
    // A quarter of the requests is due during a stall and waits for the rest of it, 125 ms on average.
    assert!(share_above(&open, SLOW_US) > 0.1, "{open:?}");
    // The closed loop waits as well, but asks nothing meanwhile: one request in each stall is slow.
    assert!(closed.latency.p99_us < SLOW_US, "{closed:?}");
    assert!(closed.latency.max_us > 2.0 * SLOW_US, "{closed:?}");
}

#[test]
fn an_open_loop_needs_no_free_connection_to_count_from_when_a_request_was_due() {
    let (_origin, address) = origin(STALLS);
    let mut plan = plan(address, 1, 2000);
    plan.pace = open(500.0);
    let result = run(&plan);
    let service = result.service.as_ref().unwrap();
    assert!(share_above(&result, SLOW_US) > 0.1, "{result:?}");
    assert!(service.p90_us < SLOW_US, "since they were sent, hardly any took long: {service:?}");
    assert_eq!(result.ok, 1000);
}

/// The share of latencies above a limit.
fn share_above(result: &RunResult, us: f64) -> f64 {
    let below = result.latency.curve.iter().take_while(|point| point.us <= us).last();
    1.0 - below.map_or(0.0, |point| point.count as f64 / result.latency.count as f64)
}

#[test]
fn reported_counts_are_what_the_origin_counted() {
    let http2 = Protocol::Http2 { streams: 8 };
    let kinds = [
        ("speaks=h1", Protocol::Http1, None),
        ("speaks=h1", Protocol::Http1PerConnection, None),
        ("speaks=h2", http2, None),
        ("speaks=tls", Protocol::Http1, Some(Session::Full)),
        ("speaks=tls", Protocol::Http1PerConnection, Some(Session::Resumed)),
        ("speaks=tls", http2, Some(Session::Full)),
        ("speaks=h1", Protocol::WebSocket, None),
        ("speaks=tls", Protocol::WebSocket, Some(Session::Full)),
    ];
    for (speaks, protocol, tls) in kinds {
        for requests in [None, Some(100)] {
            let (origin, address) = origin(speaks);
            let mut plan = plan(address, 3, if requests.is_some() { 30_000 } else { 200 });
            (plan.protocol, plan.tls, plan.bound.requests) = (protocol, tls, requests);
            (plan.request.method, plan.request.body) = (http::Method::POST, 1000);
            let result = run(&plan);
            let counted = |served: &Served| match protocol {
                Protocol::WebSocket => served.messages,
                _ => served.answers,
            };
            let served = settled(&origin, |served| counted(served) >= result.ok);
            let (asked, counted) = (result.ok, counted(&served));
            let kind = format!("{speaks} {protocol:?}: {result:?} {served:?}");
            assert_eq!(asked, counted, "{kind}");
            assert_eq!(result.connections_made, served.connections, "{kind}");
            assert_eq!((result.failed, result.latency.count), (0, result.ok), "{kind}");
            assert_eq!(result.ok, requests.unwrap_or(result.ok), "{kind}");
            assert_eq!(result.intervals.iter().map(|interval| interval.ok).sum::<u64>(), result.ok, "{kind}");
            if protocol != Protocol::WebSocket {
                assert_eq!(served.body_bytes, 1000 * result.ok, "{kind}");
            }
        }
    }
}

#[test]
fn every_thread_is_counted() {
    let (origin, address) = origin("speaks=h1");
    let mut plan = plan(address, 5, 30_000);
    (plan.threads, plan.bound.requests) = (3, Some(1000));
    let result = run(&plan);
    assert_eq!((result.ok, origin.counts.served().requests), (1000, 1000));
}

#[test]
fn each_misbehaviour_is_reported_as_what_it_is() {
    for (misbehaviour, reported) in [
        (Misbehaviour::AcceptsThenSilent, Some("timed out")),
        (Misbehaviour::HalfReply, Some("cut short")),
        (Misbehaviour::Drips, Some("timed out")),
        (Misbehaviour::ResetsMidBody, Some("cut short")),
        (Misbehaviour::LiesAboutLength, Some("cut short")),
        (Misbehaviour::ClosesIdleConnections, None), // a client connects again and asks again
    ] {
        let (_origin, address) = origin(&format!("misbehave={misbehaviour}"));
        let mut plan = plan(address, 2, 30_000);
        let timeout = if reported == Some("timed out") { 400 } else { 30_000 };
        (plan.bound.requests, plan.timeout) = (Some(4), Duration::from_millis(timeout));
        let result = run(&plan);
        let kinds: Vec<&str> = result.errors.keys().map(String::as_str).collect();
        assert_eq!(kinds, Vec::from_iter(reported), "{misbehaviour}: {result:?}");
        assert_eq!(result.ok + result.failed, 4, "{misbehaviour}");
    }
}

#[test]
fn a_status_from_400_is_an_error_and_no_latency() {
    let (_origin, address) = origin("speaks=h1");
    let mut plan = plan(address, 1, 30_000);
    (plan.request.path, plan.bound.requests) = ("/nowhere".into(), Some(5));
    let result = run(&plan);
    assert_eq!((result.ok, result.answered, result.errors["status 404"], result.latency.count), (0, 5, 5, 0));
}

#[test]
fn nobody_listening_is_an_error_at_once() {
    let (_origin, address) = origin("misbehave=refuses");
    let error = load::run(&plan(address, 8, 60_000), &Stop::new(), &mut ()).unwrap_err();
    assert!(matches!(error, load::LoadError::Dead { .. }), "{error}");
}

/// Does something when the run has begun.
struct Then<F: FnMut()>(F, bool);

impl<F: FnMut()> Watcher for Then<F> {
    fn progress(&mut self, so_far: &Progress<'_>) {
        if so_far.total.ok > 0 && !std::mem::replace(&mut self.1, true) {
            (self.0)();
        }
    }
}

#[test]
fn a_target_that_dies_ends_the_run_with_what_there_was() {
    let (origin, address) = origin("speaks=h1");
    let mut plan = plan(address, 4, 60_000);
    plan.bound.time = Duration::from_secs(60);
    plan.give_up = Duration::from_millis(300);
    let mut origin = Some(origin);
    let mut kill = Then(|| drop(origin.take()), false);
    let result = load::run(&plan, &Stop::new(), &mut kill).unwrap();
    assert_eq!(result.ended, Ended::GaveUp);
    assert!(result.ok > 0 && result.failed > 0 && result.seconds < 30.0, "{result:?}");
}

#[test]
fn an_interrupted_run_says_so_and_keeps_what_there_was() {
    let (_origin, address) = origin("latency=fixed:1ms");
    for pace in [Pace::Closed, open(200.0)] {
        let mut plan = plan(address, 4, 60_000);
        plan.pace = pace;
        let stop = Stop::new();
        let result = load::run(&plan, &stop, &mut Then(|| stop.pull(), false)).unwrap();
        assert_eq!(result.ended, Ended::Interrupted);
        assert!(result.ok > 0 && result.failed == 0 && result.seconds < 30.0, "{result:?}");
    }
}

#[test]
fn what_an_overloaded_server_never_answered_is_not_forgotten() {
    let (_origin, address) = origin("latency=fixed:20ms&concurrency=1");
    let mut plan = plan(address, 4, 1000);
    (plan.pace, plan.grace) = (open(200.0), Duration::from_millis(100));
    let result = run(&plan);
    assert_eq!(result.ok + result.failed, 200, "every request that was due is accounted for: {result:?}");
    assert_eq!(result.errors.keys().collect::<Vec<_>>(), ["unfinished"]);
    assert_eq!(result.latency.count, 200);
    assert!(result.latency.max_us > 800_000.0, "{result:?}");
}

#[test]
fn a_timeout_counts_from_when_a_request_was_due() {
    let (_origin, address) = origin("latency=fixed:20ms&concurrency=1");
    let mut plan = plan(address, 4, 1000);
    (plan.pace, plan.timeout) = (open(200.0), Duration::from_millis(200));
    let result = run(&plan);
    assert_eq!(result.ok + result.failed, 200, "{result:?}");
    assert_eq!(result.errors.keys().collect::<Vec<_>>(), ["timed out"]);
    assert!(
        result.latency.min_us > 19_000.0 && result.ok < 100,
        "what came later than 200 ms is no answer: {result:?}"
    );
}

#[test]
fn the_warm_up_is_not_counted() {
    let (origin, address) = origin("latency=fixed:10ms");
    let mut plan = plan(address, 1, 200);
    plan.warmup = Duration::from_millis(200);
    let result = run(&plan);
    assert!(result.ok > 0 && result.ok < origin.counts.served().answers, "{result:?}");
    assert!(result.ok <= 21, "{result:?}");
}

#[test]
fn a_slow_reader_takes_its_time() {
    let (_origin, address) = origin("speaks=h1");
    let mut plan = plan(address, 2, 30_000);
    (plan.request.path, plan.bound.requests) = ("/8k".into(), Some(2));
    plan.slow.read = Some(40_000);
    let result = run(&plan);
    assert_eq!(result.ok, 2);
    assert!(result.latency.min_us > 100_000.0, "{result:?}");
}

#[test]
fn chunks_and_trailers_are_answers() {
    let (origin, address) = origin("speaks=h1");
    for path in ["/chunked", "/trailers", "/1k", "/300000"] {
        let mut plan = plan(address, 2, 30_000);
        (plan.request.path, plan.bound.requests) = (path.into(), Some(10));
        assert_eq!(run(&plan).ok, 10, "{path}");
    }
    assert_eq!(settled(&origin, |served| served.answers >= 40).answers, 40);
}
