use std::time::Duration;

use proptest::prelude::*;

use super::*;

const fn at(seconds: u64) -> Moment {
    Moment::from_micros(seconds * 1_000_000)
}

fn clock() -> RequestClock {
    RequestClock::new(&Routing::default(), at(0))
}

fn connected() -> RequestClock {
    let mut clock = clock();
    clock.connecting(at(0));
    clock.connected(at(1));
    clock
}

#[test]
fn no_time_runs_before_a_wait_is_announced() {
    assert_eq!(clock().deadline(), Moment::NEVER);
    assert_eq!(clock().expired(at(1_000_000)), None);
}

#[test]
fn holds_share_one_budget_and_the_last_reason_counts() {
    let mut clock = clock();
    clock.held(Hold::Booting);
    assert_eq!(clock.expired(at(75)), Some(Fault::BootTimeout));
    clock.connecting(at(60));
    clock.held(Hold::Quarantined);
    assert_eq!((clock.deadline(), clock.expired(at(75))), (at(75), Some(Fault::AllQuarantined)));
    clock.held(Hold::Busy);
    assert_eq!(clock.expired(at(75)), Some(Fault::BacklogTooDeep));
}

#[test]
fn a_connect_after_5s_is_h19_and_each_try_has_its_own_5s() {
    let mut clock = clock();
    clock.connecting(at(0));
    assert_eq!((clock.expired(at(4)), clock.expired(at(5))), (None, Some(Fault::ConnectTimeout)));
    clock.connecting(at(5));
    assert_eq!(clock.deadline(), at(10));
}

#[test]
fn first_byte_after_30s_is_h12_counted_from_the_whole_request() {
    let mut clock = connected();
    clock.upload_waits_for(Party::Client, 0, at(2));
    clock.upload_waits_for(Party::Dyno, 0, at(40));
    clock.request_sent(at(50));
    assert_eq!((clock.expired(at(79)), clock.expired(at(80))), (None, Some(Fault::RequestTimeout)));
}

#[test]
fn any_first_byte_ends_the_30s_and_begins_the_rolling_55s() {
    let mut clock = connected();
    clock.request_sent(at(1));
    clock.first_byte(at(30));
    assert_eq!(clock.deadline(), at(85));
    clock.download_waits_for(Party::Dyno, 0, at(80));
    assert_eq!((clock.expired(at(134)), clock.expired(at(135))), (None, Some(Fault::IdleConnection)));
}

#[test]
fn a_client_silent_in_its_body_is_h28_and_a_dyno_that_does_not_take_it_is_h12() {
    let mut clock = connected();
    clock.upload_waits_for(Party::Client, 0, at(10));
    assert_eq!((clock.expired(at(64)), clock.expired(at(65))), (None, Some(Fault::ClientIdle)));
    clock.upload_waits_for(Party::Dyno, 0, at(20));
    assert_eq!((clock.expired(at(74)), clock.expired(at(75))), (None, Some(Fault::RequestTimeout)));
}

#[test]
fn a_client_that_does_not_take_the_response_is_h28() {
    let mut clock = connected();
    clock.request_sent(at(1));
    clock.first_byte(at(2));
    clock.download_waits_for(Party::Client, 0, at(3));
    assert_eq!(clock.expired(at(58)), Some(Fault::ClientIdle));
}

#[test]
fn each_direction_has_its_own_window_when_the_dyno_answers_early() {
    let mut clock = connected();
    clock.upload_waits_for(Party::Client, 0, at(1));
    clock.first_byte(at(10));
    clock.download_waits_for(Party::Dyno, 0, at(50));
    assert_eq!((clock.deadline(), clock.expired(at(56))), (at(56), Some(Fault::ClientIdle)));
    clock.request_sent(at(55));
    assert_eq!((clock.deadline(), clock.expired(at(105))), (at(105), Some(Fault::IdleConnection)));
}

#[test]
fn a_tunnel_is_idle_only_when_both_sides_are() {
    let mut clock = connected();
    clock.request_sent(at(1));
    clock.first_byte(at(2));
    clock.tunnel_moved(at(2));
    clock.tunnel_moved(at(50));
    assert_eq!((clock.expired(at(104)), clock.expired(at(105))), (None, Some(Fault::IdleConnection)));
}

#[test]
fn a_call_that_does_not_fit_the_phase_changes_nothing() {
    let mut clock = clock();
    clock.held(Hold::Booting);
    clock.upload_waits_for(Party::Client, 0, at(1));
    clock.request_sent(at(1));
    clock.first_byte(at(1));
    clock.tunnel_moved(at(1));
    assert_eq!((clock.deadline(), clock.expired(at(75))), (at(75), Some(Fault::BootTimeout)));
    let mut clock = connected();
    clock.request_sent(at(2));
    clock.request_sent(at(20));
    assert_eq!(clock.deadline(), at(32));
}

#[test]
fn a_timeout_of_zero_expires_at_once() {
    let routing = Routing { first_byte_timeout_ms: Millis(0), ..Routing::default() };
    let mut clock = RequestClock::new(&routing, at(0));
    clock.connected(at(0));
    clock.request_sent(at(3));
    assert_eq!(clock.expired(at(3)), Some(Fault::RequestTimeout));
}

fn paced(min_rate: u32) -> RequestClock {
    let min_rate_period_ms = Millis::from_secs(10);
    let routing = Routing { min_rate, min_rate_period_ms, ..Routing::default() };
    let mut clock = RequestClock::new(&routing, at(0));
    clock.connected(at(0));
    clock
}

#[test]
fn a_body_that_drips_is_h28_when_a_period_of_waiting_brought_too_little() {
    let mut clock = paced(100);
    for second in 0..10 {
        clock.upload_waits_for(Party::Client, 99 * second, at(second));
        assert_eq!((clock.deadline(), clock.expired(at(second))), (at(10), None));
    }
    assert_eq!(clock.expired(at(10)), Some(Fault::ClientIdle));
    clock.upload_waits_for(Party::Client, 1000, at(9));
    assert_eq!(clock.deadline(), at(19), "it was just fast enough");
}

#[test]
fn what_came_fast_earlier_does_not_count_for_later() {
    let mut clock = paced(100);
    clock.upload_waits_for(Party::Client, 0, at(0));
    clock.upload_waits_for(Party::Client, 1_000_000, at(1));
    clock.upload_waits_for(Party::Client, 1_000_001, at(8));
    assert_eq!((clock.expired(at(10)), clock.expired(at(11))), (None, Some(Fault::ClientIdle)));
}

#[test]
fn a_slow_dyno_does_not_make_its_client_slow() {
    let mut clock = paced(100);
    clock.upload_waits_for(Party::Client, 0, at(0));
    clock.upload_waits_for(Party::Dyno, 10, at(4));
    clock.upload_waits_for(Party::Client, 10, at(54));
    assert_eq!((clock.deadline(), clock.expired(at(60))), (at(60), Some(Fault::ClientIdle)));
    clock.upload_waits_for(Party::Dyno, 20, at(59));
    assert_eq!(clock.deadline(), at(59 + 55), "now it is the dyno's turn");
}

#[test]
fn a_client_that_takes_the_response_too_slowly_is_h28_and_one_that_is_never_waited_for_is_not() {
    let mut clock = paced(100);
    clock.request_sent(at(1));
    clock.first_byte(at(2));
    clock.download_waits_for(Party::Dyno, 10, at(40));
    assert_eq!(clock.expired(at(90)), None);
    clock.download_waits_for(Party::Client, 20, at(90));
    clock.download_waits_for(Party::Client, 30, at(99));
    assert_eq!((clock.expired(at(99)), clock.expired(at(100))), (None, Some(Fault::ClientIdle)));
}

#[test]
fn a_request_that_takes_too_long_altogether_is_h12_whatever_it_waits_for_but_a_tunnel_is_not() {
    let routing = Routing { total_timeout_ms: Some(Millis::from_secs(20)), ..Routing::default() };
    let mut clock = RequestClock::new(&routing, at(0));
    clock.held(Hold::Busy);
    assert_eq!((clock.deadline(), clock.expired(at(20))), (at(20), Some(Fault::RequestTimeout)));
    clock.connecting(at(17));
    assert_eq!(clock.expired(at(20)), Some(Fault::RequestTimeout));
    clock.connecting(at(1));
    assert_eq!(clock.expired(at(6)), Some(Fault::ConnectTimeout));
    clock.connected(at(2));
    clock.request_sent(at(2));
    clock.first_byte(at(3));
    clock.download_waits_for(Party::Dyno, 0, at(19));
    assert_eq!((clock.expired(at(19)), clock.expired(at(20))), (None, Some(Fault::RequestTimeout)));
    clock.tunnel_moved(at(19));
    assert_eq!(clock.deadline(), at(19 + 55));
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    Held(Hold),
    Connecting,
    Connected,
    Upload(Party),
    Sent,
    Download(Party),
    Tunnel,
}

fn step() -> impl Strategy<Value = Step> {
    let party = || proptest::sample::select(vec![Party::Client, Party::Dyno]);
    let hold = proptest::sample::select(vec![Hold::Booting, Hold::Quarantined, Hold::Busy]);
    prop_oneof![
        1 => hold.prop_map(Step::Held),
        1 => Just(Step::Connecting),
        2 => Just(Step::Connected),
        4 => party().prop_map(Step::Upload),
        2 => Just(Step::Sent),
        4 => party().prop_map(Step::Download),
        1 => Just(Step::Tunnel),
    ]
}

fn apply(clock: &mut RequestClock, step: Step, now: Moment) {
    match step {
        Step::Held(hold) => clock.held(hold),
        Step::Connecting => clock.connecting(now),
        Step::Connected => clock.connected(now),
        Step::Upload(turn) => clock.upload_waits_for(turn, 0, now),
        Step::Sent => clock.request_sent(now),
        Step::Download(turn) => clock.download_waits_for(turn, 0, now),
        Step::Tunnel => clock.tunnel_moved(now),
    }
}

/// Reads the table of [`RequestClock`] off the whole history, every time anew.
fn model(history: &[(Moment, Step)]) -> Vec<(Moment, Fault)> {
    let idle = Duration::from_secs(55);
    let begins = |step: &Step| matches!(step, Step::Held(_) | Step::Connecting | Step::Connected);
    let Some(start) = history.iter().rposition(|(_, step)| begins(step)) else { return vec![] };
    let (since, first) = history[start];
    let rest = &history[start + 1..];
    match first {
        Step::Held(hold) => return vec![(at(75), hold.fault())],
        Step::Connecting => return vec![(since + Duration::from_secs(5), Fault::ConnectTimeout)],
        _ => {}
    }
    if let Some((moved, _)) = rest.iter().rev().find(|(_, step)| *step == Step::Tunnel) {
        return vec![(*moved + idle, Fault::IdleConnection)];
    }
    let last = |wanted: fn(&Step) -> bool| rest.iter().rev().find(|(_, step)| wanted(step)).copied();
    let download = last(|step| matches!(step, Step::Download(_)));
    let silent = if download.is_some() { Fault::IdleConnection } else { Fault::RequestTimeout };
    let mut due = vec![];
    match rest.iter().find(|(_, step)| *step == Step::Sent) {
        Some((sent, _)) if download.is_none() => due.push((*sent + Duration::from_secs(30), silent)),
        Some(_) => {}
        None => {
            let (since, turn) =
                last(|step| matches!(step, Step::Upload(_))).unwrap_or((since, Step::Connected));
            let fault = if turn == Step::Upload(Party::Client) { Fault::ClientIdle } else { silent };
            due.push((since + idle, fault));
        }
    }
    if let Some((since, turn)) = download {
        let fault = if turn == Step::Download(Party::Client) { Fault::ClientIdle } else { silent };
        due.push((since + idle, fault));
    }
    due
}

proptest! {
    #[test]
    fn it_agrees_with_the_history(steps in proptest::collection::vec((0u64..40, step()), 0..20), later in 0u64..90) {
        let (mut clock, mut now, mut history) = (clock(), at(0), vec![]);
        for (wait, step) in steps {
            now += Duration::from_secs(wait);
            apply(&mut clock, step, now);
            history.push((now, step));
            let due = model(&history);
            let deadline = due.iter().map(|(deadline, _)| *deadline).min();
            prop_assert_eq!(clock.deadline(), deadline.unwrap_or(Moment::NEVER));
            let then = now + Duration::from_secs(later);
            match clock.expired(then) {
                None => prop_assert!(deadline.is_none_or(|deadline| deadline > then)),
                Some(fault) => prop_assert!(then >= clock.deadline() && due.contains(&(clock.deadline(), fault))),
            }
        }
    }
}
