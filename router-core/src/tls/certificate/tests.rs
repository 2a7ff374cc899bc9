use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::*;

struct Made {
    chain: String,
    key: String,
}

/// A certificate of `issuer`, or its own.
fn made(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Made {
    let key = KeyPair::generate().unwrap();
    let mut params =
        CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
    change(&mut params);
    let certificate = params.self_signed(&key).unwrap();
    Made { chain: certificate.pem(), key: key.serialize_pem() }
}

fn read(made: &Made) -> Result<Certificate, CertificateError> {
    Certificate::from_pem("a.pem", made.chain.as_bytes(), made.key.as_bytes())
}

/// A leaf and the authority that signed it.
fn signed() -> (Made, String) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(vec![]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "Our CA");
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    (Made { chain: leaf.pem(), key: key.serialize_pem() }, ca_certificate.pem())
}

#[test]
fn a_certificate_is_for_its_alternative_names_in_lower_case() {
    let certificate = read(&made(&["A.example", "*.B.example"], |_| {})).unwrap();
    assert_eq!(certificate.names(), ["a.example", "*.b.example"]);
    assert!(certificate.is_elliptic());
    assert!(certificate.expires() > SystemTime::now());
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (one, other) = (made(&["a.example"], |_| {}), made(&["a.example"], |_| {}));
    let mixed = Made { chain: one.chain, key: other.key };
    assert!(matches!(read(&mixed), Err(CertificateError::WrongKey { .. })));
}

#[test]
fn an_expired_certificate_can_be_read_and_says_that_it_is_over() {
    let of_2020 = made(&["a.example"], |params| {
        params.not_before = rcgen::date_time_ymd(2019, 12, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let certificate = read(&of_2020).unwrap();
    let new_year = UNIX_EPOCH + Duration::from_secs(1_577_836_800);
    let days = |n: u64| Duration::from_secs(n * 86_400);
    assert!(certificate.good_at(new_year - Duration::from_secs(1)).is_ok());
    let late = certificate.good_at(new_year + days(3));
    assert!(matches!(late, Err(CertificateError::Expired { ago_days: 3, .. })), "{late:?}");
    assert!(certificate.good_at(new_year - days(31)).is_ok());
    let early = certificate.good_at(new_year - days(33));
    assert!(matches!(early, Err(CertificateError::TooEarly { in_days: 2, .. })), "{early:?}");
}

#[test]
fn a_certificate_may_be_for_addresses_alone() {
    let certificate = read(&made(&["192.0.2.1", "2001:db8::1"], |_| {})).unwrap();
    let addresses: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    assert_eq!((certificate.names(), certificate.addresses()), (&[][..], &addresses[..]));
    assert_eq!(certificate.is_for(), "192.0.2.1, 2001:db8::1");
}

#[test]
fn a_chain_is_the_servers_own_certificate_then_who_signed_it() {
    let (leaf, ca) = signed();
    assert!(read(&leaf).is_ok());
    assert!(read(&Made { chain: format!("{}{ca}", leaf.chain), key: leaf.key.clone() }).is_ok());
    let turned = read(&Made { chain: format!("{ca}{}", leaf.chain), key: leaf.key.clone() });
    assert!(matches!(turned, Err(CertificateError::WrongKey { .. })));
    let stranger = made(&["b.example"], |_| {}).chain;
    let broken = read(&Made { chain: format!("{}{stranger}", leaf.chain), key: leaf.key });
    let Err(error @ CertificateError::Order { number: 1, .. }) = broken else { panic!("{broken:?}") };
    assert!(error.to_string().contains("CN=Our CA"), "{error}");
}

#[test]
fn what_is_missing_is_named_with_its_file() {
    let good = made(&["a.example"], |_| {});
    let none = Made { chain: good.key.clone(), key: good.key.clone() };
    assert!(matches!(read(&none), Err(CertificateError::NoCertificate(_))));
    let no_key = Made { chain: good.chain.clone(), key: good.chain.clone() };
    assert!(matches!(read(&no_key), Err(CertificateError::NoKey(_))));
    let damaged = Made { chain: good.chain.replacen("MII", "!!!", 1), key: good.key };
    assert!(matches!(read(&damaged), Err(CertificateError::Damaged { .. })));
    assert!(matches!(read(&made(&[], |_| {})), Err(CertificateError::Nameless(_))));
    let missing = Certificate::load(Path::new("/none.pem"), Path::new("/none.key"));
    assert!(missing.unwrap_err().to_string().starts_with("/none.pem cannot be read"));
}

#[test]
fn a_key_that_everybody_can_read_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let good = made(&["a.example"], |_| {});
    let (chain, key) = (folder.path().join("a.pem"), folder.path().join("a.key"));
    fs::write(&chain, good.chain).unwrap();
    fs::write(&key, good.key).unwrap();
    let open_to_others = |mode| {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        Certificate::load(&chain, &key).unwrap().key_open_to_others().map(Path::to_owned)
    };
    assert_eq!(open_to_others(0o644), Some(key.clone()));
    assert_eq!(open_to_others(0o640), None);
    assert_eq!(open_to_others(0o600), None);
}

#[test]
fn no_key_is_shown() {
    let good = made(&["a.example"], |_| {});
    assert_eq!(format!("{:?}", read(&good).unwrap()), r#"Certificate { names: ["a.example"], .. }"#);
}
