//! Each rule of the ledger, one sentence each. The random walk against a naive model is in `tests/ledger.rs`.

use super::*;

const S: fn(u64) -> Duration = Duration::from_secs;

fn ledger(bounds: Bounds) -> Ledger {
    let mut ledger = Ledger::new(bounds, 0);
    for name in ["shop", "blog"] {
        ledger.put_app(S(0), app(name, &[]), Some(Revision(0))).answer.unwrap();
    }
    ledger
}

fn app(name: &str, domains: &[&str]) -> AppRecord {
    AppRecord {
        name: name.parse().unwrap(),
        domains: domains.iter().map(|domain| domain.parse().unwrap()).collect(),
        catch_all: false,
        maintenance: false,
        routing: crate::Routing::default(),
        web: WebFormation::default(),
    }
}

fn asked(app: &str, dyno: &str, port: u16) -> Registration {
    Registration {
        app: app.parse().unwrap(),
        dyno: dyno.parse().unwrap(),
        address: ([10, 0, 0, 1], port).into(),
        ttl_ms: Millis::from_secs(10),
    }
}

fn id(n: u8) -> LeaseId {
    LeaseId::new(&"shop".parse().unwrap(), [n; 16])
}

/// The changes, short: `+web.1#3` is put, `~web.1#3` put and draining, `-web.1#3` removed.
fn told<T>(step: &Step<T>) -> Vec<String> {
    let short = |event: &Arc<Event>| match &event.change {
        Change::AppPut { app } => format!("+{}", app.name),
        Change::AppRemoved { app } => format!("-{app}"),
        Change::DynoPut { dyno } if dyno.state == DynoState::Up => {
            format!("+{}#{}", dyno.dyno, dyno.generation)
        }
        Change::DynoPut { dyno } => format!("~{}#{}", dyno.dyno, dyno.generation),
        Change::DynoRemoved { dyno, generation, .. } => format!("-{dyno}#{generation}"),
    };
    step.events.iter().map(short).collect()
}

#[test]
fn a_domain_belongs_to_one_app() {
    let mut ledger = ledger(Bounds::default());
    ledger.put_app(S(0), app("shop", &["a.example", "*.a.example"]), None).answer.unwrap();
    let taken = ledger.put_app(S(0), app("blog", &["b.example", "a.example"]), None);
    let domain: Domain = "a.example".parse().unwrap();
    assert_eq!(taken.answer.unwrap_err(), Refusal::DomainTaken { domain, owner: "shop".parse().unwrap() });
    assert!(taken.events.is_empty());
    ledger.put_app(S(0), app("shop", &[]), None).answer.unwrap();
    ledger.put_app(S(0), app("blog", &["a.example"]), None).answer.unwrap();
}

#[test]
fn a_domain_named_twice_is_malformed() {
    let twice =
        ledger(Bounds::default()).put_app(S(0), app("shop", &["a.example", "A.example"]), None).answer;
    assert!(matches!(twice, Err(Refusal::Malformed(_))));
}

#[test]
fn one_app_catches_all() {
    let mut ledger = ledger(Bounds::default());
    let catching = |name| AppRecord { catch_all: true, ..app(name, &[]) };
    ledger.put_app(S(0), catching("shop"), None).answer.unwrap();
    ledger.put_app(S(0), catching("shop"), None).answer.unwrap();
    let refused = ledger.put_app(S(0), catching("blog"), None).answer.unwrap_err();
    assert_eq!(refused, Refusal::CatchAllTaken { owner: "shop".parse().unwrap() });
    ledger.remove_app(S(0), &"shop".parse().unwrap()).answer.unwrap();
    ledger.put_app(S(0), catching("blog"), None).answer.unwrap();
}

#[test]
fn an_app_changed_since_it_was_read_is_a_conflict() {
    let mut ledger = ledger(Bounds::default());
    let read = ledger.revision();
    ledger.put_app(S(0), app("blog", &["b.example"]), None).answer.unwrap();
    ledger.put_app(S(0), app("shop", &["a.example"]), Some(read)).answer.unwrap();
    let current = ledger.revision();
    for stale in [read, Revision(0), Revision(current.0 + 1)] {
        let conflict = ledger.put_app(S(0), app("shop", &[]), Some(stale)).answer.unwrap_err();
        assert_eq!(conflict, Refusal::Conflict { app: "shop".parse().unwrap(), current });
    }
    let gone = ledger.put_app(S(0), app("new", &[]), Some(current)).answer.unwrap_err();
    assert_eq!(gone, Refusal::Conflict { app: "new".parse().unwrap(), current: Revision(0) });
}

#[test]
fn what_changes_nothing_is_not_told() {
    let mut ledger = ledger(Bounds::default());
    let shop: AppName = "shop".parse().unwrap();
    let web = WebFormation { quantity: 2, starting: 1, crashed: 0 };
    assert_eq!(told(&ledger.report_web(S(0), &shop, web)), ["+shop"]);
    assert!(told(&ledger.report_web(S(0), &shop, web)).is_empty());
    assert!(told(&ledger.put_app(S(0), AppRecord { web, ..app("shop", &[]) }, None)).is_empty());
    assert!(told(&ledger.remove_app(S(0), &"nobody".parse().unwrap())).is_empty());
    assert!(told(&ledger.deregister(S(0), &id(1))).is_empty());
}

#[test]
fn a_dyno_of_an_unknown_app_is_refused() {
    let mut ledger = ledger(Bounds::default());
    let nobody: AppName = "nobody".parse().unwrap();
    let refused = ledger.register(S(0), asked("nobody", "web.1", 1), id(1)).answer.unwrap_err();
    assert_eq!(refused, Refusal::UnknownApp { app: nobody.clone() });
    let refused = ledger.report_web(S(0), &nobody, WebFormation::default()).answer.unwrap_err();
    assert_eq!(refused, Refusal::UnknownApp { app: nobody });
}

#[test]
fn a_newer_dyno_of_the_same_name_fences_off_the_older() {
    let mut ledger = ledger(Bounds::default());
    assert_eq!(told(&ledger.register(S(0), asked("shop", "web.1", 1), id(1))), ["+web.1#1"]);
    assert_eq!(told(&ledger.register(S(1), asked("shop", "web.1", 2), id(2))), ["-web.1#1", "+web.1#2"]);
    assert_eq!(ledger.renew(S(1), &id(1)).answer.unwrap_err(), Refusal::LeaseGone);
    assert_eq!(ledger.drain(S(1), &id(1)).answer.unwrap_err(), Refusal::LeaseGone);
    assert!(told(&ledger.deregister(S(1), &id(1))).is_empty());
    ledger.renew(S(1), &id(2)).answer.unwrap();
}

#[test]
fn a_draining_dyno_stays_beside_its_successor_until_it_ends() {
    let mut ledger = ledger(Bounds::default());
    ledger.register(S(0), asked("shop", "web.1", 1), id(1)).answer.unwrap();
    assert_eq!(told(&ledger.drain(S(1), &id(1))), ["~web.1#1"]);
    assert!(told(&ledger.drain(S(1), &id(1))).is_empty());
    assert_eq!(told(&ledger.register(S(2), asked("shop", "web.1", 2), id(2))), ["+web.1#2"]);
    assert_eq!(ledger.renew(S(9), &id(1)).answer.unwrap().generation, Generation(1));
    assert_eq!(told(&ledger.deregister(S(9), &id(1))), ["-web.1#1"]);
}

#[test]
fn a_reused_port_fences_off_the_apps_older_dyno_even_a_draining_one() {
    let mut ledger = ledger(Bounds::default());
    ledger.register(S(0), asked("shop", "web.1", 1), id(1)).answer.unwrap();
    ledger.drain(S(0), &id(1)).answer.unwrap();
    ledger.register(S(0), asked("shop", "web.2", 2), id(2)).answer.unwrap();
    let both = ledger.register(S(0), asked("shop", "web.2", 1), id(3));
    assert_eq!(told(&both), ["-web.1#1", "-web.2#2", "+web.2#3"]);
}

#[test]
fn the_address_of_another_apps_dyno_is_taken_under_every_spelling() {
    let mut ledger = ledger(Bounds::default());
    ledger.register(S(0), asked("shop", "web.1", 80), id(1)).answer.unwrap();
    for spelling in ["10.0.0.1:80", "[::ffff:10.0.0.1]:80"] {
        let address = spelling.parse().unwrap();
        let refused = ledger.register(S(0), Registration { address, ..asked("blog", "web.1", 80) }, id(2));
        let Err(Refusal::AddressTaken { app, .. }) = refused.answer else { panic!("{spelling}") };
        assert_eq!(app.as_str(), "shop");
        assert!(refused.events.is_empty());
    }
    ledger.register(S(10), asked("blog", "web.1", 80), id(2)).answer.unwrap();
}

#[test]
fn an_address_nobody_can_dial_is_malformed() {
    let mut ledger = ledger(Bounds::default());
    for nowhere in ["10.0.0.1:0", "0.0.0.0:80", "[::]:80", "[::ffff:0.0.0.0]:80", "224.0.0.1:80"] {
        let address = nowhere.parse().unwrap();
        let refused =
            ledger.register(S(0), Registration { address, ..asked("shop", "web.1", 1) }, id(1)).answer;
        assert!(matches!(refused, Err(Refusal::Malformed(_))), "{nowhere}");
    }
}

#[test]
fn a_lease_ends_at_its_deadline_and_a_renewal_moves_it() {
    let mut ledger = ledger(Bounds::default());
    ledger.register(S(0), asked("shop", "web.1", 1), id(1)).answer.unwrap();
    assert_eq!(ledger.next_expiry(), Some(S(10)));
    ledger.renew(S(9), &id(1)).answer.unwrap();
    assert_eq!(ledger.next_expiry(), Some(S(19)));
    assert!(ledger.expire(S(18)).is_empty());
    let late = ledger.renew(S(19), &id(1));
    assert_eq!(told(&late), ["-web.1#1"]);
    assert_eq!(late.answer.unwrap_err(), Refusal::LeaseGone);
    assert_eq!(ledger.next_expiry(), None);
}

#[test]
fn the_time_of_a_lease_is_moved_into_its_bounds() {
    let mut ledger = ledger(Bounds::default());
    for (asked_ms, given_ms) in [(0, 1000), (1500, 1500), (u64::MAX, 300_000)] {
        let wanted = Registration { ttl_ms: Millis(asked_ms), ..asked("shop", "web.1", 1) };
        assert_eq!(ledger.register(S(0), wanted, id(1)).answer.unwrap().ttl_ms, Millis(given_ms));
    }
}

#[test]
fn a_dyno_that_comes_back_late_does_not_replace_its_successor() {
    let mut ledger = ledger(Bounds::default());
    let first = ledger.register(S(0), asked("shop", "web.1", 1), id(1)).answer.unwrap().generation;
    let second = ledger.register(S(20), asked("shop", "web.1", 2), id(2)).answer.unwrap().generation;
    let late = ledger.register_again(S(20), asked("shop", "web.1", 1), id(3), first);
    let (app, dyno) = ("shop".parse().unwrap(), "web.1".parse().unwrap());
    assert_eq!(late.answer.unwrap_err(), Refusal::Replaced { app, dyno, by: second });
    let port_reused = ledger.register_again(S(20), asked("shop", "web.2", 2), id(3), first).answer;
    assert!(matches!(port_reused, Err(Refusal::Replaced { .. })));
    ledger.register_again(S(40), asked("shop", "web.1", 1), id(3), first).answer.unwrap();
}

#[test]
fn a_removed_app_takes_its_dynos_and_domains_along() {
    let mut ledger = ledger(Bounds::default());
    ledger.put_app(S(0), app("shop", &["a.example"]), None).answer.unwrap();
    ledger.register(S(0), asked("shop", "web.1", 1), id(1)).answer.unwrap();
    assert_eq!(told(&ledger.remove_app(S(0), &"shop".parse().unwrap())), ["-shop"]);
    assert_eq!(ledger.renew(S(0), &id(1)).answer.unwrap_err(), Refusal::LeaseGone);
    assert_eq!(ledger.next_expiry(), None);
    ledger.put_app(S(0), app("blog", &["a.example"]), None).answer.unwrap();
    ledger.register(S(0), asked("blog", "web.1", 1), id(2)).answer.unwrap();
}

#[test]
fn each_bound_is_refused_beyond_and_not_before() {
    let mut ledger = ledger(Bounds { apps: 2, domains_per_app: 1, dynos_per_app: 2, ..Bounds::default() });
    let full = |what, limit| Refusal::Full { what, limit };
    assert_eq!(ledger.put_app(S(0), app("new", &[]), None).answer.unwrap_err(), full(Bound::Apps, 2));
    let two = app("shop", &["a.example", "b.example"]);
    assert_eq!(ledger.put_app(S(0), two, None).answer.unwrap_err(), full(Bound::DomainsPerApp, 1));
    ledger.register(S(0), asked("shop", "web.1", 1), id(1)).answer.unwrap();
    ledger.register(S(0), asked("shop", "web.2", 2), id(2)).answer.unwrap();
    let third = ledger.register(S(0), asked("shop", "web.3", 3), id(3)).answer.unwrap_err();
    assert_eq!(third, full(Bound::DynosPerApp, 2));
    ledger.register(S(0), asked("shop", "web.2", 3), id(3)).answer.unwrap();
}

#[test]
fn what_history_no_longer_keeps_is_compacted() {
    let mut ledger = ledger(Bounds { history: 2, ..Bounds::default() });
    assert_eq!(ledger.since(Revision(0), 9).unwrap().len(), 2);
    ledger.register(S(0), asked("shop", "web.1", 1), id(1)).answer.unwrap();
    let gone = Refusal::Compacted { from: Revision(0), oldest: Revision(1) };
    assert_eq!(ledger.since(Revision(0), 9).unwrap_err(), gone);
    let kept: Vec<_> = ledger.since(Revision(1), 9).unwrap().iter().map(|event| event.revision.0).collect();
    assert_eq!(kept, [2, 3]);
    assert!(ledger.since(Revision(3), 9).unwrap().is_empty());
    assert!(matches!(ledger.since(Revision(4), 9), Err(Refusal::Compacted { .. })));
}

#[test]
fn a_ledger_begun_again_continues_beyond_its_origin() {
    let mut ledger = Ledger::new(Bounds::default(), 100);
    assert!(ledger.since(Revision(0), 9).unwrap().is_empty());
    assert_eq!(ledger.put_app(S(0), app("shop", &[]), None).answer.unwrap(), Revision(101));
    let lease = ledger.register(S(0), asked("shop", "web.1", 1), id(1)).answer.unwrap();
    assert_eq!((lease.generation, lease.revision), (Generation(101), Revision(102)));
    assert_eq!(ledger.since(Revision(0), 9).unwrap().len(), 2);
    assert!(matches!(ledger.since(Revision(99), 9), Err(Refusal::Compacted { .. })));
}

#[test]
fn a_clock_that_steps_back_revives_nothing() {
    let mut ledger = ledger(Bounds::default());
    ledger.register(S(5), asked("shop", "web.1", 1), id(1)).answer.unwrap();
    assert_eq!(ledger.expire(S(15)).len(), 1);
    ledger.register(S(0), asked("shop", "web.1", 1), id(2)).answer.unwrap();
    assert_eq!(ledger.next_expiry(), Some(S(25)));
}
