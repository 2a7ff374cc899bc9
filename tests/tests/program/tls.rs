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
    curl_with(busbar, at, trusted, |_| {})
}

fn curl_with(
    busbar: &Busbar,
    at: SocketAddr,
    trusted: &str,
    change: impl FnOnce(&mut Command),
) -> Result<String, String> {
    let file = busbar.place.path("trusted.pem");
    fs::write(&file, trusted).unwrap();
    let (resolve, url) =
        (format!("shop.example:{}:127.0.0.1", at.port()), format!("https://shop.example:{}/", at.port()));
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "10", "--resolve", &resolve, "--cacert"]).arg(file).arg(url);
    change(&mut curl);
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
    // One look may have seen the new key with the old certificate, and said that.
    let is_it = |line: &str| line.contains("the old certificates") && line.contains("expired");
    let said = busbar.err.find("a complaint", |line| is_it(line).then(|| line.to_owned()));
    assert!(said.contains("renew it"), "{said}");
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
        assert!(said.contains(version) && said.contains("ALPN protocol: h2"), "{said}");
    }
}

/// An authority of clients, and a client's certificate and key in files of these names.
fn write_client(place: &Place, name: &str) {
    let key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(vec![]).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    place.write(&format!("{name}-ca.pem"), &ca.self_signed(&key).unwrap().pem());
    let issuer = rcgen::Issuer::new(ca, key);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    place.write(&format!("{name}.pem"), &params.signed_by(&key, &issuer).unwrap().pem());
    place.write(&format!("{name}.key"), &key.serialize_pem());
}

#[test]
fn curl_gets_in_with_a_certificate_of_the_authority_in_force_and_the_dyno_learns_whose_it_is() {
    let dyno = fakes::echoes();
    let place = Place::new();
    let server = write_certificate(&place, 2999);
    write_client(&place, "alice");
    write_client(&place, "bob");
    place.write("clients.pem", &fs::read_to_string(place.path("alice-ca.pem")).unwrap());
    let asks = "tls = \"intermediate\"\nclient_certificates = \"required\"\nclient_ca = [\"clients.pem\"]\n";
    let config = config(dyno.address).replacen("tls = \"intermediate\"\n", asks, 1);
    let busbar = place.router(&config, &[]);
    let at = encrypted(&busbar);
    let ask = |name: &str| {
        let [certificate, key] = ["pem", "key"].map(|end| busbar.place.path(&format!("{name}.{end}")));
        curl_with(&busbar, at, &server, |curl| {
            curl.arg("--cert").arg(certificate).arg("--key").arg(key);
        })
    };
    assert!(curl(&busbar, at, &server).is_err());
    assert!(ask("bob").is_err());
    let head = ask("alice").unwrap();
    assert!(head.contains(r#"["X-Client-Verify","SUCCESS"],["X-Client-Subject","CN=alice"]"#), "{head}");
    let (_, state) = busbar.admin("/v1/state").unwrap();
    assert!(state.contains("\"tls_client_certificate\":2"), "{state}");

    busbar.place.write("clients.pem", &fs::read_to_string(busbar.place.path("bob-ca.pem")).unwrap());
    busbar.err.line("busbar: authorities of clients read again: their files have changed");
    assert!(ask("alice").is_err());
    assert!(ask("bob").unwrap().contains("CN=bob"));
    busbar.place.write("clients.pem", "nothing");
    busbar.err.find("a complaint", |line| line.contains("the old authorities of clients stay").then_some(()));
    assert!(ask("bob").is_ok());
}

#[test]
fn two_routers_with_the_same_ticket_keys_resume_each_others_sessions() {
    use std::{os::unix::fs::PermissionsExt as _, path::Path};
    let dyno = fakes::answers("ok");
    let ticket_keys = |place: &Place, lines: &[&str]| {
        let new = place.write("new.keys", &lines.join("\n"));
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(new, place.path("ticket.keys")).unwrap();
    };
    let (old, next, last) = ("01".repeat(32), "02".repeat(32), "03".repeat(32));
    let started = || {
        let place = Place::new();
        write_certificate(&place, 2999);
        ticket_keys(&place, &[&old]);
        place.router(&format!("{}[tls]\nticket_keys = \"ticket.keys\"\n", config(dyno.address)), &[])
    };
    let (one, other) = (started(), started());
    // What openssl says of a connection with the session in this file, or of one that puts it there.
    let openssl = |busbar: &Busbar, flag: &str, file: &Path| {
        let mut client = Command::new("openssl");
        let at = encrypted(busbar).to_string();
        client.args(["s_client", "-connect", &at, "-servername", "shop.example", "-tls1_2", flag]).arg(file);
        let output = client.stdin(std::process::Stdio::null()).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let session = one.place.path("session");
    let Some(said) = openssl(&one, "-sess_out", &session) else {
        return crate::wait::skipped("there is no openssl");
    };
    assert!(said.contains("New, TLSv1.2"), "{said}");
    assert!(openssl(&other, "-sess_in", &session).unwrap().contains("Reused, TLSv1.2"));
    ticket_keys(&other.place, &[&next, &old]);
    other.err.line("busbar: ticket keys read again: their file has changed");
    assert!(openssl(&other, "-sess_in", &session).unwrap().contains("Reused, TLSv1.2"));
    ticket_keys(&other.place, &[&last, &next]);
    crate::wait::until("they are read a second time", || {
        let said = other.err.lines();
        (said.iter().filter(|line| line.contains("ticket keys read again")).count() == 2).then_some(())
    });
    assert!(openssl(&other, "-sess_in", &session).unwrap().contains("New, TLSv1.2"));
    other.place.write("ticket.keys", "nonsense");
    other.err.find("a complaint", |line| line.contains("the old ticket keys stay in force").then_some(()));
}

#[test]
fn what_is_wrong_with_client_certificates_and_ticket_keys_is_told_with_its_line() {
    let place = Place::new();
    write_certificate(&place, 2999);
    place.write("open.keys", &"00".repeat(32));
    let text = format!(
        "{}[tls]\nticket_keys = \"open.keys\"\n[[listener]]\naddress = \"127.0.0.1:0\"\nclient_certificates = \"required\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\ntls = \"modern\"\nclient_certificates = \"sometimes\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\ntls = \"modern\"\nclient_ca = [\"a.pem\"]\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\ntls = \"modern\"\nclient_certificates = \"optional\"\nclient_ca = [\"a.key\"]\n",
        config(([127, 0, 0, 1], 9).into())
    );
    let file = place.write("edge.toml", &text).display().to_string();
    let said = place.verb(&["validate", &file]).failed(3);
    for complaint in [
        "17:15: the ticket keys in",
        "20:23: only a client that speaks TLS has a certificate",
        "20:23: it must be said who signs",
        "24:23: `client_certificates` is \"sometimes\"",
        "28:13: no client is asked for a certificate here",
        "33:13: ",
    ] {
        assert!(said.contains(complaint), "{complaint}: {said}");
    }
}

#[test]
fn a_certificate_comes_over_the_admin_api_is_kept_and_goes_again() {
    let dyno = fakes::answers("ok");
    let place = Place::new();
    let first = write_certificate(&place, 2999) + &fs::read_to_string(place.path("a.key")).unwrap();
    let text = config(dyno.address);
    let certificate = "[[certificate]]\nchain = \"a.pem\"\nkey = \"a.key\"\n";
    assert!(text.contains(certificate));
    let text = text.replacen(certificate, "", 1) + "[tls]\nuploads = \"kept\"\n";
    let busbar = place.router(&text, &[]);
    let ask = |busbar: &Busbar, method: &str, name: &str, body: &str| {
        let file = busbar.place.write("body", body);
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-w", " %{http_code}", "-X", method, "--unix-socket"]).arg(busbar.place.admin());
        curl.arg("--data-binary").arg(format!("@{}", file.display()));
        let output =
            curl.arg(format!("http://busbar/v1/certificates/{name}")).output().expect("curl is installed");
        String::from_utf8(output.stdout).unwrap()
    };
    let at = encrypted(&busbar);
    assert!(curl(&busbar, at, &first).is_err(), "there is none yet");
    assert_eq!(ask(&busbar, "PUT", "shop", &first), r#"{"name":"shop","names":["shop.example"]} 200"#);
    busbar.err.line("busbar: certificates read again");
    assert_eq!(curl(&busbar, at, &first), Ok("ok".into()));

    let other_key = KeyPair::generate().unwrap().serialize_pem();
    let chain = first.split("-----BEGIN PRIVATE").next().unwrap();
    for (name, body, said, code) in [
        ("shop", format!("{chain}{other_key}"), "is not that of the first certificate", "422"),
        ("Shop", first.clone(), "is no name for a certificate", "422"),
        ("nobody", String::new(), "has no certificate", "422"),
    ] {
        let answer = ask(&busbar, "PUT", name, &body);
        assert!(answer.contains(said) && answer.ends_with(code) && !answer.contains("PRIVATE"), "{answer}");
    }
    let answer = ask(&busbar, "DELETE", "nobody", "");
    assert!(answer.contains("there is no certificate") && answer.ends_with("404"), "{answer}");
    assert_eq!(curl(&busbar, at, &first), Ok("ok".into()));

    assert_eq!(ask(&busbar, "DELETE", "shop", ""), r#"{"name":"shop","names":[]} 200"#);
    crate::wait::until("it is shown no more", || curl(&busbar, at, &first).is_err().then_some(()));

    // The same with the command line.
    let (chain, key) = (busbar.place.path("a.pem"), busbar.place.path("a.key"));
    let (chain, key) = (chain.display().to_string(), key.display().to_string());
    let said = busbar.verb(&["certs", "add", "shop", "--chain", &chain, "--key", &key]).said();
    assert_eq!(said, "Added shop for shop.example\n");
    crate::wait::until("it is shown", || curl(&busbar, at, &first).is_ok().then_some(()));
    let said = busbar.verb(&["certs", "add", "../shop", "--chain", &chain, "--key", &key]).failed(2);
    assert!(said.contains("is no name for a certificate"), "{said}");
    assert_eq!(busbar.verb(&["certs", "remove", "shop"]).said(), "Removed shop\n");
    crate::wait::until("it is shown no more", || curl(&busbar, at, &first).is_err().then_some(()));
}

#[test]
fn uploads_that_cannot_be_read_stay_in_force() {
    let dyno = fakes::answers("ok");
    let place = Place::new();
    let first = write_certificate(&place, 2999) + &fs::read_to_string(place.path("a.key")).unwrap();
    let text = config(dyno.address).replacen("[[certificate]]\nchain = \"a.pem\"\nkey = \"a.key\"\n", "", 1);
    fs::create_dir(place.path("real")).unwrap();
    place.write("real/shop.pem", &first);
    std::os::unix::fs::symlink("real", place.path("kept")).unwrap();
    let busbar = place.router(&(text + "[tls]\nuploads = \"kept\"\n"), &[]);
    let at = encrypted(&busbar);
    assert_eq!(curl(&busbar, at, &first), Ok("ok".into()));

    let turn = |to: &str| {
        std::os::unix::fs::symlink(to, busbar.place.path("new")).unwrap();
        fs::rename(busbar.place.path("new"), busbar.place.path("kept")).unwrap();
    };
    turn("a.pem"); // which is no directory
    let said = busbar.err.line("kept cannot be read");
    assert!(said.contains("the old certificates stay in force"), "{said}");
    assert_eq!(curl(&busbar, at, &first), Ok("ok".into()));
    let refused = busbar.verb(&["reload"]).failed(1);
    assert!(refused.contains("kept cannot be read"), "{refused}");
    turn("nothing"); // now there is none
    crate::wait::until("it is shown no more", || curl(&busbar, at, &first).is_err().then_some(()));
    turn("real");
    crate::wait::until("it is shown again", || curl(&busbar, at, &first).is_ok().then_some(()));
    busbar.signal(rustix::process::Signal::TERM);
    let said = busbar.err.to_the_end().join("\n");
    assert_eq!(said.matches("the old certificates stay in force").count(), 1, "{said}");
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
