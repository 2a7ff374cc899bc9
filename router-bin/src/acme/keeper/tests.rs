use std::fs::{self, File};

use rcgen::{CertificateParams, KeyPair};
use router_core::tls::Challenges;

use super::*;
use crate::config::acme::{Challenge, KeyType};

const DAY: Duration = Duration::from_secs(86_400);

/// A keeper that wants certificates for these names, and what it is told by nobody.
fn keeper(storage: &tempfile::TempDir, names: &[&str]) -> Keeper {
    let acme = Arc::new(Acme {
        directory: "https://ca.example/dir".into(),
        contact: Vec::new(),
        challenges: vec![Challenge::Http],
        hook: None,
        key_type: KeyType::P256,
        storage: storage.path().into(),
        external_account: None,
        ca_file: None,
        profile: None,
        on_demand: true,
        on_demand_per_hour: 10,
    });
    let files = Files::open(&acme.storage, &acme.directory).unwrap();
    let orders = Orders::new(Arc::clone(&acme), files.clone(), Challenges::new());
    let (table, _) = RouteTable::new();
    let (certificates, status) = (watch::channel(Vec::new()).0, watch::channel(Vec::new()).0);
    let mut keeper = Keeper::new((acme, files, orders), table, certificates, status);
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    keeper.want(Wanted { names, ..Wanted::default() }, BTreeSet::new());
    keeper
}

fn refused() -> Came {
    Came::Nothing(OrderError::Refused("no".into()))
}

fn due(keeper: &Keeper, name: &str) -> SystemTime {
    keeper.tell();
    let all = keeper.status.borrow();
    all.iter().find(|status| status.name == name).unwrap().due
}

#[test]
fn a_pause_for_one_name_is_one_of_minutes_for_the_others() {
    let storage = tempfile::tempdir().unwrap();
    let (mut keeper, now) = (keeper(&storage, &["a.example", "b.example"]), SystemTime::now());
    keeper.learn("a.example", refused(), Some(now + 7 * DAY));
    assert!(due(&keeper, "a.example") >= now + 7 * DAY);
    let other = due(&keeper, "b.example");
    assert!(other > now && other < now + Duration::from_secs(400), "{:?}", other.duration_since(now));
}

#[test]
fn a_host_that_strangers_ask_for_is_forgotten_when_it_never_gets_a_certificate() {
    let storage = tempfile::tempdir().unwrap();
    let mut keeper = keeper(&storage, &["a.example"]);
    let found = keeper.found("b.example");
    keeper.names.insert("b.example".into(), found);
    let left = |keeper: &Keeper| {
        let all = fs::read_dir(keeper.files.directory()).unwrap();
        let names = all.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("b.example")).count()
    };
    for failures in 1..=5 {
        assert!(keeper.names.contains_key("b.example"), "after {failures}");
        drop(keeper.files.lock("b.example").unwrap());
        keeper.learn("b.example", refused(), None);
        keeper.learn("a.example", refused(), None);
    }
    assert!(!keeper.names.contains_key("b.example") && left(&keeper) == 0);
    assert!(keeper.names.contains_key("a.example"), "this one is wanted by the configuration");
}

#[test]
fn what_a_clock_that_was_ahead_has_put_off_is_done() {
    let storage = tempfile::tempdir().unwrap();
    let mut keeper = keeper(&storage, &["a.example"]);
    let (now, ahead) = (SystemTime::now(), SystemTime::now() + 400 * DAY);
    let not_before = ahead.duration_since(UNIX_EPOCH).unwrap().as_secs();
    keeper.files.keep_trouble("b.example", &Trouble { failures: 3, not_before, error: "no".into() }).unwrap();
    assert!(keeper.found("b.example").due <= now);
    keeper
        .files
        .keep_trouble("b.example", &Trouble { failures: 3, not_before: u64::MAX, error: "no".into() })
        .unwrap();
    assert!(keeper.found("b.example").due <= now);

    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["c.example".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let pem = key.serialize_pem() + &params.self_signed(&key).unwrap().pem();
    keeper.files.keep_certificate("c.example", pem.as_bytes()).unwrap();
    let file = File::options().write(true).open(keeper.files.certificate_file("c.example")).unwrap();
    file.set_modified(ahead).unwrap();
    assert!(keeper.found("c.example").due <= now);

    // While it runs the clock is put right.
    keeper.clock = ahead;
    keeper.left_alone_until = ahead;
    for entry in keeper.names.values_mut() {
        entry.due = ahead;
    }
    keeper.look();
    assert!(due(&keeper, "a.example") <= SystemTime::now());
}
