//! What happens when a step of a dyno's making fails: it is named, nothing is executed, nothing is left.

use dyno_runtime::init::InitStep;

use crate::{
    full, root,
    support::{House, LONG},
};

#[tokio::test]
async fn f39_each_step_that_fails_is_named_stops_the_spawn_and_leaves_nothing() {
    if !root() {
        return;
    }
    // Before it there are no orders, so that nothing could tell it to fail.
    for step in InitStep::ALL.into_iter().filter(|step| *step != InitStep::Spec) {
        let house = House::open(|options| {
            full(options);
            options.sandbox.fail = Some(step);
        })
        .await;
        let slow = dyno_runtime::RestartPolicy { base: LONG, ..Default::default() };
        let mut log = house.run("web: echo it ran", |app| app.restart = slow).await;
        log.until("to crashed").await;
        let error =
            format!("R99 (Platform error) -> the dyno could not {step}: Input/output error (os error 5)");
        assert!(log.with(&error).len() == 1, "{step:?}: {:#?}", log.seen);
        assert_eq!(log.with("app[web.1]"), Vec::<&str>::new(), "{step:?}");
        house.close().await;
    }
}

#[tokio::test]
async fn f6_an_app_without_a_directory_is_told_which_step_failed() {
    if !root() {
        return;
    }
    let house = House::open(full).await;
    let nowhere = house.directory.path().join("nowhere");
    let mut log = house.run("worker: true", |app| app.directory = nowhere).await;
    log.until("to crashed").await;
    let error = "could not attach its root directory: No such file or directory";
    assert!(log.seen[1].contains(error), "{:?}", log.seen);
    house.close().await;
}
