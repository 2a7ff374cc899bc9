//! Certificates are kept, shared and renewed.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    time::{Duration, SystemTime},
};

use it::fakes;
use rcgen::{CertificateParams, KeyPair};
use rustix::process::Signal;
use serde_json::json;

use super::{pebble::Pebble, renew, row};
use crate::{busbar::Place, wait::until};

#[test]
fn a_restart_uses_what_is_kept_without_another_order_and_without_the_server() {
    let Some(mut pebble) = Pebble::start(&[]) else { return };
    let dyno = fakes::answers("ok");
    let config = pebble.config(dyno.address, &["shop.example"], "");
    let mut busbar = Place::new().router(&config, &[]);
    let first = pebble.see("shop.example");
    let row = row(&busbar, "shop.example").unwrap();
    assert_eq!((row["source"].as_str(), row["failures"].as_u64()), (Some("acme"), Some(0)), "{row}");
    assert!(row["issuer"].as_str().unwrap().contains("Pebble"), "{row}");
    assert!(row["next_attempt"].as_str() < row["expires"].as_str(), "{row}");
    busbar.signal(Signal::TERM);
    assert!(busbar.ended().success());
    let (file, directory) = (pebble.kept("shop.example"), pebble.storage());
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap()), mode(&directory)), (0o600, 0o700, 0o700));
    let account = fs::read_to_string(file.with_file_name("account.json")).unwrap();
    let said = busbar.err.to_the_end().join("\n");
    let key = account.split("key_pkcs8\":\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(!said.contains(key), "the account's key is told to nobody");

    let roots = pebble.roots();
    pebble.end();
    let busbar = Place::new().router(&config, &[]);
    let again = pebble.look_trusting(roots, "shop.example").expect("it is served at once");
    assert_eq!(again, first);
    assert_eq!(pebble.orders(), 1);
    drop(busbar);
}

#[test]
fn a_certificate_is_renewed_when_somebody_says_so_and_open_connections_do_not_notice() {
    let Some(pebble) = Pebble::start(&[]) else { return };
    let dyno = fakes::answers("ok");
    let busbar = Place::new().router(&pebble.config(dyno.address, &["shop.example"], ""), &[]);
    let first = pebble.see("shop.example");
    let mut client = busbar.client();
    renew(&busbar, "SHOP.example.");
    until("another one is shown", || (pebble.see("shop.example") != first).then_some(()));
    assert_eq!(crate::busbar::get(&mut client, "shop.example", "/").0, 200);
    let unknown = busbar.verb(&["certs", "renew", "other.example"]);
    assert!(unknown.code == Some(1) && unknown.err.contains("the names are: shop.example"), "{unknown:?}");
    let table = busbar.verb(&["certs"]).out;
    assert!(
        table.starts_with("NAMES ") && table.contains("shop.example  ") && table.contains("acme"),
        "{table}"
    );
}

#[test]
fn one_that_is_nearly_over_is_renewed_at_once() {
    let Some(pebble) = Pebble::start(&[]) else { return };
    let dyno = fakes::answers("ok");
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    let soon = SystemTime::now() + Duration::from_secs(3600);
    params.not_after = soon.into();
    let old = params.self_signed(&key).unwrap();
    let file = pebble.kept("shop.example");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, format!("{}{}", key.serialize_pem(), old.pem())).unwrap();
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(&file).unwrap().set_modified(an_hour_ago).unwrap();
    let busbar = Place::new().router(&pebble.config(dyno.address, &["shop.example"], ""), &[]);
    busbar.err.line("a new certificate for shop.example");
    assert_ne!(&pebble.see("shop.example").certificate, old.der());
}

#[test]
fn routers_that_share_the_storage_share_the_certificate() {
    let Some(pebble) = Pebble::start(&[]) else { return };
    let dyno = fakes::answers("ok");
    let config = pebble.config(dyno.address, &["shop.example"], "");
    let one = Place::new().router(&config, &[]);
    let first = pebble.see("shop.example");
    let elsewhere = config
        .replace(&pebble.http.address().to_string(), "127.0.0.1:0")
        .replace(&pebble.tls.address().to_string(), "127.0.0.1:0");
    let other = Place::new().router(&elsewhere, &[]);
    let at = other.err.find("an https address", |line| line.rsplit_once("https://")?.1.parse().ok());
    let roots = pebble.roots();
    let seen = || super::pebble::look(at, roots.clone(), "shop.example", &[]).expect("it has it, too");
    assert_eq!(seen(), first);
    assert_eq!(pebble.orders(), 1);
    renew(&one, "shop.example");
    until("the other has noticed", || (seen() != first).then_some(()));
    assert_eq!(pebble.orders(), 2);
}

#[test]
fn certificates_in_files_win_and_none_is_requested_for_their_names() {
    let Some(pebble) = Pebble::start(&[]) else { return };
    let dyno = fakes::answers("ok");
    let place = Place::new();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["*.shop.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    place.write("own.pem", &own.pem());
    place.write("own.key", &key.serialize_pem());
    let config = pebble.config(dyno.address, &["a.shop.example", "shop.example"], "");
    let files = "[[certificate]]\nchain = \"own.pem\"\nkey = \"own.key\"\n";
    let busbar = place.router(&(config + files), &[]);
    assert_eq!(pebble.see("shop.example").answer, "ok");
    assert_eq!(row(&busbar, "a.shop.example"), None);
    assert!(row(&busbar, "*.shop.example").unwrap()["source"].as_str().unwrap().ends_with("own.pem"));
    assert_eq!(pebble.orders(), 1);
}

#[test]
fn a_name_whose_uploaded_certificate_is_removed_has_one_requested_without_a_reload() {
    let Some(pebble) = Pebble::start(&[]) else { return };
    let dyno = fakes::answers("ok");
    let place = Place::new();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    fs::create_dir(place.path("kept")).unwrap();
    place.write("kept/shop.pem", &(own.pem() + &key.serialize_pem()));
    let config = pebble.config(dyno.address, &["shop.example"], "") + "[tls]\nuploads = \"kept\"\n";
    let busbar = place.router(&config, &[]);
    let is_from_file = || row(&busbar, "shop.example").filter(|row| row["source"] != "acme");
    assert!(is_from_file().is_some());
    assert_eq!(busbar.verb(&["certs", "remove", "shop"]).said(), "Removed shop\n");
    assert_eq!(pebble.see("shop.example").answer, "ok");
    busbar.place.write("kept/shop.pem", &(own.pem() + &key.serialize_pem()));
    until("the uploaded one is shown instead", is_from_file);
    until("none is kept for it any more", || {
        let refused = busbar.verb(&["certs", "renew", "shop.example"]);
        (refused.code == Some(1)).then_some(())
    });
}

#[test]
fn a_reload_brings_names_and_takes_them() {
    let Some(pebble) = Pebble::start(&[]) else { return };
    let dyno = fakes::answers("ok");
    let with = |domain: &str| pebble.config(dyno.address, &[domain], "");
    let busbar = Place::new().router(&with("one.example"), &[]);
    pebble.see("one.example");
    busbar.place.write("edge.toml", &with("two.example"));
    assert_eq!(busbar.verb(&["reload"]).code, Some(0));
    assert_eq!(pebble.see("two.example").answer, "ok");
    assert!(pebble.look("one.example").is_err());
    busbar.place.write("edge.toml", &with("two.example").replace("ops@", "dev@"));
    let refused = busbar.verb(&["reload"]);
    assert!(
        refused.code == Some(1) && refused.err.contains("only a restart can change [acme]"),
        "{refused:?}"
    );
}

/// A moment as the server writes it.
fn written(moment: SystemTime) -> String {
    let seconds = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let date =
        std::process::Command::new("date").args(["-u", "-d", &format!("@{seconds}"), "+%FT%TZ"]).output();
    String::from_utf8(date.expect("it can be run").stdout).unwrap().trim().to_owned()
}

#[test]
fn a_certificate_is_renewed_in_the_window_that_the_server_suggests_and_not_before_it_wants_to_be_asked() {
    let Some(pebble) = Pebble::start(&[]) else { return };
    let dyno = fakes::answers("ok");
    let config = pebble.config(dyno.address, &["shop.example"], "");
    {
        let _busbar = Place::new().router(&config, &[]);
        pebble.see("shop.example");
    }
    let days = |n: u64| written(SystemTime::now() + Duration::from_secs(n * 86_400));
    let window = (days(100), days(101));
    let suggested = json!({"suggestedWindow": {"start": window.0, "end": window.1}}).to_string();
    let at = pebble.stand_in(move |at, asked| match asked {
        "GET /dir" => {
            let url = |path: &str| format!("https://{at}/{path}");
            let directory = json!({
                "newNonce": url("nonce"), "newAccount": url("account"), "newOrder": url("order"),
                "renewalInfo": url("ari"),
            });
            ("200 OK".into(), directory.to_string())
        }
        "HEAD /nonce" => ("200 OK\r\nReplay-Nonce: once".into(), String::new()),
        "POST /order" => {
            let kind = "urn:ietf:params:acme:error:rateLimited";
            let problem = json!({"type": kind, "detail": "too many certificates already"});
            ("429 Too Many Requests\r\nRetry-After: 7200\r\nReplay-Nonce: again".into(), problem.to_string())
        }
        ari if ari.starts_with("GET /ari/") => ("200 OK\r\nRetry-After: 21600".into(), suggested.clone()),
        other => (format!("404 {other}"), String::new()),
    });
    let busbar = Place::new().router(&pebble.config_of(at, dyno.address, &["shop.example"], ""), &[]);
    until("it is planned", || {
        let row = row(&busbar, "shop.example")?;
        let next = row["next_attempt"].as_str()?;
        (window.0.as_str() <= next && next <= window.1.as_str()).then_some(())
    });
    renew(&busbar, "shop.example");
    let said = busbar.err.line("no certificate for shop.example");
    assert!(
        said.contains("says no: too many certificates already (rateLimited); the old one stays"),
        "{said}"
    );
    let pause: u64 = said.rsplit(" in ").next().unwrap().trim_end_matches(" s").parse().unwrap();
    assert!((7000..=7200).contains(&pause), "{said}");
}
