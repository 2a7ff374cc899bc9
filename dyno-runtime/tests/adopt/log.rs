//! What dynos write while nobody reads it, and how they end while nobody waits for it.

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    killed::{How, Place, all_run, below, deploy},
    support::{eventually, runs},
};

/// Writes numbered lines all the time; told to pause, it says where it is, and begins a line.
const WRITER: &str = r#"
import signal, sys
USR1, USR2 = signal.SIGUSR1, signal.SIGUSR2
signal.pthread_sigmask(signal.SIG_BLOCK, {USR1, USR2})
n = 0
while True:
    print("line", n, flush=True)
    n += 1
    if signal.sigtimedwait({USR1}, 0.003):
        print("paused at", n, flush=True)
        print("line", n, end=" in two", flush=True)
        n += 1
        signal.sigwait({USR2})
        print(" parts", flush=True)
        for n in range(n, n + BURST):
            print("line", n, flush=True)
        n += 1
"#;

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Waits until all that the dyno has written is taken from its pipe, but for this.
async fn taken_but(rest: &str, leader: i32) {
    let pipe = std::fs::File::open(format!("/proc/{leader}/fd/4")).unwrap();
    eventually("the pipe is empty", || rustix::io::ioctl_fionread(&pipe).unwrap() == rest.len() as u64).await;
}

/// The numbers of the lines in a log.
fn numbers(log: &[String]) -> Vec<u64> {
    let numbers = log.iter().filter_map(|line| line.strip_prefix("app[worker.1]: line "));
    numbers.map(|rest| rest.split(' ').next().unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn f8_no_line_is_lost_or_doubled_however_often_the_runtime_is_killed() {
    for how in How::all() {
        // More than passes in a moment, and less than a pipe holds.
        let mut place = Place::new(how, "worker: exec python3 -u writer.py\n");
        std::fs::write(place.directory.path().join("writer.py"), WRITER.replace("BURST", "3000")).unwrap();
        place.start();
        let leader = place.leaders(1, "up").await[0];
        place.logged("line 100").await;
        let writer = below(leader)[0];
        for round in 0..3 {
            signal(writer, Signal::USR1);
            place.logged("paused at").await;
            let paused = place.log(round).into_iter().find(|line| line.contains("paused at")).unwrap();
            let number = paused.rsplit_once(' ').unwrap().1;
            taken_but(&format!("line {number} in two"), leader).await;
            place.kill();
            assert!(all_run(&[leader, writer]), "{how:?} {round}");
            signal(writer, Signal::USR2);
            place.start();
            place.logged(" in two parts").await;
            let end = numbers(&place.log(round)).last().unwrap() + 3020;
            place.logged(&format!("line {end}")).await;
        }
        place.kill();
        let logs = place.logs();
        let all = numbers(&logs.concat());
        let expected: Vec<u64> = (0..all.len() as u64).collect();
        let wrong = all.iter().zip(&expected).find(|(is, should)| is != should);
        let errors: Vec<_> = logs.concat().into_iter().filter(|line| line.contains("Error L")).collect();
        assert_eq!(wrong, None, "{how:?} {errors:?}");
        let halves = logs.concat().iter().filter(|line| line.contains("in two")).count();
        let wholes = logs.concat().iter().filter(|line| line.ends_with("in two parts")).count();
        assert_eq!((halves, wholes), (3, 3), "{how:?}");
        assert!(!logs.concat().iter().any(|line| line.contains("Error L")), "{how:?}");
        assert!(runs(writer));
        place.next(|options| options.adopt = None).await.close().await;
    }
}

#[tokio::test]
async fn f8_killed_at_any_moment_each_runtimes_log_is_whole_and_in_order_and_the_app_notices_nothing() {
    for how in How::all() {
        let mut place = Place::new(how, "worker: exec python3 -u writer.py\n");
        std::fs::write(place.directory.path().join("writer.py"), WRITER).unwrap();
        place.start();
        let leader = place.leaders(1, "up").await[0];
        for round in 0..8 {
            let next = place.logs().iter().flat_map(|log| numbers(log)).max().unwrap_or(0) + 20 + 7 * round;
            place.logged(&format!("line {next}")).await;
            place.kill();
            place.start();
        }
        place.logged("line ").await;
        assert!(runs(leader), "{how:?}");
        place.kill();
        let mut before = None;
        for log in place.logs() {
            // What one had read and not shown yet went with it, and what it had shown may still have been in the pipe.
            let numbers = numbers(&log);
            let first = numbers.first().copied();
            assert!(first >= before, "{how:?}: {first:?} after {before:?}");
            let all = first.unwrap()..first.unwrap() + numbers.len() as u64;
            assert!(all.eq(numbers.iter().copied()), "{how:?}: {numbers:?}");
            before = first;
        }
        place.next(|options| options.adopt = None).await.close().await;
    }
}

#[tokio::test]
async fn f8_last_words_and_exit_status_wait_for_the_next_runtime() {
    for how in How::all() {
        let command = "worker: test -e again && exec sleep 600; echo begun; while [ ! -e end ]; do sleep 0.01; done; seq 2000; echo last >&2; touch again; exit 42\n";
        let mut place = Place::new(how, command);
        place.start();
        let leader = place.leaders(1, "up").await[0];
        place.logged("app[worker.1]: begun").await;
        taken_but("", leader).await;
        place.kill();
        let command = below(leader)[0];
        // Below its root, where it sees it.
        let end = format!("/proc/{command}/cwd/end");
        std::fs::write(end, "").unwrap();
        eventually("the command has ended", || !runs(command)).await;
        assert!(runs(leader), "{how:?}: somebody has to know how");
        // One that is killed before it has the app tells nobody.
        let house = place.next(|_| {}).await;
        let mut log = deploy(&house, |_| {}).await;
        log.until("worker.1]: Process exited with status 42").await;
        let numbers: Vec<String> = (1..=2000).map(|n| format!("app[worker.1]: {n}")).collect();
        let heard = log.with("app[worker.1]: ").into_iter();
        let heard: Vec<&str> = heard.filter(|line| !line.ends_with("last")).collect();
        let wrong = heard.iter().zip(&numbers).find(|(is, should)| is != should);
        assert_eq!((wrong, heard.len()), (None, 2000), "{how:?}");
        assert_eq!(log.with("app[worker.1]: last").len(), 1);
        log.until("State changed from up to crashed").await;
        log.until("State changed from crashed to starting").await;
        house.close().await;
    }
}
