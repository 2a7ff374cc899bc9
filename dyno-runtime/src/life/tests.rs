use proptest::prelude::*;

use super::*;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Feeds the inputs, returns the end and all effects.
fn live(web: bool, inputs: &[(u64, Input)]) -> (Life, Vec<Effect>) {
    inputs.iter().fold((Life::created(web, Times::default()), vec![]), |(life, mut all), (at, input)| {
        let (life, effects) = life.on(secs(*at), *input);
        all.extend(effects);
        (life, all)
    })
}

fn said(effects: &[Effect]) -> Vec<String> {
    let said = |effect: &Effect| match effect {
        Effect::Say(say) => Some(say.to_string()),
        _ => None,
    };
    effects.iter().filter_map(said).collect()
}

#[test]
fn a_worker_is_up_as_soon_as_it_runs() {
    let (life, effects) = live(false, &[(0, Input::Launched)]);
    assert_eq!(life.phase(), Phase::Up);
    assert_eq!(said(&effects), ["State changed from starting to up"]);
}

#[test]
fn a_web_dyno_is_registered_when_its_port_accepts() {
    let (life, effects) = live(true, &[(0, Input::Launched), (3, Input::Accepting)]);
    assert_eq!(life.phase(), Phase::Up);
    assert_eq!(effects, [Effect::Probe, changed(Phase::Starting, Phase::Up), Effect::Register]);
}

#[test]
fn a_port_that_does_not_accept_within_60_seconds_is_r10_and_sigkill() {
    let (life, _) = live(true, &[(0, Input::Launched)]);
    assert_eq!(life.wake(), Some(secs(60)));
    let killed = Input::Exited(Exit::Signal(9));
    let (life, effects) = live(
        true,
        &[(0, Input::Launched), (59, Input::Time), (60, Input::Time), (60, killed), (60, Input::Empty)],
    );
    assert_eq!((life.phase(), life.has_ended()), (Phase::Crashed, true));
    assert_eq!(
        said(&effects),
        [
            "Error R10 (Boot timeout) -> Web process failed to bind to $PORT within 60 seconds of launch",
            "Stopping process with SIGKILL",
            "Process exited with status 137",
            "State changed from starting to crashed",
        ]
    );
}

#[test]
fn one_that_nobody_watched_when_its_boot_time_ended_is_asked_before_it_is_r10() {
    for (age, until) in [(10, 60), (59, 64), (3600, 3605)] {
        let (life, effects) = Life::adopted(true, Times::default(), Stage::Starting, secs(0), secs(age));
        assert_eq!((life.wake(), &effects[..]), (Some(secs(until)), &[Effect::Probe][..]));
        let (up, _) = life.on(secs(age), Input::Time).0.on(secs(age), Input::Accepting);
        assert_eq!(up.phase(), Phase::Up);
        assert_eq!(
            life.on(secs(until), Input::Time).0.on(secs(until), Input::Empty).0.phase(),
            Phase::Crashed
        );
    }
}

#[test]
fn a_stop_drains_deregisters_terminates_and_waits_for_every_process() {
    let stop = Input::Stop(Why::Down);
    let start = [(0, Input::Launched), (1, Input::Accepting), (9, stop)];
    let (life, effects) = live(true, &start);
    assert_eq!((life.phase(), life.is_draining()), (Phase::Stopping, true));
    assert_eq!(effects.last(), Some(&Effect::Drain));

    let exited = Input::Exited(Exit::Code(0));
    let rest = [(10, Input::Left), (11, exited)];
    let (life, effects) = live(true, &[&start[..], &rest].concat());
    assert!(!life.has_ended(), "another process may still be at work");
    let tail = [
        Effect::Deregister,
        changed(Phase::Up, Phase::Down),
        Effect::Say(Say::Terminating),
        Effect::Terminate,
        Effect::Say(Say::Exited(Exit::Code(0))),
        Effect::AwaitEmpty,
    ];
    assert_eq!(effects[effects.len() - tail.len()..], tail);
    assert_eq!(life.on(secs(12), Input::Empty).0.phase(), Phase::Down);
}

#[test]
fn requests_that_do_not_end_within_30_seconds_do_not_stop_the_stop() {
    let inputs =
        [(0, Input::Launched), (1, Input::Accepting), (9, Input::Stop(Why::Down)), (39, Input::Time)];
    let (_, effects) = live(true, &inputs);
    assert!(effects.ends_with(&[Effect::Terminate]));
}

#[test]
fn a_process_that_ignores_sigterm_for_30_seconds_is_r12_and_sigkill() {
    let stopped = [(0, Input::Launched), (9, Input::Stop(Why::Down)), (38, Input::Time), (39, Input::Time)];
    let (life, effects) = live(false, &stopped);
    assert_eq!(
        said(&effects)[1..],
        [
            "State changed from up to down",
            "Stopping all processes with SIGTERM",
            "Error R12 (Exit timeout) -> At least one process failed to exit within 30 seconds of SIGTERM",
            "Stopping process with SIGKILL",
        ]
    );
    assert_eq!((effects.last(), life.wake()), (Some(&Effect::Kill), None));
}

#[test]
fn a_crash_is_deregistered_before_anything_else_and_its_rest_is_killed() {
    let inputs = [(0, Input::Launched), (1, Input::Accepting), (9, Input::Exited(Exit::Code(0)))];
    let (life, effects) = live(true, &inputs);
    let tail =
        [Effect::Deregister, Effect::Say(Say::Exited(Exit::Code(0))), Effect::Kill, Effect::AwaitEmpty];
    assert_eq!(effects[3..], tail);
    assert_eq!(life.phase(), Phase::Crashed);
}

#[test]
fn a_restart_says_so() {
    let (_, effects) = live(false, &[(0, Input::Launched), (9, Input::Stop(Why::Restart))]);
    assert_eq!(said(&effects)[1..3], ["Restarting", "State changed from up to starting"]);
}

#[test]
fn a_dyno_told_to_stop_while_it_crashes_is_down() {
    let inputs = [
        (0, Input::Launched),
        (9, Input::Exited(Exit::Code(1))),
        (9, Input::Stop(Why::Down)),
        (9, Input::Empty),
    ];
    assert_eq!(live(false, &inputs).0.phase(), Phase::Down);
}

#[test]
fn a_held_dyno_is_registered_only_when_it_may_go() {
    let held = Life::created(true, Times::default()).held();
    let (life, _) = held.on(secs(0), Input::Launched);
    let (booted, effects) = life.on(secs(3), Input::Accepting);
    assert_eq!((booted.phase(), booted.wake(), effects), (Phase::Starting, None, vec![Effect::Booted]));
    let (up, effects) = booted.on(secs(90), Input::Go);
    assert_eq!(
        (up.phase(), effects),
        (Phase::Up, vec![changed(Phase::Starting, Phase::Up), Effect::Register])
    );
    let (early, _) = life.on(secs(2), Input::Go);
    assert_eq!(early.on(secs(3), Input::Accepting).0.phase(), Phase::Up, "it was let go before it was ready");
    assert_eq!(booted.on(secs(4), Input::Exited(Exit::Code(1))).0.phase(), Phase::Crashed);
    assert_eq!(booted.on(secs(4), Input::Stop(Why::Down)).0.phase(), Phase::Stopping);
}

#[test]
fn a_process_killed_for_want_of_memory_is_r15_and_takes_the_whole_dyno_with_it() {
    let oom = Input::OutOfMemory(Memory { used: 1029 << 20, quota: 512 << 20 });
    let killed = Input::Exited(Exit::Signal(9));
    let inputs = [(0, Input::Launched), (1, Input::Accepting), (9, oom), (9, killed), (9, Input::Empty)];
    let (life, effects) = live(true, &inputs);
    assert_eq!((life.phase(), effects[3]), (Phase::Crashed, Effect::Deregister));
    assert!(effects.contains(&Effect::Kill));
    assert_eq!(
        said(&effects)[1..],
        [
            "Process running mem=1029M(201.0%)",
            "Error R15 (Memory quota vastly exceeded)",
            "Stopping process with SIGKILL",
            "Process exited with status 137",
            "State changed from up to crashed",
        ]
    );
}

#[test]
fn cycling_and_idling_say_so_in_herokus_words() {
    let stop = |why| said(&live(false, &[(0, Input::Launched), (9, Input::Stop(why))]).1)[1..3].to_vec();
    assert_eq!(stop(Why::Cycle), ["Cycling", "State changed from up to starting"]);
    assert_eq!(stop(Why::Idle), ["Idling", "State changed from up to down"]);
}

#[test]
fn a_task_that_ends_is_complete_and_no_crash() {
    let task = Life::created(false, Times::default()).task();
    let (life, _) = task.on(secs(0), Input::Launched);
    let (life, _) = life.on(secs(1), Input::Exited(Exit::Code(3)));
    let (life, effects) = life.on(secs(1), Input::Empty);
    assert_eq!(life.phase(), Phase::Complete);
    assert_eq!(said(&effects), ["State changed from up to complete"]);
}

#[test]
fn who_is_detached_is_hung_up_then_told_to_end_with_r16_then_killed() {
    let inputs = [(0, Input::Launched), (9, Input::Stop(Why::Detached)), (23, Input::Time)];
    let (life, effects) = live(false, &inputs);
    assert_eq!((effects.last(), life.wake()), (Some(&Effect::HangUp), Some(secs(24))));
    let (life, effects) = life.on(secs(24), Input::Time);
    assert!(said(&effects)[0].starts_with("Error R16 (Detached) -> An attached process is not responding"));
    assert!(effects.contains(&Effect::Terminate));
    let (_, effects) = life.on(secs(54), Input::Time);
    assert_eq!(effects.last(), Some(&Effect::Kill));
    let hung_up = live(false, &inputs[..2]).0;
    let gone = hung_up.on(secs(10), Input::Exited(Exit::Signal(1))).0.on(secs(10), Input::Empty).0;
    assert_eq!(gone.phase(), Phase::Down);
}

#[test]
fn a_dyno_that_awaits_somebody_begins_when_they_are_there_and_is_r13_when_they_are_not() {
    let (awaiting, effects) = live(false, &[(3, Input::Awaiting)]);
    assert_eq!((said(&effects), awaiting.wake()), (vec!["Awaiting client".to_owned()], Some(secs(33))));
    assert_eq!(awaiting.on(secs(32), Input::Time), (awaiting, vec![]));
    for (at, input) in [(33, Input::Time), (5, Input::NotAttached)] {
        let (never, effects) = awaiting.on(secs(at), input);
        assert_eq!(said(&effects)[0], "Error R13 (Attach error) -> Failed to attach to process");
        assert_eq!(said(&effects)[1], "State changed from starting to complete");
        assert!(never.has_ended());
    }
    let (stopped, effects) = awaiting.on(secs(5), Input::Stop(Why::Down));
    assert_eq!((stopped.phase(), said(&effects).len()), (Phase::Down, 1));
    let (attached, effects) = awaiting.on(secs(5), Input::Attached);
    assert_eq!((attached, effects), live(false, &[]));
}

fn any_input() -> impl Strategy<Value = Input> {
    prop_oneof![
        Just(Input::Accepting),
        Just(Input::Left),
        Just(Input::Stop(Why::Down)),
        Just(Input::Stop(Why::Restart)),
        Just(Input::Stop(Why::Idle)),
        Just(Input::Stop(Why::Cycle)),
        Just(Input::Stop(Why::Detached)),
        Just(Input::Awaiting),
        Just(Input::Attached),
        Just(Input::NotAttached),
        Just(Input::Go),
        Just(Input::OutOfMemory(Memory { used: 3, quota: 1 })),
        Just(Input::Time),
        (0..3i32).prop_map(|code| Input::Exited(Exit::Code(code))),
        Just(Input::Empty),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_registering_is_undone_before_sigterm_and_the_end_comes(
        web: bool,
        held: bool,
        inputs in prop::collection::vec((0u64..40, any_input()), 0..20),
    ) {
        let life = Life::created(web, Times::default());
        let life = if held { life.held() } else { life };
        let mut life = life.on(Duration::ZERO, Input::Launched).0;
        let mut gone = !held;
        let (mut now, mut registered, mut terminated, mut exited) = (0, false, 0, false);
        let tail = [(0, Input::Stop(Why::Down)), (31, Input::Time), (31, Input::Time), (31, Input::Time), (0, Input::Exited(Exit::Signal(9))), (0, Input::Empty)];
        for (later, input) in inputs.into_iter().chain(tail) {
            // As the driver promises: one exit, and emptiness only after it.
            match input {
                Input::Exited(_) if std::mem::replace(&mut exited, true) => continue,
                Input::Empty if !exited => continue,
                _ => now += later,
            }
            gone |= input == Input::Go;
            let ended = life.has_ended();
            let (next, effects) = life.on(secs(now), input);
            prop_assert!(!ended || effects.is_empty());
            for effect in effects {
                match effect {
                    Effect::Register => { prop_assert!(web && gone && !registered); registered = true; }
                    Effect::Deregister => registered = false,
                    Effect::Terminate => { prop_assert!(!registered); terminated += 1; }
                    _ => {}
                }
            }
            prop_assert!(next.wake().is_none_or(|wake| wake <= secs(now + 60)));
            life = next;
        }
        prop_assert!(life.has_ended() && !registered && terminated <= 1);
    }
}
