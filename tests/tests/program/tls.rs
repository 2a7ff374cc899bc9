//! TLS as it is configured: certificates in files, and what curl and openssl make of them.

use std::{fs, net::SocketAddr, process::Command};

use it::fakes;
use rcgen::{CertificateParams, KeyPair};

use crate::busbar::{Busbar, Place};

/// Writes a certificate for `shop.example` that signed itself, and its key.
fn write_certificate(place: &Place, year: i32) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let made = params.self_signed(&key).unwrap().pem();
    place.write("a.key", &key.serialize_pem());
    place.write("a.pem", &made);
    made
}

fn config(dyno: SocketAddr) -> String {
    format!(
        "listen = [\"127.0.0.1:0\"]\nworkers = 1\n\n[[listener]]\naddress = \"127.0.0.1:0\"\ntls = \"intermediate\"\n\n\
         [[certificate]]\nchain = \"a.pem\"\nkey = \"a.key\"\n\n\
         [[app]]\nname = \"shop\"\ndomains = [\"shop.example\"]\ndynos = [\"{dyno}\"]\n"
    )
}

fn encrypted(busbar: &Busbar) -> SocketAddr {
    busbar.err.find("an https address", |line| line.rsplit_once("https://")?.1.parse().ok())
}

/// What curl gets that trusts only the certificate in this file.
fn curl(busbar: &Busbar, at: SocketAddr, trusted: &str) -> Result<String, String> {
    let file = busbar.place.path("trusted.pem");
    fs::write(&file, trusted).unwrap();
    let (resolve, url) =
        (format!("shop.example:{}:127.0.0.1", at.port()), format!("https://shop.example:{}/", at.port()));
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "10", "--resolve", &resolve, "--cacert"]).arg(file).arg(url);
    let output = curl.output().expect("curl is installed");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[test]
fn changed_certificate_files_are_served_and_bad_ones_keep_the_old() {
    let dyno = fakes::answers("ok");
    let place = Place::new();
    let first = write_certificate(&place, 2999);
    let busbar = place.router(&config(dyno.address), &[]);
    let at = encrypted(&busbar);
    assert_eq!(curl(&busbar, at, &first), Ok("ok".into()));
    let (_, state) = busbar.admin("/v1/state").unwrap();
    assert!(state.contains("\"names\":[\"shop.example\"],\"expires\":\"2999-01-01T00:00:00Z\""), "{state}");

    let second = write_certificate(&busbar.place, 2999);
    busbar.err.line("busbar: certificates read again: their files have changed");
    assert_eq!(curl(&busbar, at, &second), Ok("ok".into()));
    assert!(curl(&busbar, at, &first).is_err());

    write_certificate(&busbar.place, 2020);
    let said =
        busbar.err.find("a complaint", |line| line.contains("the old certificates").then(|| line.to_owned()));
    assert!(said.contains("expired") && said.contains("renew it"), "{said}");
    assert_eq!(curl(&busbar, at, &second), Ok("ok".into()));
    let reloaded = busbar.verb(&["reload"]);
    assert!(reloaded.code == Some(1) && reloaded.err.contains("expired"), "{reloaded:?}");
    assert_eq!(curl(&busbar, at, &second), Ok("ok".into()));
}

#[test]
fn an_expired_certificate_is_shown_and_said_loudly_and_a_good_one_takes_its_place() {
    let dyno = fakes::answers("ok");
    let place = Place::new();
    let expired = write_certificate(&place, 2020);
    let file = place.write("edge.toml", &config(dyno.address)).display().to_string();
    let valid = place.verb(&["validate", &file]);
    assert!(valid.code == Some(0) && valid.err.contains("warning: the certificate in"), "{valid:?}");
    let busbar = place.router(&config(dyno.address), &[]);
    let at = encrypted(&busbar);
    busbar.err.find("an error", |line| {
        (line.contains("ERROR") && line.contains("expired") && line.contains("clients refuse it"))
            .then_some(())
    });
    let refused = curl(&busbar, at, &expired).unwrap_err();
    assert!(refused.contains("expired"), "{refused}");
    let (_, state) = busbar.admin("/v1/state").unwrap();
    assert!(state.contains("\"expires_in_days\":0,\"expires_in_seconds\":-"), "{state}");

    let good = write_certificate(&busbar.place, 2999);
    busbar.err.line("busbar: certificates read again: their files have changed");
    assert_eq!(curl(&busbar, at, &good), Ok("ok".into()));
}

#[test]
fn openssl_speaks_both_versions_with_it() {
    let dyno = fakes::answers("ok");
    let place = Place::new();
    write_certificate(&place, 2999);
    let busbar = place.router(&config(dyno.address), &[]);
    let at = encrypted(&busbar).to_string();
    for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let mut client = Command::new("openssl");
        client.args([
            "s_client",
            "-connect",
            &at,
            "-servername",
            "shop.example",
            "-alpn",
            "h2,http/1.1",
            flag,
        ]);
        let Ok(output) = client.stdin(std::process::Stdio::null()).output() else {
            return crate::wait::skipped("there is no openssl");
        };
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains(version) && said.contains("ALPN protocol: http/1.1"), "{said}");
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_told_with_its_line() {
    let place = Place::new();
    write_certificate(&place, 2999);
    place.write("a.key", &KeyPair::generate().unwrap().serialize_pem());
    let file = place.write("edge.toml", &config(([127, 0, 0, 1], 9).into())).display().to_string();
    let said = place.verb(&["validate", &file]).failed(3);
    assert!(said.contains("edge.toml:9:9: the key in") && said.contains("use the key that"), "{said}");
    fs::remove_file(place.path("a.pem")).unwrap();
    let said = place.verb(&["validate", &file]).failed(3);
    assert!(said.contains("a.pem cannot be read"), "{said}");
    let none = "[[listener]]\naddress = \"127.0.0.1:0\"\ntls = \"ancient\"\n[[certificate]]\nchain = \"x\"\n";
    let file = place.write("none.toml", none).display().to_string();
    let said = place.verb(&["validate", &file]).failed(3);
    assert!(
        said.contains("3:7: `tls` is \"ancient\"") && said.contains("4:1: a [[certificate]] needs"),
        "{said}"
    );
}
