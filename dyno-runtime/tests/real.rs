//! Dynos as real processes, in real control groups where these can be made.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test says what it needs by failing, and why it was skipped by printing"
)]

use std::{fs, path::Path, process::Stdio, sync::Arc, time::Duration};

use async_trait::async_trait;
use busbar_registry::{Bounds, Memory};
use dyno_runtime::{
    AppDefinition, ConfigVars, Drained, Draining, Enforcement, InitProgram, Limits, Phase, RestartPolicy,
    Runtime, RuntimeOptions, Times, Which, logs,
};
use futures_util::future::BoxFuture;
use support::{House, LONG, both_modes, cgroups_work, eventually, pid_in, runs, supervise};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Notify, Semaphore},
};

#[path = "support/house.rs"]
mod support;

/// A web server that needs nothing but Python.
const WEB: &str = "web: exec python3 -u -m http.server $PORT";

fn soon() -> Times {
    Times { boot: LONG, drain: LONG, exit: Duration::from_millis(300), ..Times::default() }
}

#[tokio::test]
async fn a_web_dyno_starts_registers_drains_and_stops_in_order() {
    for mode in both_modes() {
        let house = House::open(|options| options.cgroups = mode).await;
        let mut log = house.run(WEB, |_| {}).await;
        log.until("to up").await;
        eventually("registered", || house.ledger.told().contains(&"register web.1".into())).await;
        let status = house.runtime.ps(&house.app).await.unwrap();
        assert_eq!((status.len(), status[0].phase, status[0].crashes), (1, Phase::Up, 0));

        house.runtime.scale(&house.app, vec!["web=0".parse().unwrap()]).await.unwrap();
        log.until("exited").await;
        let platform: Vec<&str> = log.with("heroku[web.1]");
        assert_eq!(
            platform,
            [
                "heroku[web.1]: Starting process with command `exec python3 -u -m http.server $PORT`",
                "heroku[web.1]: State changed from starting to up",
                "heroku[web.1]: State changed from up to down",
                "heroku[web.1]: Stopping all processes with SIGTERM",
                "heroku[web.1]: Process exited with status 143",
            ],
        );
        eventually("deregistered", || house.ledger.told().contains(&"deregister web.1".into())).await;
        let (web, dyno): (Vec<String>, Vec<String>) =
            house.ledger.told().into_iter().partition(|told| told.starts_with("web"));
        assert_eq!(dyno, ["register web.1", "drain web.1", "deregister web.1"]);
        assert_eq!(web, ["web 1/1/0", "web 1/0/0", "web 0/0/0"]);
        let place = |what: &str| house.ledger.told().iter().position(|told| told == what);
        assert!(
            place("register web.1") < place("web 1/0/0"),
            "a router always sees that it starts or that it is there"
        );
        house.close().await;
    }
}

struct Gate {
    asked: Notify,
    open: Arc<Semaphore>,
}

#[async_trait]
impl Drained for Gate {
    async fn unrouted(&self, _: Draining) -> BoxFuture<'static, ()> {
        self.asked.notify_one();
        let open = Arc::clone(&self.open);
        Box::pin(async move { open.acquire().await.unwrap().forget() })
    }
}

#[tokio::test]
async fn a_dyno_with_requests_in_flight_gets_no_sigterm_before_they_are_answered() {
    let gate = Arc::new(Gate { asked: Notify::new(), open: Arc::new(Semaphore::new(0)) });
    let hook: Arc<Gate> = Arc::clone(&gate);
    let house = House::open(|options| options.drained = hook).await;
    let mut log = house.run(&format!("{WEB}\nworker: sleep 600"), |_| {}).await;
    log.until_nth(2, "to up").await;
    eventually("registered", || house.ledger.told().contains(&"register web.1".into())).await;
    let shutdown = async {
        gate.asked.notified().await;
        log.now();
        assert_eq!(log.with("SIGTERM"), Vec::<&str>::new());
        assert!(house.ledger.told().iter().all(|told| !told.starts_with("deregister")));
        gate.open.add_permits(1);
    };
    let ((), ()) = tokio::join!(house.runtime.shutdown(), shutdown);
    log.until_nth(2, "exited").await;
    let terms = log.with("SIGTERM");
    assert!(terms[0].contains("web.1") && terms[1].contains("worker.1"), "{terms:?}");
    house.close().await;
}

#[tokio::test]
async fn a_process_that_ignores_sigterm_is_killed_and_the_log_says_r12() {
    for mode in both_modes() {
        let house = House::open(|options| options.cgroups = mode).await;
        let stubborn = "worker: trap '' TERM; echo ready; while :; do sleep 0.05; done";
        let mut log = house.run(stubborn, |app| app.times = soon()).await;
        log.until("app[worker.1]: ready").await;
        house.runtime.scale(&house.app, vec!["worker=0".parse().unwrap()]).await.unwrap();
        log.until("exited").await;
        let end = log.seen.len() - 3;
        assert_eq!(
            log.seen[end..],
            [
                "heroku[worker.1]: Error R12 (Exit timeout) -> At least one process failed to exit within 0.3 seconds of SIGTERM",
                "heroku[worker.1]: Stopping process with SIGKILL",
                "heroku[worker.1]: Process exited with status 137",
            ]
        );
        house.close().await;
    }
}

#[tokio::test]
async fn exit_statuses_are_exact_and_each_is_a_crash() {
    let house = House::open(|_| {}).await;
    let procfile = "zero: exit 0\nthree: exit 3\nkilled: kill -9 $$\nterm: kill -15 $$";
    let slow = RestartPolicy { base: LONG, ..RestartPolicy::default() };
    let mut log = house.run(procfile, |app| app.restart = slow).await;
    // Once at first, and once again at once.
    log.until_nth(8, "to crashed").await;
    for (dyno, status) in [("zero.1", 0), ("three.1", 3), ("killed.1", 137), ("term.1", 143)] {
        let line = format!("heroku[{dyno}]: Process exited with status {status}");
        assert_eq!(log.with(&line).len(), 2, "{line}: {:#?}", log.seen);
    }
    assert_eq!(log.with("State changed from crashed to starting").len(), 4);
    let mut crashes = vec![];
    while crashes != [2, 2, 2, 2] {
        crashes = house.runtime.ps(&house.app).await.unwrap().iter().map(|dyno| dyno.crashes).collect();
        assert!(crashes.iter().all(|crashes| *crashes <= 2), "{crashes:?}");
    }
    house.close().await;
}

#[tokio::test]
async fn a_dyno_that_crashed_comes_back() {
    let house = House::open(|_| {}).await;
    let mut log = house.run("worker: test -e once && exec sleep 600; touch once; exit 1", |_| {}).await;
    log.until_nth(2, "State changed from starting to up").await;
    let status = house.runtime.ps(&house.app).await.unwrap();
    assert_eq!((status[0].phase, status[0].crashes), (Phase::Up, 1));
    assert_eq!(status[0].last_exit.map(|exit| exit.to_string()).as_deref(), Some("1"));
    house.close().await;
}

#[tokio::test]
async fn a_port_that_is_never_bound_is_r10_and_the_crash_is_reported() {
    for mode in both_modes() {
        let house = House::open(|options| options.cgroups = mode).await;
        let slow = RestartPolicy { base: LONG, ..RestartPolicy::default() };
        let boot = Duration::from_millis(200);
        let mut log = house
            .run("web: exec sleep 600", |app| {
                app.restart = slow;
                app.times.boot = boot;
            })
            .await;
        log.until_nth(2, "to crashed").await;
        let first: Vec<&str> = log.seen.iter().skip(1).take(4).map(String::as_str).collect();
        assert_eq!(
            first,
            [
                "heroku[web.1]: Error R10 (Boot timeout) -> Web process failed to bind to $PORT within 0.2 seconds of launch",
                "heroku[web.1]: Stopping process with SIGKILL",
                "heroku[web.1]: Process exited with status 137",
                "heroku[web.1]: State changed from starting to crashed",
            ]
        );
        eventually("H10", || house.ledger.told().last().is_some_and(|told| told == "web 1/0/1")).await;
        house.close().await;
    }
}

#[tokio::test]
async fn a_crash_while_it_boots_is_reported_at_once() {
    let house = House::open(|_| {}).await;
    let mut log = house.run("web: exit 7", |app| app.times.boot = Duration::from_secs(3600)).await;
    log.until("State changed from starting to crashed").await;
    assert_eq!(log.with("R10"), Vec::<&str>::new());
    house.close().await;
}

#[tokio::test]
async fn what_left_the_session_is_gone_after_the_stop() {
    for mode in both_modes() {
        let house = House::open(|options| options.cgroups = mode).await;
        // Twice forked, a session of its own, deaf to SIGTERM; with a group not even its environment is needed.
        let environment = if mode == Enforcement::Off { "" } else { "env -i " };
        let daemon = format!(
            "worker: ({environment}setsid /bin/sh -c 'trap \"\" TERM; echo $$ > daemon; while :; do /bin/sleep 0.05; done' &) ; exec sleep 600"
        );
        house.run(&daemon, |app| app.times = soon()).await;
        let daemon = house.pid_in("daemon").await;
        assert!(runs(daemon));
        house.runtime.stop_app(&house.app).await.unwrap();
        assert!(!runs(daemon), "{mode:?}");
        house.close().await;
    }
}

#[tokio::test]
async fn what_a_crashed_process_leaves_behind_is_killed() {
    for mode in both_modes() {
        let house = House::open(|options| options.cgroups = mode).await;
        let slow = RestartPolicy { base: LONG, ..RestartPolicy::default() };
        let leave = "worker: test -e left && exec sleep 600; sleep 600 & echo $! > left; exit 1";
        let mut log = house.run(leave, |app| app.restart = slow).await;
        log.until("to crashed").await;
        assert!(!runs(house.pid_in("left").await), "{mode:?}");
        house.close().await;
    }
}

#[tokio::test]
async fn after_kill_9_of_a_runtime_the_next_one_leaves_no_orphan_if_it_is_to_adopt_none() {
    let directory = tempfile::tempdir().unwrap();
    let orphan = "sleep 600 & echo $! > $DYNO.child; setsid sleep 600 & echo $! > $DYNO.other; echo $$ > $DYNO.self; wait";
    fs::write(directory.path().join("Procfile"), format!("one: {orphan}\ntwo: {orphan}\n")).unwrap();
    for mode in both_modes() {
        let state = tempfile::tempdir().unwrap();
        let instance = format!("test-sweep-{}", std::process::id());
        let word = if mode == Enforcement::Off { "off" } else { "best-effort" };
        let mut supervisor = std::process::Command::new(supervise())
            .args([directory.path(), state.path(), word.as_ref(), instance.as_ref()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut pids = vec![];
        for file in ["one.1.child", "one.1.other", "one.1.self", "two.1.child", "two.1.other", "two.1.self"] {
            let file = directory.path().join(file);
            pids.push(pid_in(&file).await);
            fs::remove_file(file).unwrap();
        }
        supervisor.kill().unwrap();
        supervisor.wait().unwrap();
        assert!(pids.iter().all(|pid| runs(*pid)), "they outlive it: {mode:?}");
        let records = fs::read_dir(state.path().join("dynos")).unwrap().map(|entry| entry.unwrap().path());
        let records: String = records.map(|path| fs::read_to_string(path).unwrap()).collect();
        assert_eq!(records.contains("/sys/fs/cgroup"), mode != Enforcement::Off, "{records}");

        let options = RuntimeOptions {
            instance,
            state_directory: Some(state.path().to_owned()),
            cgroups: mode,
            adopt: None,
            ..RuntimeOptions::default()
        };
        let next = Runtime::start(options, Memory::start(Bounds::default())).await.unwrap();
        assert_eq!((next.swept().dynos, next.swept().stuck), (2, 0));
        assert!(!pids.iter().any(|pid| runs(*pid)), "{mode:?}");
        for group in records.split('"').filter(|part| part.starts_with("/sys/fs/cgroup")) {
            assert!(!fs::exists(group).unwrap(), "{group}");
        }
        assert_eq!(fs::read_dir(state.path().join("dynos")).unwrap().count(), 0);
        next.shutdown().await;
    }
}

#[tokio::test]
async fn a_flood_of_output_neither_fills_memory_nor_blocks_the_dyno() {
    let house = House::open(|_| {}).await;
    let slow = RestartPolicy { base: LONG, ..RestartPolicy::default() };
    let flood = "worker: yes flood | head -c 20000000; head -c 1000000 /dev/zero; echo; echo done >&2";
    // A tail that nobody reads must not be in the way either.
    let mut log = house.run(flood, |app| app.restart = slow).await;
    let (_, _unread) = house.runtime.logs(&house.app, 0).unwrap();
    log.until("Process exited with status 0").await;
    let (history, _) = house.runtime.logs(&house.app, usize::MAX).unwrap();
    assert!(history.len() <= logs::HISTORY);
    assert!(history.iter().all(|line| line.text.len() <= logs::MAX_LINE));
    house.close().await;
}

#[tokio::test]
async fn a_step_that_fails_is_named_and_nothing_is_left() {
    let house = House::open(|_| {}).await;
    let nowhere = house.directory.path().join("nowhere");
    let mut log = house.run("worker: true", |app| app.directory = nowhere).await;
    log.until("to crashed").await;
    assert_eq!(
        log.seen[1],
        "heroku[worker.1]: Error R99 (Platform error) -> the dyno could not change to the app's directory: \
         No such file or directory (os error 2)"
    );
    house.close().await;
}

#[tokio::test]
async fn a_program_that_is_no_dyno_init_is_named() {
    for (program, said) in [
        (
            "/no/such/program",
            "cannot start /no/such/program as dyno-init: No such file or directory (os error 2)",
        ),
        ("/bin/true", "/bin/true did not answer as dyno-init"),
    ] {
        let init = InitProgram { program: program.into(), arguments: vec![] };
        let house = House::open(|options| options.init = init).await;
        let mut log = house.run("worker: true", |_| {}).await;
        log.until("to crashed").await;
        assert!(log.seen[1].contains(said), "{:?}", log.seen);
        house.close().await;
    }
}

#[tokio::test]
async fn config_vars_too_large_for_the_system_are_an_error_that_does_not_show_them() {
    let house = House::open(|_| {}).await;
    let huge = ConfigVars::from_iter([("HUGE", "hunter2".repeat(1 << 20))]);
    let mut log = house.run("worker: true", |app| app.config_vars = huge).await;
    log.until("to crashed").await;
    assert!(
        log.seen[1].contains("Argument list too long") && !log.seen[1].contains("hunter2"),
        "{}",
        log.seen[1].len()
    );
    house.close().await;
}

#[tokio::test]
async fn a_launch_that_takes_too_long_leaves_no_process_that_goes_on_later() {
    let directory = tempfile::tempdir().unwrap();
    let pids = ["first", "second"].map(|name| directory.path().join(name));
    // A first process that never answers, and one below it that has no mark.
    let script = format!(
        "test -e {0} && exit; echo $$ > {0}; sleep 60 & echo $! > {1}; wait",
        pids[0].display(),
        pids[1].display()
    );
    let house = House::open(|options| {
        options.cgroups = Enforcement::Off;
        options.init.program = "/usr/bin/setsid".into();
        options.init.arguments = ["sh", "-c", &script].map(Into::into).into();
    })
    .await;
    let slow = RestartPolicy { base: LONG, ..RestartPolicy::default() };
    let mut log = house.run("worker: true", |app| app.restart = slow).await;
    log.until("did not answer as dyno-init").await;
    for file in pids {
        let pid = pid_in(&file).await;
        assert!(!runs(pid), "{} runs on", file.display());
    }
    house.close().await;
}

#[tokio::test]
async fn a_dyno_has_its_environment_and_three_files() {
    let house = House::open(|_| {}).await;
    // Without close-on-exec, as a shell or a careless program leaves them.
    let _leaks = [(); 5].map(|()| rustix::io::dup(std::io::stderr()).unwrap());
    let vars = ConfigVars::from_iter([("GREETING", "hello world"), ("DYNO", "mine"), ("PORT", "1")]);
    let look = "web: echo \"$GREETING|$DYNO|$PORT\"; for n in {3..64}; do test -e /proc/$$/fd/$n && echo open $n; done; \
                readlink /proc/$$/fd/0; grep NoNewPrivs /proc/$$/status; ulimit -c; exec python3 -m http.server $PORT";
    let mut log = house.run(look, |app| app.config_vars = vars).await;
    log.until("starting to up").await;
    let port = house.runtime.ps(&house.app).await.unwrap()[0].address.unwrap().port();
    let wrote: Vec<&str> = log.with("app[web.1]");
    let first = format!("app[web.1]: hello world|web.1|{port}");
    let expected = [&first, "app[web.1]: /dev/null", "app[web.1]: NoNewPrivs:\t1", "app[web.1]: 0"];
    assert_eq!(wrote[..4], expected);
    house.close().await;
}

#[tokio::test]
async fn scaling_and_restarting_change_just_those_dynos() {
    let house = House::open(|_| {}).await;
    let mut log = house.run("a: exec sleep 600\nb: exec sleep 600", |_| {}).await;
    log.until_nth(2, "to up").await;
    let scaled = house.runtime.scale(&house.app, vec!["a+2".parse().unwrap()]).await.unwrap();
    assert_eq!(scaled.to_string(), "a=3 b=1");
    log.until_nth(4, "to up").await;
    let pids = |status: Vec<dyno_runtime::DynoStatus>| -> Vec<(String, Option<i32>)> {
        status.into_iter().map(|dyno| (dyno.dyno.to_string(), dyno.pid)).collect()
    };
    let before = pids(house.runtime.ps(&house.app).await.unwrap());

    house.runtime.restart(&house.app, Which::Dyno("a.2".parse().unwrap()), None).await.unwrap();
    log.until_nth(5, "starting to up").await;
    log.until("exited").await;
    assert_eq!(log.with("a.2]: Restarting").len(), 1);
    house.runtime.scale(&house.app, vec!["a=2".parse().unwrap()]).await.unwrap();
    log.until_nth(2, "exited").await;
    assert!(log.with("exited")[1].contains("a.3"), "{:?}", log.with("exited"));

    let mut after = vec![];
    let deadline = tokio::time::Instant::now() + LONG;
    while after.len() != 3 {
        assert!(tokio::time::Instant::now() < deadline);
        after = pids(house.runtime.ps(&house.app).await.unwrap());
        tokio::task::yield_now().await;
    }
    let same = |name: &str| {
        let of = |list: &[(String, Option<i32>)]| list.iter().find(|(dyno, _)| dyno == name).unwrap().1;
        of(&before) == of(&after)
    };
    assert_eq!([same("a.1"), same("a.2"), same("b.1")], [true, false, true]);
    let none = Which::Type("c".parse().unwrap());
    assert!(house.runtime.restart(&house.app, none, None).await.is_err());
    house.close().await;
}

#[tokio::test]
async fn a_dyno_over_its_memory_limit_is_killed_and_the_log_says_r15() {
    if !cgroups_work() {
        return;
    }
    let house = House::open(|options| options.cgroups = Enforcement::Required).await;
    let slow = RestartPolicy { base: LONG, ..RestartPolicy::default() };
    let eat = "worker: exec python3 -c 'x = bytearray(300 << 20); print(len(x))'";
    let mut log = house
        .run(eat, |app| {
            app.restart = slow;
            app.limits = Limits { memory: Some(64 << 20), pids: Some(64), ..Limits::default() };
        })
        .await;
    log.until("to crashed").await;
    let ends = [log.with("R15").len(), log.with("status 137").len(), log.with("app[worker.1]").len()];
    assert_eq!(ends, [1, 1, 0], "{:?}", log.seen);
    house.close().await;
}

#[tokio::test]
async fn a_fork_bomb_is_held_and_killed() {
    if !cgroups_work() {
        return;
    }
    let house = House::open(|options| options.cgroups = Enforcement::Required).await;
    let bomb = "worker: bomb() { bomb 2>/dev/null | bomb 2>/dev/null & }; bomb; exec sleep 600";
    let limits = Limits { pids: Some(64), ..Limits::default() };
    let mut log = house
        .run(bomb, |app| {
            app.limits = limits;
            app.times = soon();
        })
        .await;
    log.until("to up").await;
    house.close().await;
}

#[tokio::test]
async fn the_hello_example_answers_what_it_has_accepted_and_exits_with_0() {
    let hello = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/hello");
    let example = AppDefinition::from_directory("shop".parse().unwrap(), &hello).unwrap();
    assert_eq!(example.formation.to_string(), "web=2 worker=1");
    let house = House::open(|_| {}).await;
    let mut log = house.run("web: true", |app| *app = example).await;
    log.until_nth(3, "starting to up").await;
    log.until("worker.1 works").await;
    let port = house.runtime.ps(&house.app).await.unwrap()[0].address.unwrap().port();

    let mut request = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    request.write_all(b"GET /?sleep=0.5 HTTP/1.1\r\nHost: hello\r\nX-Request-Id: abc\r\n\r\n").await.unwrap();
    // An idle connection must not be in the way.
    let _idle = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    log.until("thinking").await;
    house.runtime.stop_app(&house.app).await.unwrap();
    let mut answer = String::new();
    request.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("200 OK") && answer.ends_with("Hello from web.1\n"), "{answer}");
    log.until_nth(3, "exited with status 0").await;
    assert_eq!(log.with("GET /?sleep=0.5 request_id=abc").len(), 1);
    assert_eq!(log.with("R12"), Vec::<&str>::new());
    house.close().await;
}
