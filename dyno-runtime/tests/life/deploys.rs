//! Deploys that have to prove themselves: with preboot, or a few dynos at a time.

use super::*;

/// The app as it runs, with another web command and more of its dynos, to be deployed with care.
fn another(house: &House, command: &str, formation: &str, how: Replacement) -> AppDefinition {
    let procfile = dyno_runtime::Procfile::parse(&format!("web: {command}\n")).unwrap();
    let mut app = AppDefinition::new(house.app.clone(), house.directory.path().to_owned(), procfile);
    app.formation = formation.parse().unwrap();
    app.replacement = how;
    app
}

const PREBOOT: Replacement = Replacement { preboot: true, at_once: None };
const FAILED: &str = "heroku[api]: Deploy failed: web.";

#[tokio::test]
async fn a_deploy_with_preboot_whose_dynos_do_not_come_up_leaves_the_old_definition_current() {
    for broken in ["exit 1", "sleep 600"] {
        let house = long_leases().await;
        let mut log = house.run(WEB, web(2)).await;
        let before = pids(&house, 2).await;
        registered(&house, 2).await;
        let mut app = another(&house, broken, "web=3", PREBOOT);
        app.times.boot = Duration::from_millis(300);
        house.runtime.deploy(app).await.unwrap();
        log.until(FAILED).await;
        let failed = log.with(FAILED);
        assert!(failed[0].ends_with(" did not come up; the release before it stays"), "{failed:?}");
        // The old ones are as they were, also in number, and none of the new ones is left.
        assert_eq!(pids(&house, 2).await, before, "{broken}");
        assert_eq!(house.runtime.formation(&house.app).await.unwrap().to_string(), "web=2");
        assert!(!house.ledger.told().iter().any(|told| told.starts_with("drain")));
        // What crashes later, or is restarted, is the old one again.
        kill(before[0]);
        log.until("status 137").await;
        registered(&house, 3).await;
        let crashed = pids(&house, 2).await;
        house.runtime.restart(&house.app, Which::All, Some(PREBOOT)).await.unwrap();
        registered(&house, 5).await;
        let after = pids(&house, 2).await;
        assert!(after.iter().all(|pid| !crashed.contains(pid)));
        let status = house.runtime.ps(&house.app).await.unwrap();
        assert!(status.iter().all(|dyno| dyno.command.contains("http.server")), "{status:?}");
        log.now();
        assert_eq!(log.with(FAILED).len(), 1, "{:#?}", log.seen);
        house.close().await;
    }
}

#[tokio::test]
async fn a_deploy_with_preboot_is_current_when_its_dynos_are_up() {
    let house = long_leases().await;
    let mut log = house.run(WEB, web(2)).await;
    let before = pids(&house, 2).await;
    registered(&house, 2).await;
    // Until then an old one that crashes comes back as it was, as long as no successor is under way.
    let held = "while [ ! -e go ]; do sleep 0.01; done; exec python3 -u -m http.server $PORT --bind 0.0.0.0";
    let one = Replacement { preboot: true, at_once: Some(1) };
    house.runtime.deploy(another(&house, held, "web=3", one)).await.unwrap();
    log.until("Starting process with command `while").await;
    let waits =
        if log.with("heroku[web.1]: Starting process with command `while").is_empty() { 0 } else { 1 };
    kill(before[waits]);
    log.until("status 137").await;
    registered(&house, 3).await;
    assert_eq!(log.with("Starting process with command `while").len(), 1, "{:#?}", log.seen);
    std::fs::write(house.directory.path().join("go"), "").unwrap();
    // Two in place of the old ones, and the third one, which only the new formation has.
    registered(&house, 6).await;
    let after = pids(&house, 3).await;
    let status = house.runtime.ps(&house.app).await.unwrap();
    assert!(status.iter().all(|dyno| dyno.command.contains("--bind")), "{status:?}");
    kill(after[0]);
    registered(&house, 7).await;
    pids(&house, 3).await;
    let status = house.runtime.ps(&house.app).await.unwrap();
    assert!(status.iter().all(|dyno| dyno.command.contains("--bind")), "{status:?}");
    house.close().await;
}

#[tokio::test]
async fn a_deploy_that_a_newer_one_follows_is_called_back_and_its_failure_stops_nothing() {
    for one_by_one in [None, Some(1)] {
        let how = Replacement { preboot: true, at_once: one_by_one };
        let house = long_leases().await;
        let mut log = house.run(WEB, web(2)).await;
        pids(&house, 2).await;
        registered(&house, 2).await;
        let fails = "while [ ! -e fail ]; do sleep 0.01; done; exit 1";
        house.runtime.deploy(another(&house, fails, "web=2", how)).await.unwrap();
        log.until("Starting process with command `while").await;
        let good = "exec python3 -u -m http.server $PORT --bind 0.0.0.0";
        house.runtime.deploy(another(&house, good, "web=3", how)).await.unwrap();
        std::fs::write(house.directory.path().join("fail"), "").unwrap();
        // Two in place of the old ones, and a third one when the deploy is current.
        registered(&house, 5).await;
        pids(&house, 3).await;
        let status = house.runtime.ps(&house.app).await.unwrap();
        assert!(status.iter().all(|dyno| dyno.command == good), "{status:?}");
        assert_eq!(house.runtime.formation(&house.app).await.unwrap().to_string(), "web=3");
        log.now();
        assert_eq!(log.with("did not come up"), Vec::<&str>::new());
        house.close().await;
    }
}

/// Lets no router be told before it is told so.
#[derive(Default)]
struct Unheard {
    heard: Arc<Notify>,
}

#[async_trait]
impl Drained for Unheard {
    async fn unrouted(&self, _: Draining) -> BoxFuture<'static, ()> {
        self.heard.notified().await;
        Box::pin(async {})
    }
}

#[tokio::test]
async fn a_successor_for_which_the_old_dyno_leaves_already_takes_its_place_or_dies_before_a_newer_deploy_has_its_turn()
 {
    for dies in [false, true] {
        let unheard = Arc::new(Unheard::default());
        let hook: Arc<Unheard> = Arc::clone(&unheard);
        let house = House::open(|options| {
            (options.drained, options.lease) = (hook, Duration::from_secs(3600));
        })
        .await;
        let mut log = house.run(WEB, web(1)).await;
        let old = pids(&house, 1).await[0];
        registered(&house, 1).await;
        let second = "exec python3 -u -m http.server $PORT --bind 127.0.0.1";
        house.runtime.deploy(another(&house, second, "web=1", PREBOOT)).await.unwrap();
        eventually("the old one leaves", || house.ledger.times("drain web.1") == 1).await;
        let third = "exec python3 -u -m http.server $PORT --bind 0.0.0.0";
        house.runtime.deploy(another(&house, third, "web=1", PREBOOT)).await.unwrap();
        if dies {
            let status = house.runtime.ps(&house.app).await.unwrap();
            let second = status.iter().find(|dyno| dyno.command == second).unwrap();
            assert_ne!(second.pid, Some(old));
            kill(second.pid.unwrap());
            log.until("State changed from starting to crashed").await;
        }
        // Whoever leaves from now on does so at once.
        let heard = async {
            loop {
                unheard.heard.notify_one();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let current = async {
            loop {
                let status = house.runtime.ps(&house.app).await.unwrap();
                if matches!(&status[..], [one] if one.command == third && one.phase == Phase::Up) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = async {
            tokio::select! { () = current => true, () = heard => false }
        };
        let in_time = tokio::time::timeout(LONG, in_time).await;
        log.now();
        assert_eq!(in_time, Ok(true), "{dies}: {:#?}", log.seen);
        let is_up = log.with("State changed from starting to up").len();
        assert_eq!(is_up, if dies { 2 } else { 3 }, "{:#?}", log.seen);
        unheard.heard.notify_one();
        house.close().await;
    }
}

#[tokio::test]
async fn a_rolling_deploy_that_fails_says_how_many_dynos_it_has_replaced_and_the_one_that_failed_comes_back()
{
    let house = long_leases().await;
    let mut log = house.run(WEB, web(3)).await;
    let before = pids(&house, 3).await;
    registered(&house, 3).await;
    let second = "test $DYNO != web.1 && exit 1; exec python3 -u -m http.server $PORT --bind 0.0.0.0";
    let one = Replacement { preboot: false, at_once: Some(1) };
    house.runtime.deploy(another(&house, second, "web=3", one)).await.unwrap();
    log.until(FAILED).await;
    let rest = "web.2 did not come up; the release before it stays; 1 other dynos are replaced already";
    assert_eq!(log.with(rest).len(), 1, "{:#?}", log.seen);
    registered(&house, 5).await;
    let after = pids(&house, 3).await;
    assert_eq!(after.iter().filter(|pid| before.contains(pid)).count(), 1, "web.3 is as it was");
    let status = house.runtime.ps(&house.app).await.unwrap();
    let new: Vec<_> = status.iter().map(|dyno| dyno.command.contains("--bind")).collect();
    assert_eq!(new, [true, false, false]);
    house.runtime.restart(&house.app, Which::All, None).await.unwrap();
    registered(&house, 8).await;
    pids(&house, 3).await;
    let status = house.runtime.ps(&house.app).await.unwrap();
    assert!(status.iter().all(|dyno| !dyno.command.contains("--bind")), "{status:?}");
    house.close().await;
}
