//! `[acme]`, and `acme = true` in an app.

use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use super::{complaints, good};
use crate::config::acme::{Challenge, ExternalAccount, Hook, KeyType};

const LISTENERS: &str =
    "listen = [\"127.0.0.1:80\"]\n[[listener]]\naddress = \"127.0.0.1:443\"\ntls = \"modern\"\n";

fn app(domains: &str) -> String {
    format!("[[app]]\nname = \"shop\"\nacme = true\ndomains = [{domains}]\n")
}

#[test]
fn every_key_of_acme_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let (hook, key) = (file("hook", "#!/bin/sh\n", 0o755), file("eab", "c2VjcmV0\n", 0o600));
    let signer = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::CertificateParams::new(vec![]).unwrap().self_signed(&signer).unwrap().pem();
    let ca = file("ca.pem", &authority, 0o644);
    let config = good(&format!(
        "{LISTENERS}[acme]\nagree_to_terms = true\ndirectory = \"https://ca.example/dir\"\n\
         contact = [\"ops@example.com\", \"mailto:dev@example.com\"]\ndomains = [\"own.example\"]\n\
         challenges = [\"dns-01\", \"http-01\"]\nhook = {hook:?}\nhook_timeout = \"5s\"\nkey_type = \"rsa-2048\"\n\
         storage = \"kept\"\neab_key_id = \"kid\"\neab_key_file = {key:?}\nca_file = {ca:?}\nprofile = \"short\"\n\
         on_demand = true\non_demand_per_hour = 3\n{}",
        app("\"Shop.example\", \"*.shop.example\"")
    ));
    let acme = config.acme.unwrap();
    assert_eq!(acme.directory, "https://ca.example/dir");
    assert_eq!(acme.contact, ["mailto:ops@example.com", "mailto:dev@example.com"]);
    assert_eq!(acme.challenges, [Challenge::Dns, Challenge::Http]);
    assert_eq!(acme.hook, Some(Hook { program: hook, timeout: Duration::from_secs(5) }));
    assert_eq!((acme.key_type, acme.profile.as_deref()), (KeyType::Rsa2048, Some("short")));
    assert_eq!(acme.storage, std::path::Path::new("kept"));
    assert_eq!(acme.external_account, Some(ExternalAccount { id: "kid".into(), key_file: key }));
    assert_eq!((acme.ca_file, acme.on_demand, acme.on_demand_per_hour), (Some(ca), true, 3));
    let names: Vec<_> = config.wanted.names.iter().map(String::as_str).collect();
    assert_eq!(names, ["*.shop.example", "own.example", "shop.example"]);
    assert!(config.wanted.apps.contains("shop"));
}

#[test]
fn little_needs_to_be_said_and_staging_is_one_word() {
    let little = format!("{LISTENERS}[acme]\nagree_to_terms = true\n");
    let acme = good(&format!("{little}{}", app("\"a.example\""))).acme.unwrap();
    assert_eq!(acme.directory, "https://acme-v02.api.letsencrypt.org/directory");
    assert_eq!(acme.challenges, [Challenge::Http, Challenge::TlsAlpn]);
    let staging = good(&format!("{little}staging = true\n{}", app("\"a.example\""))).acme.unwrap();
    assert_eq!(staging.directory, "https://acme-staging-v02.api.letsencrypt.org/directory");
}

#[test]
fn an_acme_that_makes_no_sense_is_refused_in_words_that_help() {
    for (settings, domains, said) in [
        ("contact = []", "\"a.example\"", "needs agree_to_terms = true: read the terms"),
        ("agree_to_terms = false", "\"a.example\"", "6:18: [acme] needs agree_to_terms"),
        ("agree_to_terms = true\ndirectory = \"http://ca.example\"", "\"a.example\"", "7:13: `directory` is"),
        (
            "agree_to_terms = true\nstaging = true\ndirectory = \"https://ca.example\"",
            "\"a.example\"",
            "7:11: `staging` is Let's Encrypt's",
        ),
        ("agree_to_terms = true\ncontact = [\"ops\"]", "\"a.example\"", "7:12: contact \"ops\" is no e-mail"),
        ("agree_to_terms = true\nchallenges = []", "\"a.example\"", "`challenges` has none"),
        ("agree_to_terms = true\nchallenges = [\"dns\"]", "\"a.example\"", "7:15: challenge \"dns\": write"),
        ("agree_to_terms = true\nchallenges = [\"dns-01\"]", "\"a.example\"", "needs a `hook`"),
        ("agree_to_terms = true\nhook = \"/bin/true\"", "\"a.example\"", "7:8: `hook` is for the challenge"),
        (
            "agree_to_terms = true\nchallenges = [\"dns-01\"]\nhook = \"/none\"",
            "\"a.example\"",
            "8:8: the hook /none cannot be found",
        ),
        (
            "agree_to_terms = true",
            "\"*.a.example\"",
            "a certificate for *.a.example needs the challenge \"dns-01\"",
        ),
        ("agree_to_terms = true\nkey_type = \"dsa\"", "\"a.example\"", "7:12: `key_type` is \"dsa\""),
        ("agree_to_terms = true\neab_key_id = \"kid\"", "\"a.example\"", "7:14: `eab_key_id` and"),
        ("agree_to_terms = true\nca_file = \"/none\"", "\"a.example\"", "7:11: `ca_file` /none"),
        ("agree_to_terms = true\non_demand_per_hour = 0", "\"a.example\"", "7:22: `on_demand_per_hour` is 0"),
        ("agree_to_terms = true\nhok = \"x\"", "\"a.example\"", "did you mean `hook`?"),
    ] {
        let told = complaints(&format!("{LISTENERS}[acme]\n{settings}\n{}", app(domains)));
        assert!(told.iter().any(|told| told.contains(said)), "{settings}: {told:?}");
    }
    let without = complaints(&format!("{LISTENERS}[[certificate]]\n{}", app("\"a.example\"")));
    assert!(without.iter().any(|told| told.contains("app shop wants certificates, but there is no [acme]")));
    let plain = complaints(&format!("[acme]\nagree_to_terms = true\n{}", app("\"a.example\"")));
    assert!(plain.iter().any(|told| told.contains("no listener speaks TLS")), "{plain:?}");
    let nobody = complaints(&format!("{LISTENERS}[acme]\nagree_to_terms = true\n"));
    assert!(nobody.iter().any(|told| told.contains("no name to request certificates for")), "{nobody:?}");
}
