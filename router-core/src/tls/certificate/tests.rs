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
    Certificate::from_pem("a.pem", made.chain.as_bytes(), made.key.as_bytes(), SystemTime::now())
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
fn an_expired_certificate_is_refused_and_one_that_is_about_to_expire_is_not() {
    let year_2020 = made(&["a.example"], |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let now = UNIX_EPOCH + Duration::from_secs(1_577_836_800);
    let at = |now| Certificate::from_pem("a.pem", year_2020.chain.as_bytes(), year_2020.key.as_bytes(), now);
    assert!(at(now - Duration::from_secs(1)).is_ok());
    let days = Duration::from_secs(3 * 86_400);
    assert!(matches!(at(now + days), Err(CertificateError::Expired { ago_days: 3, .. })));
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
    let missing = Certificate::load(Path::new("/none.pem"), Path::new("/none.key"), SystemTime::now());
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
        Certificate::load(&chain, &key, SystemTime::now()).unwrap().key_open_to_others().map(Path::to_owned)
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
