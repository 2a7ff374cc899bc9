//! What dynos speak.

use std::fs;

use busbar_registry::DynoProtocol;

use super::super::{Overrides, Refused, parse};

/// An app routed like this, from a file in a folder that has `ca.pem`, a certificate, and `text.pem`, none.
fn routing(keys: &str) -> Result<busbar_registry::Routing, String> {
    let folder = tempfile::tempdir().unwrap();
    let signed = rcgen::generate_simple_self_signed(["dyno.internal".to_owned()]).unwrap();
    fs::write(folder.path().join("ca.pem"), signed.cert.pem()).unwrap();
    fs::write(folder.path().join("text.pem"), "hello").unwrap();
    let text = format!("[[app]]\nname = \"a\"\ndomains = [\"a.example\"]\n[app.routing]\n{keys}\n");
    let file = folder.path().join("busbar.toml").display().to_string();
    match parse(&file, &text, &Overrides::default()) {
        Ok(config) => Ok(config.apps[0].record.routing.clone()),
        Err(Refused::Wrong(complaints)) => {
            Err(complaints.iter().map(|complaint| format!("{complaint}\n")).collect())
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn every_protocol_of_dynos_is_understood() {
    assert_eq!(routing("").unwrap().dyno_protocol, DynoProtocol::Http1);
    assert_eq!(routing("dyno_protocol = \"http1\"").unwrap().dyno_protocol, DynoProtocol::Http1);
    assert_eq!(routing("dyno_protocol = \"h2c\"").unwrap().dyno_protocol, DynoProtocol::H2c);
    let h2 = routing("dyno_protocol = \"h2\"\ndyno_ca = \"ca.pem\"\ndyno_server_name = \"dyno.internal\"")
        .unwrap();
    let tls = h2.dyno_tls.unwrap();
    assert_eq!((h2.dyno_protocol, tls.verify), (DynoProtocol::H2, true));
    assert!(tls.ca.unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(tls.server_name.as_deref(), Some("dyno.internal"));
    let open = routing("dyno_protocol = \"h2\"\ndyno_verify = false").unwrap();
    let tls = open.dyno_tls.unwrap();
    assert_eq!((open.dyno_protocol, tls.verify, tls.ca), (DynoProtocol::H2, false, None));
}

#[test]
fn what_is_wrong_about_dynos_is_told_with_its_line() {
    let wrong = |keys: &str, line: u32, says: &str| {
        let told = routing(keys).unwrap_err();
        assert!(told.contains(&format!("busbar.toml:{line}")) && told.contains(says), "{told}");
    };
    wrong("dyno_protocol = \"spdy\"", 5, "write http1, h2c or h2");
    wrong("dyno_protocol = \"h2\"", 5, "write `dyno_ca`");
    wrong("dyno_protocol = \"h2c\"\ndyno_ca = \"ca.pem\"", 6, "says nothing about dynos in the clear");
    wrong("dyno_protocol = \"h2\"\ndyno_ca = \"none.pem\"", 6, "cannot be read");
    wrong("dyno_protocol = \"h2\"\ndyno_ca = \"text.pem\"", 6, "cannot be used as `dyno_ca`");
    wrong("dyno_protocol = \"h2\"\ndyno_ca = \"ca.pem\"\ndyno_server_name = \"a b\"", 7, "a host name");
}
