//! Each way in which an ACME server can be shown whose a name is.

use std::{fs, os::unix::fs::PermissionsExt as _};

use it::fakes;

use super::{
    pebble::{EXTERNAL_KEY, Pebble},
    row,
};
use crate::{
    busbar::{Busbar, Place},
    wait::until,
};

#[test]
fn by_http_01_though_the_app_redirects_and_is_in_maintenance() {
    let Some(pebble) = Pebble::start(&[]) else { return };
    let dyno = fakes::answers("ok");
    let config = pebble.config(dyno.address, &["shop.example"], "challenges = [\"http-01\"]");
    let config = config.replace("acme = true", "acme = true\nmaintenance = true");
    let busbar = Place::new().router(&(config + "[app.routing]\nhttps_redirect = true\n"), &[]);
    assert!(pebble.see("shop.example").answer.contains("H80"));
    let log = busbar.out.line(" path=\"/.well-known/acme-challenge/");
    assert!(
        log.contains("at=info method=GET") && log.contains(" dyno= ") && log.contains(" status=200 "),
        "{log}"
    );
    // What is asked for at another time goes where everything goes.
    assert_eq!(busbar.get("shop.example", "/.well-known/acme-challenge/unknown").0, 301);
}

#[test]
fn by_tls_alpn_01_and_nobody_else_is_offered_its_protocol() {
    let Some(pebble) = Pebble::start(&[]) else { return };
    let dyno = fakes::answers("ok");
    let config = pebble.config(dyno.address, &["shop.example"], "challenges = [\"tls-alpn-01\"]");
    let busbar = Place::new().router(&config, &[]);
    assert_eq!(pebble.see("shop.example").answer, "ok");
    let (_, state) = busbar.admin("/v1/state").unwrap();
    assert!(state.contains("\"tls_validation\":"), "{state}");
    for protocols in [&["acme-tls/1"][..], &["acme-tls/1", "http/1.1"]] {
        let refused = pebble.look_with("shop.example", protocols);
        assert!(refused.is_err(), "{protocols:?}: {refused:?}");
    }
}

/// A program that tells the DNS, and writes down what it was told.
fn hook(place: &Place, pebble: &Pebble, more: &str) -> String {
    let script = format!(
        "#!/bin/sh\nset -eu\necho \"$@\" >> {log}\n{more}\ncase $1 in\n\
         present) path=set-txt body=\"{{\\\"host\\\":\\\"_acme-challenge.$2.\\\",\\\"value\\\":\\\"$3\\\"}}\" ;;\n\
         cleanup) path=clear-txt body=\"{{\\\"host\\\":\\\"_acme-challenge.$2.\\\"}}\" ;;\nesac\n\
         curl -sS --fail --noproxy '*' --data \"$body\" {dns}/$path\n",
        log = place.path("hook.log").display(),
        dns = pebble.dns_management(),
    );
    let file = place.path("hook.sh");
    crate::binary::write_script(&file, &script);
    file.display().to_string()
}

#[test]
fn a_wildcard_by_dns_01_through_a_hook_that_cleans_up() {
    let Some(pebble) = Pebble::start(&[]) else { return };
    let dyno = fakes::answers("ok");
    let place = Place::new();
    let more = format!("challenges = [\"dns-01\"]\nhook = {:?}", hook(&place, &pebble, ""));
    let busbar = place.router(&pebble.config(dyno.address, &["*.shop.example"], &more), &[]);
    assert_eq!(pebble.see("any.shop.example").answer, "ok");
    assert!(pebble.look("a.b.shop.example").is_err(), "a wildcard is one label");
    let told = fs::read_to_string(busbar.place.path("hook.log")).unwrap();
    let told: Vec<Vec<&str>> = told.lines().map(|line| line.split(' ').collect()).collect();
    let value = told[0][2];
    assert_eq!(value.len(), 43, "the digest of a key authorization");
    assert_eq!(told, [["present", "shop.example", value], ["cleanup", "shop.example", value]]);
}

#[test]
fn a_hook_that_fails_is_told_with_its_words() {
    let Some(pebble) = Pebble::start(&[]) else { return };
    let dyno = fakes::answers("ok");
    let place = Place::new();
    let hook = hook(&place, &pebble, "echo no such zone >&2; test $1 != present");
    let more = format!("challenges = [\"dns-01\"]\nhook = {hook:?}");
    let busbar = place.router(&pebble.config(dyno.address, &["shop.example"], &more), &[]);
    let said = busbar.err.line("no certificate for shop.example");
    assert!(said.contains("present shop.example failed (exit status: 1): no such zone"), "{said}");
    let told = fs::read_to_string(busbar.place.path("hook.log")).unwrap();
    assert!(told.contains("cleanup shop.example "), "half of it may have been done: {told}");
}

fn until_requested(busbar: &Busbar, pebble: &Pebble, host: &str) {
    let refused = pebble.look(host);
    assert!(refused.is_err(), "the handshake that causes it is not held: {refused:?}");
    busbar.err.line(&format!("somebody asks for {host}: a certificate is requested"));
}

#[test]
fn on_demand_for_the_hosts_of_apps_that_want_it_and_only_so_many() {
    let Some(pebble) = Pebble::start(&[]) else { return };
    let dyno = fakes::answers("ok");
    let more = "challenges = [\"http-01\"]\non_demand = true\non_demand_per_hour = 1";
    let config = pebble.config(dyno.address, &["*.shop.example"], more);
    let other = "[[app]]\nname = \"other\"\ndomains = [\"own.shop.example\"]\n[[app]]\nname = \"rest\"\ncatch_all = true\n";
    let busbar = Place::new().router(&(config + other), &[]);
    for not_ours in ["other.example", "own.shop.example", "a.b.shop.example", "shop.example"] {
        assert!(pebble.look(not_ours).is_err());
    }
    until_requested(&busbar, &pebble, "a.shop.example");
    assert_eq!(pebble.see("a.shop.example").answer, "ok");
    assert!(pebble.look("b.shop.example").is_err());
    busbar.err.line("too many were asked for");
    let (_, rows) = busbar.admin("/v1/certificates").unwrap();
    assert_eq!(rows.matches("\"names\"").count(), 1, "{rows}");
    assert_eq!(pebble.orders(), 1);
}

#[test]
fn an_account_of_the_operator_is_proved_and_its_key_is_told_to_nobody() {
    let Some(pebble) = Pebble::start(&[("IT_EXTERNAL_ACCOUNTS", "1")]) else { return };
    let dyno = fakes::answers("ok");
    let place = Place::new();
    let key = place.write("eab.key", EXTERNAL_KEY);
    let config = |id: &str| {
        pebble.config(
            dyno.address,
            &["shop.example"],
            &format!("eab_key_id = \"{id}\"\neab_key_file = {key:?}"),
        )
    };
    let file = place.write("edge.toml", &config("kid-1")).display().to_string();
    let said = place.verb(&["validate", &file]).failed(3);
    assert!(said.contains("others may read it; take that right away with chmod 600"), "{said}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    {
        let busbar = Place::new().router(&config("kid-2"), &[]);
        let said = busbar.err.line("no certificate for shop.example");
        assert!(said.contains("says no") && !said.contains(EXTERNAL_KEY), "{said}");
    }
    let busbar = place.router(&config("kid-1"), &[]);
    until("its trouble is over", || {
        super::renew(&busbar, "shop.example");
        row(&busbar, "shop.example").filter(|row| row["issuer"].is_string())
    });
    assert_eq!(pebble.see("shop.example").answer, "ok");
    let said = busbar.err.lines().join("\n");
    assert!(!said.contains(EXTERNAL_KEY), "{said}");
}
