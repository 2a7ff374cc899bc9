//! The routing path, part by part: `cargo bench -p busbar-bench`.

use std::{hint::black_box, time::Duration};

use busbar_bench::fixture::{self, Size};
use busbar_registry::{Balance, Routing};
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use fastrand::Rng;
use router_core::route::{Moment, balance::choose, host::Host, retry::Tried};

/// More hosts than any cache holds, in random order.
const SAMPLE: u32 = 1 << 16;

fn host(c: &mut Criterion) {
    c.bench_function("host/parse", |b| {
        b.iter(|| Host::parse(black_box(b"WWW0.Customer-4711.example.com:443")).is_ok());
    });
}

fn find(c: &mut Criterion) {
    let mut group = c.benchmark_group("find");
    for hosts in [10, 10_000, 1_000_000] {
        let size = Size { apps: hosts / 10, hosts_per_app: 10, dynos_per_app: 1 };
        let Ok((table, _publisher)) = fixture::table(size, &Routing::default()) else { continue };
        let mut rng = Rng::with_seed(1);
        let mut app = || rng.u32(..size.apps);
        let kinds: [(&str, Vec<String>); 3] = [
            ("exact", (0..SAMPLE).map(|n| fixture::host(app(), n % 9)).collect()),
            ("wildcard", (0..SAMPLE).map(|_| fixture::wild_host(app())).collect()),
            ("miss", (0..SAMPLE).map(|_| fixture::host(app() + size.apps, 0)).collect()),
        ];
        let mut reader = table.reader();
        for (kind, sample) in &kinds {
            let mut sample = sample.iter().cycle();
            group.bench_function(BenchmarkId::new(*kind, hosts), |b| {
                b.iter(|| sample.next().and_then(|host| reader.find(host)));
            });
        }
    }
}

fn choosing(c: &mut Criterion) {
    let policies = [
        ("least", Balance::Least),
        ("p2c", Balance::P2c),
        ("peak_ewma", Balance::PeakEwma),
        ("round_robin", Balance::RoundRobin),
        ("random", Balance::Random),
        ("rendezvous", Balance::Rendezvous),
    ];
    let mut group = c.benchmark_group("choose");
    for (name, balance) in policies {
        for dynos in [2, 10, 100, 1000] {
            let Ok(Some(app)) = fixture::app(dynos, &Routing { balance, ..Routing::default() }) else {
                continue;
            };
            let (mut rng, now) = (Rng::with_seed(1), Moment::from_micros(1));
            // Nobody is idle, so that `least` has to look at all of them.
            let held: Vec<_> = (0..dynos)
                .map(|_| app.with_set(|set| choose(set, Tried::none(), None, now, &mut rng)))
                .collect();
            for dyno in &app.set().dynos {
                dyno.load.answered(Duration::from_millis(5), now);
            }
            group.bench_function(BenchmarkId::new(name, dynos), |b| {
                b.iter(|| app.with_set(|set| choose(set, Tried::none(), Some(rng.u64(..)), now, &mut rng)));
            });
            drop(held);
        }
    }
}

fn publish(c: &mut Criterion) {
    let size = Size { apps: 100_000, hosts_per_app: 10, dynos_per_app: 1 };
    let Ok((_table, mut publisher)) = fixture::table(size, &Routing::default()) else { return };
    let (mut rng, mut fresh) = (Rng::with_seed(1), 1_000);
    let mut group = c.benchmark_group("publish");
    group.bench_function("dyno of 100k apps", |b| {
        let record = || {
            fresh += 1;
            fixture::dyno_record(rng.u32(..size.apps), 1, fresh)
        };
        b.iter_batched(
            record,
            |record| record.map(|record| publisher.put_dyno(record)),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("domain of 100k apps", |b| {
        let record = || {
            fresh += 1;
            let mut record = fixture::app_record(rng.u32(..size.apps), size, Routing::default())?;
            record.domains.push(format!("new-{fresh}.example.com").parse()?);
            Ok::<_, busbar_registry::NameError>(record)
        };
        b.iter_batched(
            record,
            |record| record.map(|record| publisher.put_app(record)),
            BatchSize::SmallInput,
        );
    });
}

fn short() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3))
}

criterion_group!(name = benches; config = short(); targets = host, find, choosing, publish);
criterion_main!(benches);
