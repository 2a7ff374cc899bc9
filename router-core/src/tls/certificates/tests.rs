use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair};

use super::*;

fn certificate(names: &[&str]) -> Certificate {
    until(names, 2999)
}

fn until(names: &[&str], year: i32) -> Certificate {
    let key = KeyPair::generate().unwrap();
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(1999, 1, 1);
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let made = params.self_signed(&key).unwrap();
    let (chain, key) = (made.pem(), key.serialize_pem());
    Certificate::from_pem("a.pem", chain.as_bytes(), key.as_bytes()).unwrap()
}

/// The place of the certificate that `name` gets.
fn found(certificates: &Certificates, name: Option<&str>) -> Option<usize> {
    placed(certificates, name, None, SystemTime::now())
}

fn placed(all: &Certificates, name: Option<&str>, here: Option<&str>, now: SystemTime) -> Option<usize> {
    let here = here.map(|address| address.parse().unwrap());
    let key = all.choose(name, here, |_| true, now)?;
    all.all().iter().position(|certificate| Arc::ptr_eq(&certificate.key, &key))
}

#[test]
fn an_exact_name_wins_over_a_wildcard_of_one_label_then_comes_the_default() {
    let mut all = Certificates::default();
    all.add(certificate(&["*.a.example"]), false);
    all.add(certificate(&["x.a.example"]), false);
    assert_eq!(found(&all, Some("nobody.example")), None);
    all.add(certificate(&["default.example"]), true);
    for (name, place) in [
        ("x.a.example", 1),
        ("y.a.example", 0),
        ("z.y.a.example", 2),
        ("a.example", 2),
        ("nobody.example", 2),
    ] {
        assert_eq!(found(&all, Some(name)), Some(place), "{name}");
    }
    assert_eq!(found(&all, None), Some(2));
}

#[test]
fn a_client_gets_a_certificate_that_it_can_verify() {
    let mut all = Certificates::default();
    all.add(certificate(&["a.example"]), false);
    all.add(certificate(&["a.example"]), false);
    let second = Arc::clone(&all.all()[1].key);
    let chosen =
        all.choose(Some("a.example"), None, |key| std::ptr::eq(key, &*second), SystemTime::now()).unwrap();
    assert!(Arc::ptr_eq(&chosen, &second));
    let none_fits = all.choose(Some("a.example"), None, |_| false, SystemTime::now()).unwrap();
    assert!(Arc::ptr_eq(&none_fits, &all.all()[0].key));
}

#[test]
fn one_connection_serves_two_names_only_if_one_certificate_is_for_both() {
    let mut all = Certificates::default();
    all.add(certificate(&["a.example", "*.b.example"]), false);
    all.add(certificate(&["c.example"]), true);
    assert!(all.cover_both("a.example", "x.b.example"));
    assert!(!all.cover_both("a.example", "c.example"));
    assert!(!all.cover_both("a.example", "nobody.example"));
    // Who asked for an unknown name was shown the default.
    assert!(all.cover_both("nobody.example", "c.example"));
}

#[test]
fn who_names_nobody_gets_the_certificate_of_the_address_it_came_to() {
    let mut all = Certificates::default();
    all.add(certificate(&["192.0.2.1", "2001:db8::1"]), false);
    let now = SystemTime::now();
    assert_eq!(placed(&all, None, Some("::ffff:192.0.2.1"), now), Some(0));
    assert_eq!(placed(&all, None, Some("2001:db8::1"), now), Some(0));
    assert_eq!(placed(&all, None, Some("192.0.2.2"), now), None);
    all.add(certificate(&["default.example"]), true);
    assert_eq!(placed(&all, None, Some("192.0.2.2"), now), Some(1));
    assert_eq!(placed(&all, Some("nobody.example"), Some("192.0.2.1"), now), Some(1));
}

#[test]
fn one_that_is_over_is_shown_only_where_there_is_no_other() {
    let mut all = Certificates::default();
    all.add(until(&["a.example"], 2020), false);
    all.add(until(&["a.example"], 2030), false);
    let at = |year: u64| SystemTime::UNIX_EPOCH + Duration::from_secs((year - 1970) * 31_556_952);
    for (year, place) in [(2019, 0), (2025, 1), (2035, 0)] {
        assert_eq!(placed(&all, Some("a.example"), None, at(year)), Some(place), "{year}");
    }
}
