//! What those who look for weaknesses in TLS find: sslyze with Mozilla's guidelines, and testssl.sh.

use std::{
    fs,
    net::SocketAddr,
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use it::fakes;
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use serde_json::Value;

use crate::{
    busbar::{Busbar, Place},
    tools,
};

/// Writes a certificate for `shop.example` like those that one gets, and that of its authority.
fn write_certificate(place: &Place) {
    let key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(vec![]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    place.write("ca.pem", &ca.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(ca, key);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "shop.example");
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params.crl_distribution_points =
        vec![CrlDistributionPoint { uris: vec!["http://ca.example/crl".to_owned()] }];
    let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
    (params.not_before, params.not_after) = ((now - day).into(), (now + 80 * day).into());
    place.write("a.pem", &params.signed_by(&key, &issuer).unwrap().pem());
    place.write("a.key", &key.serialize_pem());
}

/// A router that speaks TLS as this policy says, and where.
fn speaking(policy: &str, dyno: SocketAddr) -> (Busbar, SocketAddr) {
    let place = Place::new();
    write_certificate(&place);
    let config = format!(
        "listen = [\"127.0.0.1:0\"]\nworkers = 1\n[[listener]]\naddress = \"127.0.0.1:0\"\ntls = \"{policy}\"\n\
         [[certificate]]\nchain = \"a.pem\"\nkey = \"a.key\"\ndefault = true\n\
         [[app]]\nname = \"shop\"\ndomains = [\"shop.example\"]\ndynos = [\"{dyno}\"]\n[app.routing]\nhsts = \"365d\"\n"
    );
    let busbar = place.router(&config, &[]);
    let at = busbar.err.find("an https address", |line| line.rsplit_once("https://")?.1.parse().ok());
    (busbar, at)
}

#[test]
fn sslyze_finds_both_policies_as_mozilla_wants_them() {
    let Some(sslyze) = tools::of_python("sslyze", "6.3.1") else { return };
    let dyno = fakes::answers("ok");
    for policy in ["intermediate", "modern"] {
        let (busbar, at) = speaking(policy, dyno.address);
        let mut scan = Command::new(&sslyze);
        scan.arg(format!("--mozilla_config={policy}")).args(["--sni", "shop.example", "--certinfo_ca_file"]);
        scan.arg(busbar.place.path("ca.pem")).arg(at.to_string()).stdin(Stdio::null());
        let output = scan.output().expect("it is installed");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains(&format!("{at}: OK - Compliant.")),
            "{policy}: {said}"
        );
        assert!(said.contains(&format!("Mozilla's \"{policy}\" configuration")), "{said}");
    }
}

/// Takes a minute: it knocks some hundred times.
#[test]
fn testssl_finds_nothing_above_low_at_the_default_policy() {
    if !tools::has("testssl", &["testssl.sh"]) {
        return;
    }
    let dyno = fakes::answers("ok");
    let (busbar, at) = speaking("intermediate", dyno.address);
    let report = busbar.place.path("report.json");
    let mut scan = Command::new("timeout");
    scan.args(["--kill-after=5", "500", "testssl", "--quiet", "--warnings", "off", "--color", "0"]);
    scan.args(["--ip", "127.0.0.1", "--protocols", "--std", "--fs", "--server-defaults", "--vulnerable"]);
    scan.arg("--add-ca").arg(busbar.place.path("ca.pem")).arg("--jsonfile").arg(&report);
    scan.arg(format!("https://shop.example:{}/", at.port())).stdin(Stdio::null());
    let output = scan.output().expect("it is installed");
    let findings: Vec<Value> = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    let of = |severity: &str| findings.iter().filter(|finding| finding["severity"] == severity).count();
    assert!(of("OK") > 25, "it has looked: {output:?}");
    let bad = |finding: &&Value| {
        matches!(finding["severity"].as_str(), Some("MEDIUM" | "HIGH" | "CRITICAL" | "FATAL") | None)
    };
    let bad: Vec<_> = findings.iter().filter(bad).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    for (id, finding) in [("TLS1_2", "offered"), ("TLS1_3", "offered"), ("TLS1_1", "not offered")] {
        let found = findings.iter().find(|found| found["id"] == id).map(|found| &found["finding"]);
        assert!(found.is_some_and(|found| found.as_str().unwrap().starts_with(finding)), "{id}: {found:?}");
    }
}
