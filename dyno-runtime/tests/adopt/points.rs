//! F7: a runtime is killed at chosen points of a dyno's start, of its stop, and of its adoption.

use std::{fs, path::Path};

use dyno_runtime::{Phase, supervise::Milestone};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    killed::{How, Place, all_run, deploy},
    support::{House, eventually},
};

const APP: &str = "web: exec python3 -u -m http.server $PORT\nworker: exec sleep 600\n";

/// What a runtime that is to die there is told once its dynos are up.
enum Then {
    Nothing,
    Stop,
    /// It is killed, and the next one is to die.
    Next,
}

fn then(milestone: Milestone) -> Then {
    use Milestone as M;
    match milestone {
        M::Drained | M::Deregistered | M::Terminated | M::StopWritten | M::Exited => Then::Stop,
        M::Heard | M::Reaped | M::GroupRemoved | M::Emptied => Then::Stop,
        M::Found | M::Taken => Then::Next,
        _ => Then::Nothing,
    }
}

/// The first processes whose dynos are written down in this state directory: each holds a file there, as a runtime may too.
fn first_processes(state: &Path) -> Vec<i32> {
    let pids =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let holds =
        |pid: &i32| fs::read_link(format!("/proc/{pid}/fd/3")).is_ok_and(|file| file.starts_with(state));
    let is_first =
        |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "dyno-init\n");
    pids.filter(|pid| is_first(pid) && holds(pid)).collect()
}

/// How many dynos are up and how many there are at all.
async fn dynos(house: &House) -> (usize, usize) {
    let status = house.runtime.ps(&house.app).await.unwrap();
    (status.iter().filter(|dyno| dyno.phase == Phase::Up).count(), status.len())
}

async fn dies_at(how: How, milestone: Milestone) {
    let mut place = Place::new(how, APP);
    let name = format!("{milestone:?}");
    let there = [("BUSBAR_DIE_AT", name.as_str())];
    match then(milestone) {
        Then::Nothing => place.start_with(&there),
        Then::Stop => {
            place.start_with(&there);
            place.leaders(2, "up").await;
            place.tell(Signal::TERM);
        }
        Then::Next => {
            place.start();
            place.leaders(2, "up").await;
            place.kill();
            place.start_with(&there);
        }
    }
    eventually(&format!("{how:?}: it dies at {name}"), || place.has_ended()).await;
    assert!(place.was_killed(), "{how:?} {name}: it ended before");

    let house = place.next(|_| {}).await;
    let mut log = deploy(&house, |_| {}).await;
    while dynos(&house).await != (2, 2) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let state = house.state().to_owned();
    eventually(&format!("{how:?} {name}: two first processes"), || first_processes(&state).len() == 2).await;
    log.now();
    // Nothing else of it may be left: the house sees to that.
    house.close().await;
    assert_eq!(first_processes(&state), [] as [i32; 0], "{how:?} {name}");
}

async fn dies_at_each(how: How, which: impl Fn(Milestone) -> bool) {
    for milestone in Milestone::ALL.into_iter().filter(|milestone| which(*milestone)) {
        let plain = how.isolation == dyno_runtime::Isolation::Plain;
        // There is nothing of that kind.
        if plain && milestone == Milestone::Numbered {
            continue;
        }
        dies_at(how, milestone).await;
    }
}

fn is_start(milestone: Milestone) -> bool {
    matches!(then(milestone), Then::Nothing)
}

#[tokio::test]
async fn f7_a_runtime_killed_at_any_point_of_a_dynos_start_leaves_what_the_next_one_adopts_or_removes() {
    for how in How::all() {
        dies_at_each(how, is_start).await;
    }
}

#[tokio::test]
async fn f7_a_runtime_killed_at_any_point_of_a_dynos_stop_or_adoption_leaves_what_the_next_one_adopts_or_removes()
 {
    for how in How::all() {
        dies_at_each(how, |milestone| !is_start(milestone)).await;
    }
}

#[tokio::test]
async fn f9_a_pid_that_belongs_to_another_process_now_is_refused_and_nobody_is_signalled() {
    for how in How::all() {
        let mut place = Place::new(how, "worker: exec sleep 600\n");
        place.start();
        let leader = place.leaders(1, "up").await[0];
        place.kill();
        // The dyno is gone, and its pid is that of another dyno's first process, which holds files as it did.
        let mut neighbour = Place::new(how, "worker: exec sleep 600\n");
        neighbour.start();
        let other = neighbour.leaders(1, "up").await[0];
        let others = [vec![other], crate::killed::below(other)].concat();
        place.rewrite(|record| record["leader"]["pid"] = other.into());
        for pid in crate::killed::below(leader).into_iter().chain([leader]) {
            let _gone = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
        let house = place.next(|_| {}).await;
        let mut log = deploy(&house, |_| {}).await;
        log.until("worker.1]: State changed from up to crashed").await;
        log.until("worker.1]: State changed from starting to up").await;
        house.close().await;
        assert!(others.len() == 2 && all_run(&others), "{how:?}: another process was killed");
        neighbour.kill();
        neighbour.next(|options| options.adopt = None).await.close().await;
    }
}

#[tokio::test]
async fn a_dyno_that_died_while_nobody_watched_loses_its_lease_at_once_and_starts_again() {
    for how in How::all() {
        let mut place = Place::new(how, "web: exec python3 -u -m http.server $PORT\n");
        place.start();
        let leader = place.leaders(1, "up").await[0];
        eventually("its lease is written down", || place.records()[0]["life"]["lease"].is_object()).await;
        place.kill();
        let lease = place.records()[0]["life"]["lease"]["id"].as_str().unwrap().to_owned();
        kill_process(Pid::from_raw(leader).unwrap(), Signal::KILL).unwrap();
        eventually("it is gone", || !crate::support::runs(leader)).await;
        let house = place.next(|_| {}).await;
        let mut log = deploy(&house, |_| {}).await;
        let gone = format!("deregister {lease}");
        eventually("deregistered", || house.ledger.told().contains(&gone)).await;
        log.until("web.1]: Process exited with status 137").await;
        log.until("web.1]: State changed from starting to up").await;
        house.close().await;
    }
}

#[tokio::test]
async fn a_record_of_a_version_nobody_knows_is_not_adopted_but_removed() {
    for how in How::all() {
        let mut place = Place::new(how, APP);
        place.start();
        let leaders = place.leaders(2, "up").await;
        place.kill();
        place.rewrite(|record| record["life"]["version"] = 99.into());
        let house = place.next(|_| {}).await;
        assert_eq!((house.runtime.waiting(), house.runtime.swept().dynos), (0, 2), "{how:?}");
        assert!(!leaders.iter().any(|pid| crate::support::runs(*pid)), "{how:?}");
        house.close().await;
    }
}
