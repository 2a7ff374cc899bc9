//! What goes wrong with an ACME server, and what it spoils: nothing.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use it::fakes;
use serde_json::{Value, json};

use super::{pebble::Pebble, renew, row};
use crate::{busbar::Place, wait::until};

#[test]
fn a_server_that_is_down_at_the_start_is_asked_again_and_plain_requests_are_served() {
    let Some(mut pebble) = Pebble::prepare(&[]) else { return };
    let dyno = fakes::answers("ok");
    let busbar = Place::new().router(&pebble.config(dyno.address, &["shop.example"], ""), &[]);
    let said = busbar.err.line("no certificate for shop.example: the ACME server 127.0.0.1:");
    assert!(said.contains("connection refused") && said.contains("next attempt in 1"), "{said}");
    assert_eq!(busbar.get("shop.example", "/"), (200, "ok".into()));
    pebble.begin();
    assert_eq!(pebble.see("shop.example").answer, "ok");
}

#[test]
fn a_failed_validation_is_told_and_the_old_certificate_stays_in_force() {
    let Some(pebble) = Pebble::start(&[]) else { return };
    let dyno = fakes::answers("ok");
    let busbar = Place::new()
        .router(&pebble.config(dyno.address, &["shop.example"], "challenges = [\"http-01\"]"), &[]);
    let first = pebble.see("shop.example");
    pebble.tell_dns("/add-a", &json!({"host": "shop.example", "addresses": ["127.0.0.2"]}));
    renew(&busbar, "shop.example");
    let said = busbar.err.line("no certificate for shop.example");
    assert!(
        said.contains("could not validate shop.example by http-01: ") && said.contains("127.0.0.2"),
        "{said}"
    );
    assert!(said.contains("the old one stays in force; next attempt in 3"), "{said}");
    assert_eq!(pebble.see("shop.example"), first);
    let told = until("it is told", || row(&busbar, "shop.example").filter(|row| row["is_busy"] == false));
    assert!(
        told["failures"] == 1 && told["last_error"].as_str().unwrap().contains("could not validate"),
        "{told}"
    );
    assert!(busbar.verb(&["certs"]).out.contains("shop.example failed: the ACME server could not validate"));

    pebble.tell_dns("/clear-a", &json!({"host": "shop.example"}));
    renew(&busbar, "shop.example");
    until("another one is shown", || (pebble.see("shop.example") != first).then_some(()));
    until("the trouble is over", || row(&busbar, "shop.example").filter(|row| row["failures"] == 0));
}

#[test]
fn a_server_that_has_forgotten_the_account_gets_a_new_one() {
    let Some(mut pebble) = Pebble::start(&[]) else { return };
    let dyno = fakes::answers("ok");
    let busbar = Place::new().router(&pebble.config(dyno.address, &["shop.example"], ""), &[]);
    pebble.see("shop.example");
    pebble.end();
    pebble.begin();
    assert!(pebble.look("shop.example").is_err(), "it has another root now");
    renew(&busbar, "shop.example");
    busbar.err.line("the ACME server does not know our account any more; a new one is made");
    assert_eq!(pebble.see("shop.example").answer, "ok");
}

#[test]
fn nonces_that_are_refused_are_replaced() {
    let Some(pebble) = Pebble::start(&[("PEBBLE_WFE_NONCEREJECT", "30")]) else { return };
    let dyno = fakes::answers("ok");
    let names = ["a.example", "b.example", "c.example", "d.example", "e.example"];
    let busbar = Place::new().router(&pebble.config(dyno.address, &names, ""), &[]);
    for name in names {
        assert_eq!(pebble.see(name).answer, "ok", "{name}");
    }
    let said = busbar.err.lines().join("\n");
    assert!(!said.contains("no certificate for"), "{said}");
    // Each of these is asked for once for each name, unless the nonce was refused.
    let (log, once) = (pebble.log(), ["/order-plz", "/authZ/", "/chalZ/", "/finalize-order/", "/certZ/"]);
    let posts: usize = once.iter().map(|path| log.matches(&format!("POST {path}")).count()).sum();
    assert!(posts > names.len() * once.len(), "{log}");
}

#[test]
fn an_account_that_was_deactivated_is_an_error_until_somebody_moves_it_away() {
    let Some(pebble) = Pebble::start(&[]) else { return };
    let dyno = fakes::answers("ok");
    let config = pebble.config(dyno.address, &["shop.example"], "");
    let busbar = Place::new().router(&config, &[]);
    let first = pebble.see("shop.example");
    pebble.deactivate_account();
    renew(&busbar, "shop.example");
    let said = busbar.err.line("no certificate for shop.example");
    assert!(said.contains("refuses this account: ") && said.contains("move account.json"), "{said}");
    assert_eq!(pebble.see("shop.example"), first);
    drop(busbar);
    let account = pebble.kept("shop.example").with_file_name("account.json");
    std::fs::rename(&account, account.with_file_name("account.old.json")).unwrap();
    let busbar = Place::new().router(&config, &[]);
    renew(&busbar, "shop.example");
    until("another one is shown", || (pebble.see("shop.example") != first).then_some(()));
}

#[test]
fn a_certificate_that_was_signed_and_does_not_come_is_asked_for_again_and_then_counts_as_spent() {
    let Some(pebble) = Pebble::start(&[]) else { return };
    let dyno = fakes::answers("ok");
    {
        let _busbar = Place::new().router(&pebble.config(dyno.address, &["other.example"], ""), &[]);
        pebble.see("other.example"); // there is an account
    }
    let (is_signed, all) = (AtomicBool::new(false), Arc::new(Mutex::new(Vec::new())));
    let asked_for = Arc::clone(&all);
    let at = pebble.stand_in(move |at, asked| {
        asked_for.lock().unwrap().push(asked.to_owned());
        let url = |path: &str| format!("https://{at}/{path}");
        let order = |status: &str| {
            json!({
                "status": status, "identifiers": [{"type": "dns", "value": "shop.example"}], "authorizations": [],
                "finalize": url("finalize"), "certificate": url("certificate"),
            })
        };
        let (head, body) = match asked {
            "GET /dir" => {
                let new = json!({"newNonce": url("nonce"), "newAccount": url("account"), "newOrder": url("new")});
                ("200 OK".to_owned(), new)
            }
            "HEAD /nonce" => ("200 OK".to_owned(), Value::Null),
            "POST /new" => (format!("201 Created\r\nLocation: {}", url("order")), order("ready")),
            "POST /finalize" => {
                is_signed.store(true, Ordering::Relaxed);
                ("200 OK".to_owned(), order("processing"))
            }
            "POST /order" if is_signed.load(Ordering::Relaxed) => ("200 OK".to_owned(), order("valid")),
            "POST /order" => ("200 OK".to_owned(), order("ready")),
            _ => {
                let kind = "urn:ietf:params:acme:error:serverInternal";
                ("500 Oops".to_owned(), json!({"type": kind, "detail": "try again"}))
            }
        };
        (format!("{head}\r\nReplay-Nonce: once"), body.to_string())
    });
    let busbar = Place::new().router(&pebble.config_of(at, dyno.address, &["shop.example"], ""), &[]);
    let said = busbar.err.line("no certificate for shop.example");
    let pause: u64 = said.rsplit(" in ").next().unwrap().trim_end_matches(" s").parse().unwrap();
    assert!(said.contains("try again (serverInternal)") && pause >= 300, "{said}");
    let asked = all.lock().unwrap();
    let count = |what: &str| asked.iter().filter(|asked| *asked == what).count();
    assert_eq!((count("POST /new"), count("POST /finalize")), (1, 1), "{asked:?}");
    assert!(count("POST /certificate") > 1, "{asked:?}");
}
