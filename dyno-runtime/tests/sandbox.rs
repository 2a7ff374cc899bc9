//! Dynos that are kept apart: what one of them, with the worst intentions, can see, reach, change and leave behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test says what it needs by failing, and why it was skipped by printing"
)]

use dyno_runtime::{Isolation, Network};
use support::House;

#[path = "support/house.rs"]
mod support;

#[tokio::test]
async fn first_light() {
    let house = House::open(|options| {
        options.isolation = Isolation::Full;
        options.sandbox.network = Network::Inbound;
    })
    .await;
    let mut log = house
        .run("web: id; ls -la / /app /dev /tmp; cat /proc/mounts; ps ax; ip addr; ip route; env; mkdir sub; touch sub/x; exec python3 -u -m http.server $PORT", |_| {})
        .await;
    log.until("to up").await;
    eprintln!("{:#?}", log.seen);
    house.close().await;
}
