//! Formations, changes to them, and the steps from one to another.

use proptest::prelude::*;

use super::*;

fn formation(text: &str) -> Formation {
    text.parse().unwrap()
}
fn dynos(names: &[&str]) -> BTreeSet<DynoName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

#[test]
fn one_of_each_but_release_is_the_default() {
    let procfile = Procfile::parse("web: a\nworker: b\nrelease: c").unwrap();
    assert_eq!(Formation::default_for(&procfile).to_string(), "release=0 web=1 worker=1");
}

#[test]
fn changes_are_herokus() {
    let start = formation("web=2 my-worker-2=1");
    for (change, after) in [
        ("web=3", "my-worker-2=1 web=3"),
        ("web+1", "my-worker-2=1 web=3"),
        ("my-worker-2-1", "my-worker-2=0 web=2"),
        ("clock=1", "clock=1 my-worker-2=1 web=2"),
        ("web=3:Standard-2X", "my-worker-2=1 web=3:standard-2x"),
        ("my-worker-2+1:performance-l-ram", "my-worker-2=2:performance-l-ram web=2"),
        ("web=custom-2GiB", "my-worker-2=1 web=2:custom-2048mib-1024-256"),
    ] {
        assert_eq!(start.changed(&[change.parse().unwrap()]).unwrap().to_string(), after, "{change}");
    }
    for bad in [
        "web",
        "web=",
        "web=x",
        "=1",
        "web=+1",
        "web=-1",
        "we b=1",
        "web=99999999999",
        "",
        "web=2:",
        "web=2:huge",
        "web=x:eco",
        "web:eco",
    ] {
        assert!(bad.parse::<ScaleChange>().is_err(), "{bad:?}");
    }
}

#[test]
fn more_than_there_are_cannot_be_removed() {
    let refused = formation("web=1").changed(&["web-2".parse().unwrap()]).unwrap_err();
    assert_eq!(refused.to_string(), "cannot remove 2 web dynos; there are 1");
}

#[test]
fn a_formation_is_bounded_and_says_each_type_once() {
    assert!(matches!("web=101".parse::<Formation>(), Err(FormationError::TooMany(101))));
    assert!(matches!("web=1,web=2".parse::<Formation>(), Err(FormationError::Twice(_))));
    assert!(matches!("web+1".parse::<Formation>(), Err(FormationError::Form(_))));
}

#[test]
fn a_type_the_procfile_lacks_is_named_with_those_it_has() {
    let procfile = Procfile::parse("web: a\nworker: b").unwrap();
    let refused = formation("wrker=1").check_against(&procfile).unwrap_err();
    assert_eq!(refused.to_string(), "the Procfile has no process type wrker; it has web, worker");
}

#[test]
fn the_highest_numbers_are_stopped_first() {
    let steps = reconcile(&formation("web=1"), &dynos(&["web.1", "web.2", "web.3"]));
    assert_eq!(steps, [Step::Stop("web.3".parse().unwrap()), Step::Stop("web.2".parse().unwrap())]);
}

#[test]
fn a_gap_is_filled() {
    let steps = reconcile(&formation("web=3"), &dynos(&["web.1", "web.3"]));
    assert_eq!(steps, [Step::Start("web.2".parse().unwrap())]);
}

proptest! {
    #[test]
    fn after_the_steps_exactly_the_wanted_dynos_run(
        web in 0u32..8, worker in 0u32..8,
        running in prop::collection::btree_set(("(web|worker|old)", 1u32..10), 0..20),
    ) {
        let wanted = formation(&format!("web={web},worker={worker}"));
        let mut running: BTreeSet<DynoName> =
            running.into_iter().map(|(t, i)| DynoName::new(t.parse().unwrap(), i)).collect();
        for step in reconcile(&wanted, &running) {
            match step {
                Step::Stop(dyno) => prop_assert!(running.remove(&dyno)),
                Step::Start(dyno) => prop_assert!(running.insert(dyno)),
            }
        }
        let right: BTreeSet<DynoName> =
            wanted.iter().flat_map(|(t, share)| (1..=share.quantity).map(|i| DynoName::new(t.clone(), i))).collect();
        prop_assert_eq!(&running, &right);
        prop_assert!(reconcile(&wanted, &running).is_empty());
    }

    #[test]
    fn a_formation_reads_back_what_it_writes(web in 0u32..50, worker in 0u32..50, size in 0usize..10) {
        let size = Size::all().nth(size).unwrap();
        let formation = formation(&format!("web={web}:{size} worker={worker}"));
        prop_assert_eq!(formation.to_string().parse::<Formation>().unwrap(), formation);
    }
}

#[test]
fn a_size_stays_when_only_the_quantity_changes_and_the_other_way_round() {
    let start = formation("web=2:eco worker=1");
    assert_eq!(start.changed(&["web+1".parse().unwrap()]).unwrap().to_string(), "web=3:eco worker=1");
    assert_eq!(start.changed(&["web=basic".parse().unwrap()]).unwrap().to_string(), "web=2:basic worker=1");
    let mut all = start;
    all.set_sizes("standard-1x".parse().unwrap());
    assert_eq!(all.to_string(), "web=2:eco worker=1:standard-1x");
}
