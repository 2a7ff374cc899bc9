//! What a table of 100 000 apps with 1 000 000 hosts costs: bytes, lookups, changes.
//!
//! `cargo run --release -p busbar-bench --example table_study [apps] [hosts per app] [dynos per app]`
#![expect(clippy::print_stdout, reason = "a study prints its figures")]

use std::{error::Error, fs, hint::black_box, time::Instant};

use busbar_bench::fixture::{self, Size};
use busbar_registry::Routing;
use fastrand::Rng;
use router_core::route::{
    Moment,
    balance::choose,
    host::Host,
    retry::Tried,
    table::{Publisher, RouteTable, TableReader},
};

const ROUNDS: u32 = 7;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u32>());
    let mut next = |default: u32| arguments.next().unwrap_or(Ok(default));
    let size = Size { apps: next(100_000)?, hosts_per_app: next(10)?, dynos_per_app: next(1)? };
    println!("{size:?}, {} hosts", size.apps * size.hosts_per_app);

    // The first table leaves behind the freed memory of its snapshot, and the second reuses it: so the second shows
    // what a table alone needs.
    let _first = fixture::table(size, &Routing::default())?;
    let before = resident_bytes()?;
    let began = Instant::now();
    let (table, mut publisher) = fixture::table(size, &Routing::default())?;
    println!("build, records included: {:.0} ms", began.elapsed().as_secs_f64() * 1e3);
    let bytes = resident_bytes()?.saturating_sub(before);
    println!("resident bytes per app: {}", bytes / u64::from(size.apps));

    lookups(&table, size);
    changes(&table, &mut publisher, size)
}

fn resident_bytes() -> Result<u64, Box<dyn Error>> {
    let pages = fs::read_to_string("/proc/self/statm")?;
    let resident: u64 = pages.split(' ').nth(1).ok_or("statm has no second field")?.parse()?;
    Ok(resident * 4096)
}

/// Prints the median and the best over the rounds of the mean time of one deed.
fn measure(what: &str, deeds: u32, mut round: impl FnMut(u32)) {
    let mut means: Vec<f64> = (0..ROUNDS)
        .map(|number| {
            let began = Instant::now();
            round(number);
            began.elapsed().as_secs_f64() * 1e9 / f64::from(deeds)
        })
        .collect();
    means.sort_by(f64::total_cmp);
    if let (Some(best), Some(median)) = (means.first(), means.get(means.len() / 2)) {
        println!("{what}: median {median:.1} ns, best {best:.1} ns");
    }
}

fn lookups(table: &RouteTable, size: Size) {
    const MANY: u32 = 200_000;
    let mut rng = Rng::with_seed(1);
    let mut reader = table.reader();
    let mut app = || rng.u32(..size.apps);
    let last = size.hosts_per_app.saturating_sub(2);
    let kinds: [(&str, Vec<String>); 3] = [
        ("exact", (0..MANY).map(|n| fixture::host(app(), n % (last + 1))).collect()),
        ("wildcard", (0..MANY).map(|_| fixture::wild_host(app())).collect()),
        ("miss", (0..MANY).map(|_| fixture::host(app() + size.apps, 0)).collect()),
    ];
    for (kind, hosts) in &kinds {
        measure(&format!("find, {kind}"), MANY, |_| {
            black_box(hosts.iter().filter(|host| reader.find(host).is_some()).count());
        });
    }
    let hot = (0..MANY).map(|n| fixture::host(n % 100 % size.apps, 0)).collect();
    let [(_, exact), ..] = kinds;
    let mut rng = Rng::with_seed(2);
    for (which, hosts) in [("all apps", exact), ("100 apps", hot)] {
        measure(&format!("Host::parse + find + choose + finish, {which}"), MANY, |_| {
            hosts.iter().for_each(|host| whole(&mut reader, host, &mut rng));
        });
    }
}

fn whole(reader: &mut TableReader, raw: &str, rng: &mut Rng) {
    let found = Host::parse(raw.as_bytes()).ok().and_then(|host| reader.find(host.as_str()));
    if let Some(app) = found {
        black_box(app.with_set(|set| choose(set, Tried::none(), None, Moment::START, rng)));
    }
}

fn changes(table: &RouteTable, publisher: &mut Publisher, size: Size) -> Result<(), Box<dyn Error>> {
    const MANY: u32 = 1_000;
    let mut rng = Rng::with_seed(3);
    let mut reader = table.reader();
    let chosen: Vec<u32> = (0..MANY).map(|_| rng.u32(..size.apps)).collect();

    let records = |round: u32| -> Result<Vec<_>, _> {
        chosen.iter().map(|&app| fixture::dyno_record(app, 1, u64::from(round) + 1_000)).collect()
    };
    // Ascending generations: a descending one would be fenced off, not published.
    let mut rounds = (0..ROUNDS).map(records).collect::<Result<Vec<Vec<_>>, _>>()?.into_iter();
    measure("publish a dyno's new generation", MANY, |_| {
        for record in rounds.next().unwrap_or_default() {
            black_box(publisher.put_dyno(record));
        }
    });

    let records = |round: u32| -> Result<Vec<_>, _> {
        let with = |&app: &u32| {
            let mut record = fixture::app_record(app, size, Routing::default())?;
            record.domains.push(format!("new-{round}.customer-{app}.example.com").parse()?);
            Ok(record)
        };
        chosen.iter().map(with).collect::<Result<Vec<_>, Box<dyn Error>>>()
    };
    let mut rounds: Vec<Vec<_>> = (0..ROUNDS).map(records).collect::<Result<_, _>>()?;
    measure("publish another domain of an app", MANY, |_| {
        for record in rounds.pop().unwrap_or_default() {
            black_box(publisher.put_app(record));
            // A worker that looks at once, so that the old map is not merely forgotten.
            black_box(reader.find("nobody.example.com"));
        }
    });
    Ok(())
}
