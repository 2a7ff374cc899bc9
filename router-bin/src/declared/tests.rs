use std::sync::Arc;

use busbar_registry::{Bounds, Memory};
use proptest::prelude::*;

use super::*;
use crate::config::{Overrides, parse};

/// Apps with their domains and the ports of their dynos.
fn apps(list: &[(&str, &[&str], &[u16])]) -> Vec<DeclaredApp> {
    let text: String = list
        .iter()
        .map(|(name, domains, ports)| {
            let dynos: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
            format!("[[app]]\nname = \"{name}\"\ndomains = {domains:?}\ndynos = {dynos:?}\n")
        })
        .collect();
    parse("test.toml", &text, &Overrides::default()).unwrap().apps
}

/// Name, address and generation of each dyno.
async fn dynos(registry: &Memory) -> Vec<(String, u16, u64)> {
    let snapshot = registry.snapshot().await.unwrap();
    let tell =
        |d: DynoRecord| (format!("{} {}", d.app, d.dyno), d.address.tcp().unwrap().port(), d.generation.0);
    snapshot.dynos.into_iter().map(tell).collect()
}

async fn domains(registry: &Memory) -> Vec<String> {
    let snapshot = registry.snapshot().await.unwrap();
    let of = |app: &AppRecord| app.domains.iter().map(|d| format!("{} {d}", app.name)).collect::<Vec<_>>();
    snapshot.apps.iter().flat_map(of).collect()
}

fn registry() -> Arc<Memory> {
    Memory::start(Bounds::default())
}

#[tokio::test]
async fn a_dyno_that_stays_keeps_its_name_and_generation() {
    let (registry, mut declared) = (registry(), Declared::default());
    declared.replace(&*registry, &apps(&[("shop", &["a.example"], &[1, 2])])).await.unwrap();
    let first = dynos(&registry).await;
    assert_eq!(
        first.iter().map(|d| (d.0.as_str(), d.1)).collect::<Vec<_>>(),
        [("shop web.1", 1), ("shop web.2", 2)]
    );
    declared.replace(&*registry, &apps(&[("shop", &["b.example"], &[3, 2])])).await.unwrap();
    let second = dynos(&registry).await;
    assert_eq!(
        second.iter().map(|d| (d.0.as_str(), d.1)).collect::<Vec<_>>(),
        [("shop web.1", 3), ("shop web.2", 2)]
    );
    assert_eq!(second[1], first[1], "the dyno in both files is the same dyno");
    assert_eq!(domains(&registry).await, ["shop b.example"]);
}

#[tokio::test]
async fn domains_and_addresses_can_be_swapped_between_apps() {
    let (registry, mut declared) = (registry(), Declared::default());
    let first = apps(&[("one", &["a.example", "x.example"], &[1]), ("two", &["b.example"], &[2])]);
    declared.replace(&*registry, &first).await.unwrap();
    let second = apps(&[("one", &["b.example", "x.example"], &[2]), ("two", &["a.example"], &[1])]);
    declared.replace(&*registry, &second).await.unwrap();
    assert_eq!(domains(&registry).await, ["one b.example", "one x.example", "two a.example"]);
    assert_eq!(dynos(&registry).await.iter().map(|d| d.1).collect::<Vec<_>>(), [2, 1]);
}

#[tokio::test]
async fn what_others_have_is_refused_before_anything_changes() {
    let (registry, mut declared) = (registry(), Declared::default());
    let operators = apps(&[("other", &["taken.example"], &[])]).remove(0).record;
    registry.put_app(AppRecord { catch_all: true, ..operators }, None).await.unwrap();
    let registration = Registration {
        app: "other".parse().unwrap(),
        dyno: "web.1".parse().unwrap(),
        address: "127.0.0.1:7".parse().unwrap(),
        ttl_ms: LEASE,
    };
    registry.register(registration).await.unwrap();
    let mut claims = apps(&[("shop", &["taken.example"], &[7])]);
    claims[0].record.catch_all = true;
    let NotDeclared::Taken(lines) = declared.replace(&*registry, &claims).await.unwrap_err() else {
        panic!()
    };
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(registry.snapshot().await.unwrap().apps.len(), 1);
}

#[tokio::test]
async fn what_runtimes_say_about_an_app_outlives_a_reload() {
    let (registry, mut declared) = (registry(), Declared::default());
    let app = "shop".parse().unwrap();
    declared.replace(&*registry, &apps(&[("shop", &["a.example"], &[])])).await.unwrap();
    let web = WebFormation { quantity: 3, starting: 1, crashed: 0 };
    registry.report_web(&app, web).await.unwrap();
    let registration = Registration {
        app,
        dyno: "web.1".parse().unwrap(),
        address: "127.0.0.1:7".parse().unwrap(),
        ttl_ms: LEASE,
    };
    registry.register(registration).await.unwrap();
    declared.replace(&*registry, &apps(&[("shop", &["b.example"], &[])])).await.unwrap();
    let now = registry.snapshot().await.unwrap();
    assert_eq!((now.apps[0].web, now.dynos.len()), (web, 1));
}

#[tokio::test(start_paused = true)]
async fn renewed_dynos_stay_and_lost_ones_come_back() {
    let (registry, mut declared) = (registry(), Declared::default());
    let apps = apps(&[("shop", &["a.example"], &[1])]);
    declared.replace(&*registry, &apps).await.unwrap();
    let first = dynos(&registry).await;
    for _ in 0..10 {
        tokio::time::sleep(RENEWAL).await;
        declared.renew(&*registry, &apps).await.unwrap();
    }
    assert_eq!(dynos(&registry).await, first);
    tokio::time::sleep(LEASE.duration() * 2).await;
    assert_eq!(dynos(&registry).await, [], "nobody renewed it");
    declared.renew(&*registry, &apps).await.unwrap();
    assert_eq!(dynos(&registry).await.len(), 1);
}

proptest! {
    #[test]
    fn the_registry_says_what_the_last_file_said(files in prop::collection::vec(
        (prop::collection::btree_set(1_u16..9, 0..6), prop::collection::btree_set(1_u16..9, 0..6)), 1..6,
    )) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (registry, mut declared) = (registry(), Declared::default());
            for (one, two) in files {
                // What is in both sets belongs to the first app; domains follow the ports.
                let two: Vec<u16> = two.difference(&one).copied().collect();
                let one: Vec<u16> = one.into_iter().collect();
                let named = |ports: &[u16]| ports.iter().map(|port| format!("d{port}.example")).collect::<Vec<_>>();
                let (of_one, of_two) = (named(&one), named(&two));
                let one_domains: Vec<&str> = std::iter::once("one.example").chain(of_one.iter().map(String::as_str)).collect();
                let two_domains: Vec<&str> = std::iter::once("two.example").chain(of_two.iter().map(String::as_str)).collect();
                let file = apps(&[("one", &one_domains, &one), ("two", &two_domains, &two)]);
                declared.replace(&*registry, &file).await.unwrap();
                let mut expected: Vec<u16> = one.iter().chain(&two).copied().collect();
                expected.sort_unstable();
                let mut ports: Vec<u16> = dynos(&registry).await.iter().map(|dyno| dyno.1).collect();
                ports.sort_unstable();
                assert_eq!(ports, expected);
                assert_eq!(domains(&registry).await.len(), one_domains.len() + two_domains.len());
            }
        });
    }
}
