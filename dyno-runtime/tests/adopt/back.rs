//! Dynos that go on.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::Command,
    time::{Duration, SystemTime},
};

use dyno_runtime::{DynoStatus, Phase, RuntimeError, Which};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    killed::{How, Place, all_run, below, definition, deploy, leader, records},
    support::{House, copy_program, eventually, runs, supervise},
};

const APP: &str = "web: exec python3 -u -m http.server $PORT\nworker: exec sleep 600\n";

#[tokio::test]
async fn when_a_runtime_is_killed_its_dynos_go_on_and_the_next_one_adopts_them() {
    for how in How::all() {
        let mut place = Place::new(how, APP);
        place.start();
        let leaders = place.leaders(2, "up").await;
        let all: Vec<i32> = leaders.iter().flat_map(|pid| [vec![*pid], below(*pid)].concat()).collect();
        let before = SystemTime::now();
        place.kill();
        assert!(all.len() == 4 && all_run(&all), "{how:?}: {all:?}");

        let house = place.next(|_| {}).await;
        assert_eq!((house.runtime.waiting(), house.runtime.swept().dynos), (2, 0), "{how:?}");
        let mut log = deploy(&house, |_| {}).await;
        eventually("registered", || house.ledger.told().contains(&"register web.1".into())).await;
        let status = house.runtime.ps(&house.app).await.unwrap();
        let mut pids: Vec<i32> = status.iter().filter_map(|dyno| dyno.pid).collect();
        pids.sort_unstable();
        let mut sorted = leaders.clone();
        sorted.sort_unstable();
        assert_eq!(pids, sorted, "{how:?}");
        assert!(status.iter().all(|dyno| dyno.phase == Phase::Up && dyno.since < before), "{status:?}");
        log.now();
        assert_eq!(log.with("Starting process"), Vec::<&str>::new(), "{how:?}");

        // It is a dyno like any other: it answers, and stops in order.
        let address = status[0].address.unwrap();
        tokio::net::TcpStream::connect(address).await.unwrap();
        house.runtime.scale(&house.app, vec!["web=0".parse().unwrap()]).await.unwrap();
        log.until("web.1]: Process exited with status 143").await;
        house.close().await;
        assert!(!all.iter().any(|pid| runs(*pid)), "{how:?}");
    }
}

#[tokio::test]
async fn a_dyno_that_nobody_wants_any_more_is_stopped_and_one_of_another_definition_is_replaced() {
    for how in How::all() {
        let mut place = Place::new(how, "a: exec sleep 600\nb: exec sleep 600\nc: exec sleep 600\n");
        place.start();
        let leaders = place.leaders(3, "up").await;
        place.kill();
        let command = "a: exec sleep 600\nb: exec sleep 601\n";
        fs::write(place.directory.path().join("Procfile"), command).unwrap();
        let house = place.next(|_| {}).await;
        let mut log = deploy(&house, |_| {}).await;
        log.until("c.1]: Process exited with status 143").await;
        log.until("b.1]: Process exited with status 143").await;
        log.until("b.1]: State changed from starting to up").await;
        let status = house.runtime.ps(&house.app).await.unwrap();
        let kept = status.iter().filter(|dyno| dyno.pid.is_some_and(|pid| leaders.contains(&pid)));
        let kept: Vec<String> = kept.map(|dyno| dyno.dyno.to_string()).collect();
        assert_eq!(kept, ["a.1"], "{how:?}");
        // Config vars count, though they are written down nowhere.
        let vars = [("PIN", "1234")].into_iter().collect();
        deploy(&house, |app| app.config_vars = vars).await;
        log.until("a.1]: Process exited with status 143").await;
        let text: String = records(house.state()).iter().map(ToString::to_string).collect();
        assert!(text.contains("fingerprint") && !text.contains("PIN") && !text.contains("1234"), "{text}");
        house.close().await;
    }
}

#[tokio::test]
async fn with_preboot_an_adopted_dyno_of_another_definition_serves_until_its_successor_is_up() {
    for how in How::all() {
        let mut place = Place::new(how, "web: exec python3 -u -m http.server $PORT\n");
        place.start();
        let old = place.leaders(1, "up").await[0];
        eventually("its lease is written down", || place.records()[0]["life"]["lease"].is_object()).await;
        place.kill();
        let held = "web: while [ ! -e go ]; do sleep 0.01; done; exec python3 -u -m http.server $PORT\n";
        fs::write(place.directory.path().join("Procfile"), held).unwrap();
        let house = place.next(|_| {}).await;
        let mut log = deploy(&house, |app| app.replacement.preboot = true).await;
        let mut status = vec![];
        let new = loop {
            status = house.runtime.ps(&house.app).await.unwrap();
            let new = status.iter().find(|dyno| dyno.phase == Phase::Starting).and_then(|dyno| dyno.pid);
            match new {
                Some(new) => break new,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        let serves = status.iter().find(|dyno| dyno.pid == Some(old) && dyno.phase == Phase::Up);
        let address = serves.and_then(|dyno| dyno.address);
        assert!(status.len() == 2 && address.is_some(), "{how:?}: {status:?}");
        tokio::net::TcpStream::connect(address.unwrap()).await.unwrap();
        log.now();
        assert_eq!(log.with("Restarting"), Vec::<&str>::new(), "{how:?}");
        // Below its root, where it sees it.
        fs::write(format!("/proc/{}/cwd/go", below(new)[0]), "").unwrap();
        log.until("State changed from starting to up").await;
        log.until("Process exited with status 143").await;
        eventually("the old one is gone", || !runs(old)).await;
        assert_eq!(house.ledger.times("drain web.1"), 1, "{how:?}: {:?}", house.ledger.told());
        house.close().await;
    }
}

#[tokio::test]
async fn a_dyno_that_began_to_accept_while_nobody_watched_is_up_also_after_its_boot_time() {
    for how in How::all() {
        let held = "web: while [ ! -e go ]; do sleep 0.01; done; exec python3 -u -m http.server $PORT\n";
        let mut place = Place::new(how, held);
        place.start();
        let leader = place.leaders(1, "starting").await[0];
        let address = place.records()[0]["life"]["address"].as_str().unwrap().to_owned();
        place.kill();
        fs::write(format!("/proc/{}/cwd/go", below(leader)[0]), "").unwrap();
        eventually("it accepts", || std::net::TcpStream::connect(&address).is_ok()).await;
        let house = place.next(|_| {}).await;
        let mut log = deploy(&house, |app| app.times.boot = Duration::from_millis(1)).await;
        log.until("web.1]: State changed from starting to ").await;
        assert_eq!(
            log.with("State changed"),
            ["heroku[web.1]: State changed from starting to up"],
            "{how:?}"
        );
        house.close().await;
    }
}

#[tokio::test]
async fn when_the_release_command_of_an_upgrade_fails_the_adopted_dynos_stay_and_can_be_left_to_the_next_runtime()
 {
    for how in How::all() {
        let mut place = Place::new(how, APP);
        place.start();
        let mut leaders = place.leaders(2, "up").await;
        leaders.sort_unstable();
        place.kill();
        let broken = "release: while [ ! -e go ]; do sleep 0.01; done; exit 1\n";
        fs::write(place.directory.path().join("Procfile"), format!("{APP}{broken}")).unwrap();
        let house = place.next(|_| {}).await;
        let upgrade = house.runtime.deploy(definition(house.directory.path()));
        let release = async {
            let release = running(&house, "release").await;
            // Who only looks changes nothing, and there is no formation yet.
            assert_eq!(house.runtime.formation(&house.app).await.unwrap().to_string(), "", "{how:?}");
            let scaled = house.runtime.scale(&house.app, vec!["web=3".parse().unwrap()]).await;
            assert!(matches!(scaled, Err(RuntimeError::UnknownApp(_))), "{how:?}: {scaled:?}");
            let restarted = house.runtime.restart(&house.app, Which::All, None).await;
            assert!(matches!(restarted, Err(RuntimeError::UnknownApp(_))), "{how:?}: {restarted:?}");
            fs::write(format!("/proc/{}/cwd/go", below(release)[0]), "").unwrap();
        };
        let (refused, ()) = tokio::join!(upgrade, release);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("failed with status 1; nothing was changed"), "{how:?}: {refused}");
        let status = house.runtime.ps(&house.app).await.unwrap();
        let is_as_before =
            |dyno: &DynoStatus| dyno.phase == Phase::Up && dyno.pid.is_some_and(|pid| leaders.contains(&pid));
        assert!(status.len() == 2 && status.iter().all(is_as_before), "{how:?}: {status:?}");
        eventually("registered", || house.ledger.told().contains(&"register web.1".into())).await;

        let ledger = std::sync::Arc::clone(&house.ledger);
        let house = house.next(|options| how.apply(options)).await;
        assert!(!ledger.told().iter().any(|told| told.starts_with("d")), "{how:?}: {:?}", ledger.told());
        assert_eq!((house.runtime.waiting(), house.runtime.swept().dynos), (2, 0), "{how:?}");
        fs::write(house.directory.path().join("Procfile"), APP).unwrap();
        deploy(&house, |_| {}).await;
        let status = house.runtime.ps(&house.app).await.unwrap();
        let mut pids: Vec<i32> = status.iter().filter_map(|dyno| dyno.pid).collect();
        pids.sort_unstable();
        assert_eq!(pids, leaders, "{how:?}");
        tokio::net::TcpStream::connect(status[0].address.unwrap()).await.unwrap();
        house.close().await;
    }
}

/// The process of a dyno of that type, when there is one.
async fn running(house: &House, process_type: &str) -> i32 {
    loop {
        let status = house.runtime.ps(&house.app).await.unwrap_or_default();
        let found = status.iter().find(|dyno| dyno.dyno.process_type.as_str() == process_type);
        if let Some(pid) = found.filter(|dyno| dyno.phase == Phase::Up).and_then(|dyno| dyno.pid) {
            return pid;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn dynos_of_an_app_that_is_not_deployed_again_are_removed_in_time() {
    for how in How::all() {
        let mut place = Place::new(how, APP);
        place.start();
        let leaders = place.leaders(2, "up").await;
        place.kill();
        let house = place.next(|options| options.adopt = Some(Duration::from_millis(100))).await;
        eventually("they are gone", || !leaders.iter().any(|pid| runs(*pid))).await;
        eventually("nothing is written down", || records(house.state()).is_empty()).await;
        house.close().await;
    }
}

#[tokio::test]
async fn a_runtime_that_is_told_not_to_adopt_removes_them_first_and_one_that_ends_takes_them_with_it() {
    for how in How::all() {
        for adopt in [None, Some(Duration::from_secs(600))] {
            let mut place = Place::new(how, APP);
            place.start();
            let leaders = place.leaders(2, "up").await;
            let all: Vec<i32> = leaders.iter().flat_map(|pid| [vec![*pid], below(*pid)].concat()).collect();
            place.kill();
            let house = place.next(|options| options.adopt = adopt).await;
            assert_eq!(house.runtime.waiting(), if adopt.is_some() { 2 } else { 0 });
            assert_eq!(house.runtime.swept().dynos, if adopt.is_some() { 0 } else { 2 });
            house.close().await;
            assert!(!all.iter().any(|pid| runs(*pid)), "{how:?} {adopt:?}");
        }
    }
}

#[tokio::test]
async fn somebody_who_is_not_root_adopts_dynos_too() {
    for level in ["user", "plain"] {
        let place = tempfile::tempdir().unwrap();
        let (app, state) = (place.path().join("app"), place.path().join("state"));
        for directory in [place.path(), &app, &state] {
            fs::create_dir_all(directory).unwrap();
            fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).unwrap();
        }
        fs::write(app.join("Procfile"), "worker: echo begun; exec sleep 600\n").unwrap();
        let program = place.path().join("supervise");
        copy_program(supervise(), &program);
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            std::os::unix::fs::chown(&state, Some(65534), Some(65534)).unwrap();
        }
        let instance = format!("test-adopt-{level}-{}", std::process::id());
        let log = |nth: u32| fs::read_to_string(place.path().join(format!("log.{nth}"))).unwrap_or_default();
        let start = |nth: u32| {
            let mut command = Command::new(&program);
            if is_root {
                command.uid(65534).gid(65534);
            }
            command.args([app.as_os_str(), state.as_os_str(), "off".as_ref(), instance.as_ref()]);
            command.args([level, "host"]).current_dir("/");
            command
                .stdout(fs::File::create(place.path().join(format!("log.{nth}"))).unwrap())
                .spawn()
                .unwrap()
        };
        let up = || records(&state).iter().any(|record| record["life"]["stage"] == "up");

        let mut first = start(1);
        eventually("it is up and heard", || up() && log(1).contains("]: begun\n")).await;
        let first_process = leader(&records(&state)[0]).unwrap();
        first.kill().unwrap();
        first.wait().unwrap();
        assert!(runs(first_process), "{level}");
        let mut second = start(2);
        eventually("the second one is there", || log(2).contains("swept 0 dynos")).await;
        kill_process(Pid::from_child(&second), Signal::TERM).unwrap();
        second.wait().unwrap();
        let said = log(2);
        assert!(said.contains("]: Process exited with status 143"), "{level}: {said}");
        assert!(!said.contains("Starting process"), "{level}: {said}");
        assert!(!runs(first_process) && records(&state).is_empty(), "{level}");
    }
}
