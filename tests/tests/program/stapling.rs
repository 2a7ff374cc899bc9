//! OCSP responses beside certificates, made and asked for by openssl.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use it::fakes;
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, IsCa, Issuer, KeyPair};

use crate::{
    busbar::{Busbar, Place},
    tools,
    wait::until,
};

/// Writes an authority and, in `NAME.pem`, a certificate with this number that it has signed; it must be stapled.
fn write_certificate(place: &Place, name: &str, number: u8) {
    let key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(vec![]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    place.write(&format!("{name}-ca.pem"), &ca.self_signed(&key).unwrap().pem());
    place.write(&format!("{name}-ca.key"), &key.serialize_pem());
    let issuer = Issuer::new(ca, key);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
    params.serial_number = Some(vec![number].into());
    let feature = CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], vec![0x30, 3, 2, 1, 5]);
    params.custom_extensions = vec![feature];
    place.write(&format!("{name}.pem"), &params.signed_by(&key, &issuer).unwrap().pem());
    place.write(&format!("{name}.key"), &key.serialize_pem());
}

/// What its authority says about a certificate, in `NAME.der`: `V` is well, `R` is revoked.
fn write_response(place: &Place, name: &str, number: u8, word: &str) -> PathBuf {
    let revoked = if word == "R" { "200101000000Z" } else { "" };
    let index =
        place.write("index", &format!("{word}\t491231000000Z\t{revoked}\t{number:02X}\tunknown\t/CN=x\n"));
    let at = |end: &str| place.path(&format!("{name}{end}"));
    let response = at(".der");
    let mut openssl = Command::new("openssl");
    openssl.args(["ocsp", "-ndays", "7", "-index"]).arg(index).arg("-CA").arg(at("-ca.pem"));
    openssl.arg("-rsigner").arg(at("-ca.pem")).arg("-rkey").arg(at("-ca.key"));
    openssl.arg("-issuer").arg(at("-ca.pem")).arg("-cert").arg(at(".pem")).arg("-respout").arg(&response);
    let output = openssl.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    response
}

/// The same response, but good only until then, as `date` understands it.
fn ends(response: &Path, when: &str) {
    let date = Command::new("date").args(["-u", "+%Y%m%d%H%M%SZ", "-d", when]).output().unwrap().stdout;
    let mut der = fs::read(response).unwrap();
    // When it was made, from when on and until when it is good; then come the times of its signer's certificate.
    let mut times = der.windows(2).enumerate().filter(|(_, head)| *head == [0x18, 15]).map(|(at, _)| at + 2);
    let end = times.nth(2).expect("three times");
    der[end..end + 15].copy_from_slice(&date[..15]);
    let new = response.with_extension("new");
    fs::write(&new, der).unwrap();
    fs::rename(new, response).unwrap();
}

fn config(dyno: SocketAddr) -> String {
    format!(
        "listen = [\"127.0.0.1:0\"]\nworkers = 1\n[[listener]]\naddress = \"127.0.0.1:0\"\ntls = \"intermediate\"\n\
         [[certificate]]\nchain = \"a.pem\"\nkey = \"a.key\"\nocsp = \"a.der\"\n\
         [[app]]\nname = \"shop\"\ndomains = [\"shop.example\"]\ndynos = [\"{dyno}\"]\n"
    )
}

/// What openssl says about the response beside the certificate.
fn shown(busbar: &Busbar) -> String {
    let at = busbar.err.find("an https address", |line| Some(line.rsplit_once("https://")?.1.to_owned()));
    let mut client = Command::new("openssl");
    client.args(["s_client", "-connect", &at, "-servername", "shop.example", "-status", "-CAfile"]);
    let output = client.arg(busbar.place.path("a-ca.pem")).stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn an_ocsp_response_is_shown_while_it_is_good_and_dropped_loudly_when_it_is_not() {
    if !tools::has("openssl", &["openssl"]) {
        return;
    }
    let (place, dyno) = (Place::new(), fakes::answers("ok"));
    write_certificate(&place, "a", 7);
    let response = write_response(&place, "a", 7, "V");
    let good = fs::read(&response).unwrap();
    ends(&response, "2020-01-02");
    let busbar = place.router(&config(dyno.address), &[]);
    busbar.err.find("an error", |line| {
        (line.contains("ERROR") && line.contains("a.der is out of date; fetch a new one")).then_some(())
    });
    busbar
        .err
        .find("a warning", |line| (line.contains("WARN") && line.contains("must-staple")).then_some(()));
    assert!(shown(&busbar).contains("OCSP response: no response sent"));

    fs::write(busbar.place.path("new"), &good).unwrap();
    fs::rename(busbar.place.path("new"), &response).unwrap();
    busbar.err.line("busbar: certificates read again: their files have changed");
    let said = shown(&busbar);
    assert!(
        said.contains("OCSP Response Status: successful") && said.contains("Cert Status: good"),
        "{said}"
    );

    // However late that is noticed.
    ends(&response, "+5 seconds");
    until("it is dropped", || {
        let said = busbar.err.lines();
        let errors = said.iter().filter(|line| line.contains("ERROR") && line.contains("is out of date"));
        (errors.count() == 2).then_some(())
    });
    assert!(shown(&busbar).contains("OCSP response: no response sent"));
}

#[test]
fn what_is_wrong_with_an_ocsp_response_is_told_with_its_line() {
    if !tools::has("openssl", &["openssl"]) {
        return;
    }
    let place = Place::new();
    write_certificate(&place, "a", 7);
    write_certificate(&place, "b", 8);
    let file = place.write("edge.toml", &config(([127, 0, 0, 1], 9).into())).display().to_string();
    let said = || place.verb(&["validate", &file]).failed(3);
    write_response(&place, "a", 7, "R");
    assert!(said().contains("9:8: "), "its place");
    assert!(said().contains("a.der says that the certificate is revoked or unknown"));
    fs::copy(write_response(&place, "b", 8, "V"), place.path("a.der")).unwrap();
    assert!(said().contains("a.der is about another certificate"));
    place.write("a.der", "nonsense");
    assert!(said().contains("a.der is no successful OCSP response in DER"));
    fs::remove_file(place.path("a.der")).unwrap();
    assert!(said().contains("a.der cannot be read"));
    let whole = fs::read(write_response(&place, "a", 7, "V")).unwrap();
    for length in (0..whole.len()).step_by(9) {
        fs::write(place.path("a.der"), &whole[..length]).unwrap();
        assert!(said().contains("a.der is"), "cut at {length}");
    }
    fs::write(place.path("a.der"), whole).unwrap();
    ends(&place.path("a.der"), "2020-01-02");
    let ended = place.verb(&["validate", &file]);
    assert!(ended.code == Some(0) && ended.err.contains("warning: the OCSP response"), "{ended:?}");
}
