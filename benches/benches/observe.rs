//! What it costs to be seen: `cargo bench -p busbar-bench --bench observe`.

use std::{
    hint::black_box,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use hdrhistogram::Histogram;
use router_core::route::{
    Fault, LogLine, RequestIds,
    logline::{Protocol, Tls},
};

/// A worker hands its lines over when there are this many bytes of them.
const BATCH: usize = 32 * 1024;

fn log_line(c: &mut Criterion) {
    let usual = LogLine {
        fault: None,
        method: b"GET",
        path: b"/products/4711?color=blue&size=m",
        host: b"shop.example.com",
        request_id: b"01234567-89ab-4cde-8012-3456789abcde",
        forwarded_for: b"",
        client: Some(Ipv4Addr::new(203, 0, 113, 7).into()),
        dyno: "web.17",
        queue: None,
        connect: Some(Duration::ZERO),
        service: Some(Duration::from_millis(23)),
        status: Some(200),
        bytes: Some(5_423),
        protocol: Protocol::Http11,
        tls: Tls::V13,
    };
    let fault = LogLine { fault: Some(Fault::RequestTimeout), status: Some(503), ..usual };
    // Every byte of the path has to be escaped.
    let hostile_path = [0xff; 200];
    let hostile = LogLine { path: &hostile_path, ..usual };
    let mut group = c.benchmark_group("log line");
    for (name, line) in [("usual", usual), ("fault", fault), ("hostile", hostile)] {
        let mut lines = Vec::with_capacity(2 * BATCH);
        group.bench_function(name, |b| {
            b.iter(|| {
                if lines.len() >= BATCH {
                    lines.clear();
                }
                black_box(&line).write(&mut lines);
            });
        });
    }
}

fn histogram(c: &mut Criterion) {
    let mut group = c.benchmark_group("histogram");
    // As bounded as a worker's: 1 µs to 10 min, three digits.
    let Ok(mut histogram) = Histogram::<u64>::new_with_bounds(1, 600_000_000, 3) else { return };
    let mut rng = fastrand::Rng::with_seed(1);
    let values: Vec<u64> = (0..4096).map(|_| 1 + (rng.u64(..1 << 29) >> rng.u32(..29))).collect();
    let mut values = values.iter().cycle();
    group.bench_function("record", |b| {
        b.iter(|| values.next().map(|value| histogram.saturating_record(*value)));
    });
    group.bench_function("p50, p99, p99.9", |b| {
        b.iter(|| [0.5, 0.99, 0.999].map(|quantile| histogram.value_at_quantile(quantile)));
    });
    let other = histogram.clone();
    group.bench_function("merge another worker's", |b| b.iter(|| histogram.add(black_box(&other)).is_ok()));
}

fn request_id(c: &mut Criterion) {
    let mut ids = RequestIds::from_seed([7; 16]);
    let mut group = c.benchmark_group("request id");
    group.bench_function("make", |b| b.iter(|| ids.accept(None)));
    let sent = *b"01234567-89ab-4cde-8012-3456789abcde";
    group.bench_function("accept", |b| b.iter(|| ids.accept(Some(black_box(&sent)))));
}

fn clock(c: &mut Criterion) {
    c.bench_function("clock/now", |b| b.iter(Instant::now));
}

/// Short, so that all benches together take minutes.
fn short() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3))
}

criterion_group!(name = benches; config = short(); targets = log_line, histogram, request_id, clock);
criterion_main!(benches);
