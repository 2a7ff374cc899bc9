use std::time::SystemTime;

use rcgen::{CertificateParams, KeyPair};

use super::*;

fn certificate(names: &[&str]) -> Certificate {
    let key = KeyPair::generate().unwrap();
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let (chain, key) = (made.pem(), key.serialize_pem());
    Certificate::from_pem("a.pem", chain.as_bytes(), key.as_bytes(), SystemTime::now()).unwrap()
}

/// The place of the certificate that `name` gets.
fn found(certificates: &Certificates, name: Option<&str>) -> Option<usize> {
    let key = certificates.choose(name, |_| true)?;
    certificates.all().iter().position(|certificate| Arc::ptr_eq(&certificate.key, &key))
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
    let chosen = all.choose(Some("a.example"), |key| std::ptr::eq(key, &*second)).unwrap();
    assert!(Arc::ptr_eq(&chosen, &second));
    let none_fits = all.choose(Some("a.example"), |_| false).unwrap();
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
