//! A dyno that fills its disk.

use std::fs;

use crate::{
    full, root,
    support::{House, eventually},
};

async fn house_with_a_disk() -> Option<House> {
    if !root() {
        return None;
    }
    if !fs::exists("/dev/loop-control").unwrap() {
        eprintln!("skipped: this machine has no loop devices");
        return None;
    }
    let house = House::open(|options| {
        full(options);
        options.sandbox.disk = Some(24 << 20);
    });
    Some(house.await)
}

/// Loop devices whose file is in this directory.
fn loops_below(directory: &std::path::Path) -> usize {
    let devices = fs::read_dir("/sys/block").unwrap().flatten();
    let files = devices.filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok());
    files.filter(|file| file.starts_with(&directory.display().to_string())).count()
}

#[tokio::test]
async fn f17_a_dyno_that_fills_its_disk_has_no_space_left_and_lives() {
    let Some(house) = house_with_a_disk().await else { return };
    let fill = "worker: head -c 100000000 /dev/zero > big; echo app $(stat -c %s big); rm big; \
                head -c 100000000 /dev/zero > /tmp/big; echo tmp $(stat -c %s /tmp/big); rm /tmp/big; \
                echo ok > small && cat small; exec sleep 600";
    let mut log = house.run(fill, |_| {}).await;
    log.until("app[worker.1]: ok").await;
    assert_eq!(log.with("No space left on device").len(), 2, "{:#?}", log.seen);
    for place in ["app", "tmp"] {
        let line = log.with(&format!("app[worker.1]: {place} "))[0];
        let size: u64 = line.rsplit_once(' ').unwrap().1.parse().unwrap();
        assert!((16 << 20..24 << 20).contains(&size), "{line}");
    }
    let state = house.state().to_owned();
    assert!(loops_below(&state) > 0);
    house.close().await;
    eventually("the devices are free", || loops_below(&state) == 0).await;
}

#[tokio::test]
async fn f18_a_dyno_that_makes_a_million_files_has_no_space_left_and_lives() {
    let Some(house) = house_with_a_disk().await else { return };
    let many = r#"
import itertools
try:
    for number in itertools.count():
        open(f"/tmp/{number}", "w").close()
except OSError as error:
    print("after", number, error.strerror, flush=True)
"#;
    fs::write(house.directory.path().join("many.py"), many).unwrap();
    let mut log = house.run("worker: python3 many.py; exec sleep 600", |_| {}).await;
    log.until("app[worker.1]: after").await;
    assert!(log.seen.iter().any(|line| line.contains("No space left on device")), "{:#?}", log.seen);
    house.close().await;
}
