//! Finding a host while somebody publishes 1000 changes a second: `cargo bench -p busbar-bench --bench publishing`.
//!
//! `dyno`: a dyno comes, which swaps the set of its app. `domain`: an app gets another domain, which swaps the host map.
//! The publisher has a thread of its own; on one core it is measured along.
#![expect(clippy::print_stderr, reason = "a publisher that was too slow must be told")]

use std::{
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    thread,
    time::{Duration, Instant},
};

use busbar_bench::fixture::{self, Size};
use busbar_registry::{NameError, Routing};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fastrand::Rng;
use router_core::route::{
    Moment,
    balance::choose,
    retry::Tried,
    table::{Publisher, RouteTable},
};

/// Between two changes.
const EVERY: Duration = Duration::from_millis(1);
/// More hosts than any cache holds, in random order.
const SAMPLE: u32 = 1 << 16;
/// A domain that was added is taken away again after so many others, so that the table stays as large as it was.
const ADDED: u64 = 64;

fn find(c: &mut Criterion) {
    for hosts in [10_000, 1_000_000] {
        let size = Size { apps: hosts / 10, hosts_per_app: 10, dynos_per_app: 1 };
        let Ok((table, mut publisher)) = fixture::table(size, &Routing::default()) else { continue };
        bench(c, &table, size, "nobody publishes");
        let changes: [(&str, Change); 2] = [("1000 dynos a second", dyno), ("1000 domains a second", domain)];
        for (name, change) in changes {
            beside(&mut publisher, size, (name, change), || bench(c, &table, size, name));
        }
    }
}

/// Finds a host's app and chooses one of its dynos, which loads both of the swaps.
fn bench(c: &mut Criterion, table: &RouteTable, size: Size, name: &str) {
    let (mut rng, mut reader) = (Rng::with_seed(1), table.reader());
    let sample: Vec<String> = (0..SAMPLE).map(|n| fixture::host(rng.u32(..size.apps), n % 9)).collect();
    let mut sample = sample.iter().cycle();
    let id = BenchmarkId::new(name, size.apps * size.hosts_per_app);
    c.benchmark_group("find and choose").bench_function(id, |b| {
        b.iter(|| {
            let app = sample.next().and_then(|host| reader.find(host))?;
            Some(app.with_set(|set| choose(set, Tried::none(), None, Moment::START, &mut rng)))
        });
    });
}

type Change = fn(&mut Publisher, Size, u64) -> Result<(), NameError>;

/// A new generation of some app's dyno.
fn dyno(publisher: &mut Publisher, size: Size, number: u64) -> Result<(), NameError> {
    publisher.put_dyno(fixture::dyno_record(app(size, number), 1, number + 2)?);
    Ok(())
}

/// One more domain for some app; and one fewer for another.
fn domain(publisher: &mut Publisher, size: Size, number: u64) -> Result<(), NameError> {
    let (one, other) = (app(size, number), app(size, number.wrapping_sub(ADDED)));
    let mut record = fixture::app_record(one, size, Routing::default())?;
    record.domains.push(format!("new-{number}.example.com").parse()?);
    publisher.put_app(record);
    if number >= ADDED && one != other {
        publisher.put_app(fixture::app_record(other, size, Routing::default())?);
    }
    Ok(())
}

fn app(size: Size, number: u64) -> u32 {
    Rng::with_seed(number).u32(..size.apps)
}

/// Does something while another thread makes changes.
fn beside(publisher: &mut Publisher, size: Size, (name, change): (&str, Change), deed: impl FnOnce()) {
    let (over, made) = (AtomicBool::new(false), AtomicU64::new(0));
    let began = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut due = began;
            while !over.load(Acquire) {
                if change(publisher, size, made.fetch_add(1, Relaxed)).is_err() {
                    return;
                }
                due += EVERY;
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        });
        deed();
        over.store(true, Release);
    });
    let rate = made.load(Relaxed) as f64 / began.elapsed().as_secs_f64();
    if !(900.0..1100.0).contains(&rate) {
        eprintln!("{name}: in truth {rate:.0} changes a second");
    }
}

/// Short, so that all benches together take minutes.
fn short() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3))
}

criterion_group!(name = benches; config = short(); targets = find);
criterion_main!(benches);
