//! Clients that have certificates of their own, or should.

use std::{
    fs,
    io::{Read as _, Write as _},
    time::{Duration, SystemTime},
};

use it::{App, Dyno, Message, PATIENCE, Router, fakes};
use router_core::{
    observe::Closed,
    tls::{ClientCertificates, Demand, Terminator, Tickets, TlsPolicy},
};
use rustls::{ClientConfig, HandshakeKind};

use super::{
    GET,
    client::{Authority, Client, listener, store},
};

/// What a listener wants whose clients are this authority's, but for those on the list.
fn wanted(demand: Demand, authority: &Authority, list: Option<&str>) -> ClientCertificates {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        fs::write(&file, text).expect("it is written");
        file
    };
    let authorities = [write("ca.pem", &authority.pem)];
    let lists: Vec<_> = list.map(|text| write("ca.crl", text)).into_iter().collect();
    ClientCertificates::load(demand, &authorities, &lists).expect("they are good")
}

/// A router that wants this of its clients, and what can be changed about that.
fn asking(
    server: &Authority,
    tickets: &Tickets,
    app: App,
    clients: &ClientCertificates,
) -> (Router, Terminator) {
    let certificates = store([server.signs(&["app.test"])], true);
    let terminator = Terminator::new(TlsPolicy::Intermediate, certificates, tickets).expect("TLS");
    terminator.ask_clients(clients).expect("TLS");
    (Router::start_on(listener().with_tls(terminator.clone()), app, |_| {}), terminator)
}

fn tickets() -> Tickets {
    Tickets::new().expect("randomness")
}

/// Whether a client gets an answer. With TLS 1.3 it learns only then that it was refused.
fn is_served(router: &Router, config: &ClientConfig) -> bool {
    let Ok(mut client) = Client::handshake(router.address, config.clone(), "app.test") else { return false };
    client.0.write_all(GET.as_bytes()).is_ok()
        && client.0.flush().is_ok()
        && client.0.read(&mut [0; 1]).is_ok()
}

/// What a dyno gets of this client, which claims to be somebody else.
fn request(dyno: &Dyno, router: &Router, config: &ClientConfig) -> Message {
    let mut client = Client::connect(router.address, config, "app.test");
    client.send(
        "GET / HTTP/1.1\r\nHost: app.test\r\nX-Client-Verify: SUCCESS\r\nx-client-subject: CN=root\r\n\
         X_Client_Fingerprint: 00\r\nX-Client-Fingerprint: 00\r\nClient-Cert: :AA==:\r\nClient-Cert-Chain: :AA==:\r\n\r\n",
    );
    let mut wire = dyno.accept();
    let request = wire.request();
    wire.send(fakes::ok("ok"));
    assert_eq!(client.response().1, b"ok");
    request
}

#[test]
fn where_a_certificate_is_required_nobody_gets_in_without_a_good_one() {
    let (server, authority, stranger) = (Authority::new(), Authority::new(), Authority::new());
    let dyno = fakes::answers("ok");
    let clients = wanted(Demand::Required, &authority, None);
    let (router, _) = asking(&server, &tickets(), App::new([dyno.address]), &clients);
    assert!(is_served(&router, &server.client_as(authority.signs_client("shop", 1))));
    assert!(!is_served(&router, &server.client()));
    router.until("counted", |totals| totals.closed.get(&Closed::TlsClientCertificate) == Some(&1));
    assert!(!is_served(&router, &server.client_as(stranger.signs_client("shop", 1))));
    assert!(!is_served(&router, &server.client_of(&rustls::version::TLS12)));
    router.until("counted", |totals| totals.closed.get(&Closed::TlsClientCertificate) == Some(&3));
}

#[test]
fn the_dyno_learns_who_was_verified_and_believes_nobody_else() {
    let (server, authority) = (Authority::new(), Authority::new());
    let dyno = Dyno::listening();
    let clients = wanted(Demand::Optional, &authority, None).passed_on(true);
    let (router, _) = asking(&server, &tickets(), App::new([dyno.address]), &clients);
    let (certificate, key) = authority.signs_client("shop", 1);
    let (length, config) = (certificate.len(), server.client_as((certificate, key)));
    let all = ["X-Client-Verify", "X-Client-Subject", "X-Client-Fingerprint", "Client-Cert"];
    for resumed in [false, true] {
        let got = request(&dyno, &router, &config);
        assert_eq!(got.get("X-Client-Verify"), Some("SUCCESS"), "resumed: {resumed}");
        assert_eq!(got.get("X-Client-Subject"), Some(r"CN=shop,O=Example\, Inc."));
        let fingerprint = got.get("X-Client-Fingerprint").expect("it is there");
        assert!(fingerprint.len() == 64 && fingerprint != "00", "{fingerprint}");
        let itself = got.get("Client-Cert").expect("it is there");
        assert!(itself.starts_with(":MI") && itself.len() == 2 + length.div_ceil(3) * 4, "{itself}");
        for name in all {
            assert_eq!(got.all(name).len(), 1, "{name}");
        }
        assert_eq!(got.get("Client-Cert-Chain"), None);
        assert_eq!(got.get("X_Client_Fingerprint"), None);
    }
    assert_eq!(router.totals().tls_resumed, 1);

    let got = request(&dyno, &router, &server.client());
    assert_eq!(got.get("X-Client-Verify"), Some("NONE"));
    assert!(all.iter().skip(1).all(|name| got.get(name).is_none()));
    assert!(!is_served(&router, &server.client_as(server.signs_client("of another one", 1))));
    router.until("counted", |totals| totals.closed.get(&Closed::TlsClientCertificate) == Some(&1));

    // On a listener that asks nobody, and on one without TLS, nothing is claimed either.
    let plain = Router::start(App::new([dyno.address]));
    let mut client = plain.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: app.test\r\nX-Client-Verify: SUCCESS\r\nX-Client-Subject: CN=root\r\n\r\n",
    );
    let got = dyno.accept().request();
    assert!(all.iter().all(|name| got.get(name).is_none()));
}

#[test]
fn a_session_begun_under_other_rules_is_not_resumed_where_a_certificate_is_wanted() {
    let (server, authority, dyno) = (Authority::new(), Authority::new(), fakes::answers("ok"));
    let tickets = tickets();
    let app = || App::new([dyno.address]);
    let certificates = store([server.signs(&["app.test"])], true);
    let open = Terminator::new(TlsPolicy::Intermediate, certificates, &tickets).expect("TLS");
    let open = Router::start_on(listener().with_tls(open), app(), |_| {});
    let (optional, _) = asking(&server, &tickets, app(), &wanted(Demand::Optional, &authority, None));
    let (required, _) = asking(&server, &tickets, app(), &wanted(Demand::Required, &authority, None));
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        for begun_at in [&open, &optional] {
            let config = server.client_of(version);
            assert!(is_served(begun_at, &config) && is_served(begun_at, &config));
            let again = Client::connect(begun_at.address, &config, "app.test");
            assert_eq!(again.0.conn.handshake_kind(), Some(HandshakeKind::Resumed), "there is a ticket");
            drop(again);
            assert!(!is_served(&required, &config), "{version:?}");
        }
    }
    assert_eq!((required.totals().tls_resumed, required.totals().tls_handshakes), (0, 0));
}

#[test]
fn no_ticket_outlives_the_certificate_of_its_client() {
    let (server, authority, dyno) = (Authority::new(), Authority::new(), fakes::answers("ok"));
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let clients = wanted(Demand::Required, &authority, None);
        let (router, _) = asking(&server, &tickets(), App::new([dyno.address]), &clients);
        let soon = SystemTime::now() + Duration::from_secs(4);
        let config = server.client_of_as(version, authority.signs_client_until("shop", 1, soon));
        assert!(is_served(&router, &config) && is_served(&router, &config));
        assert_eq!(router.totals().tls_resumed, 1);
        // Each time it gets a new ticket, until its certificate has expired.
        while is_served(&router, &config) {
            assert!(SystemTime::now() < soon + PATIENCE, "it gets in for ever");
        }
        router.until("counted", |totals| totals.closed.get(&Closed::TlsClientCertificate) == Some(&1));
    }
}

#[test]
fn who_is_on_the_list_is_refused_from_then_on_even_with_a_ticket() {
    let (server, authority, dyno) = (Authority::new(), Authority::new(), fakes::answers("ok"));
    let clients = wanted(Demand::Required, &authority, Some(&authority.revokes(&[7])));
    let (router, terminator) = asking(&server, &tickets(), App::new([dyno.address]), &clients);
    let good = server.client_as(authority.signs_client("good", 1));
    assert!(is_served(&router, &good) && is_served(&router, &good));
    assert_eq!(router.totals().tls_resumed, 1);
    assert!(!is_served(&router, &server.client_as(authority.signs_client("revoked", 7))));

    let mut open = Client::connect(router.address, &good, "app.test");
    open.send(GET);
    assert_eq!(open.response().1, b"ok");
    let clients = wanted(Demand::Required, &authority, Some(&authority.revokes(&[1, 7])));
    terminator.ask_clients(&clients).expect("TLS");
    assert!(!is_served(&router, &good), "its ticket is not enough");
    open.send(GET);
    assert_eq!(open.response().1, b"ok", "who is in stays in");
}
