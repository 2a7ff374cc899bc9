//! Which certificate a name gets, and which hosts may be asked for over it.

use it::{App, fakes};
use router_core::tls::TlsPolicy;
use rustls::{AlertDescription, ProtocolVersion, SignatureScheme, crypto::aws_lc_rs};

use super::{
    GET,
    client::{Authority, Client, listener, rsa_key, start, start_on, store},
};

#[test]
fn a_name_gets_its_certificate_and_any_other_one_the_default() {
    let authority = Authority::new();
    let names = [vec!["default.test"], vec!["*.app.test"], vec!["x.app.test"]];
    let certificates = names.map(|names| authority.signs(&names));
    let dyno = fakes::answers("ok");
    let router = start(&store(certificates, true), App::new([dyno.address]), |_| {});
    let shown = |name| Client::connect(router.address, &authority.client(), name).shown();
    assert_ne!(shown("x.app.test"), shown("y.app.test"));
    assert_eq!(shown("y.app.test"), shown("z.app.test"));
    let other = Client::handshake(router.address, authority.client(), "z.y.app.test");
    let error = other.err().expect("the default is not for it").to_string();
    assert!(error.contains("not valid for name"), "{error}");
    router.until("the client refuses it", |totals| {
        totals.closed.keys().any(|why| why.as_str() == "tls_refused")
    });
}

#[test]
fn without_a_default_an_unknown_name_is_told_so() {
    let authority = Authority::new();
    let dyno = fakes::answers("ok");
    let router = start(&store([authority.signs(&["app.test"])], false), App::new([dyno.address]), |_| {});
    let error = Client::handshake(router.address, authority.client(), "nobody.test").err().expect("refused");
    let alert = error.into_inner().and_then(|inner| inner.downcast::<rustls::Error>().ok()).expect("by TLS");
    assert_eq!(*alert, rustls::Error::AlertReceived(AlertDescription::UnrecognisedName));
    router.until("it is counted", |totals| totals.closed.keys().any(|why| why.as_str() == "tls_name"));
}

#[test]
fn a_client_that_comes_by_address_gets_the_certificate_for_it() {
    let authority = Authority::new();
    let certificates = [authority.signs(&["app.test"]), authority.signs(&["127.0.0.1", "::1"])];
    let dyno = fakes::answers("ok");
    let router = start(&store(certificates, true), App::new([dyno.address]), |_| {});
    // It is for the address, so this client takes it; it sends no name.
    let mut client = Client::connect(router.address, &authority.client(), "127.0.0.1");
    client.send(GET);
    assert_eq!(client.response().1, b"ok");
    Client::connect(router.address, &authority.client(), "app.test");
}

#[test]
fn of_two_certificates_for_one_name_a_client_gets_the_one_it_can_verify() {
    let rsa = rsa_key().expect("openssl is installed and makes a key of RSA");
    let authority = Authority::new();
    let certificates = [authority.signs_key(&["app.test"], &rsa), authority.signs(&["app.test"])];
    let dyno = fakes::answers("ok");
    let router = start(&store(certificates, true), App::new([dyno.address]), |_| {});
    let both = Client::connect(router.address, &authority.client(), "app.test").shown();
    assert!(both.len() < 600, "the elliptic one is smaller: {}", both.len());
    let mut provider = aws_lc_rs::default_provider();
    let mapping = provider.signature_verification_algorithms.mapping;
    let rsa_only = mapping.iter().filter(|(scheme, _)| {
        matches!(scheme, SignatureScheme::RSA_PSS_SHA256 | SignatureScheme::RSA_PKCS1_SHA256)
    });
    provider.signature_verification_algorithms.mapping = rsa_only.copied().collect::<Vec<_>>().leak();
    let mut client = Client::connect(router.address, &authority.client_with(provider), "app.test");
    assert_ne!(client.shown(), both);
    client.send(GET);
    assert_eq!(client.response().1, b"ok");
}

#[test]
fn a_host_that_is_not_the_certificates_is_misdirected() {
    let authority = Authority::new();
    let certificates = [authority.signs(&["app.test", "www.app.test"]), authority.signs(&["probe.test"])];
    let dyno = fakes::answers("ok");
    let mut router = start(&store(certificates, true), App::new([dyno.address]), |_| {});
    let mut client = Client::connect(router.address, &authority.client(), "www.app.test");
    // The same certificate is for both: browsers share the connection.
    client.send(GET);
    assert_eq!(client.response().1, b"ok");
    assert_eq!(router.line().get("code"), "");
    client.send("GET / HTTP/1.1\r\nHost: probe.test\r\n\r\n");
    assert!(client.response().0.start.contains(" 421 "));
    // The connection goes on.
    client.send(GET);
    assert_eq!(client.response().1, b"ok");
    let mut other = Client::connect(router.address, &authority.client(), "probe.test");
    other.send(GET);
    assert!(other.response().0.start.contains(" 421 "));
    assert_eq!(router.line().get("code"), "");
    assert_eq!(router.line().get("code"), "H31");
}

#[test]
fn the_dyno_and_the_log_learn_how_it_was_encrypted() {
    let authority = Authority::new();
    let certificates = store([authority.signs(&["app.test"])], true);
    for (version, said) in [(&rustls::version::TLS12, "tls1.2"), (&rustls::version::TLS13, "tls1.3")] {
        let dyno = it::Dyno::listening();
        let mut router = start(&certificates, App::new([dyno.address]), |_| {});
        let mut config = authority.client();
        config = {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(authority.der.clone()).expect("an authority");
            let provider = std::sync::Arc::clone(config.crypto_provider());
            let builder =
                rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]);
            builder.expect("a version").with_root_certificates(roots).with_no_client_auth()
        };
        let mut client = Client::connect(router.address, &config, "app.test");
        client.send(GET);
        let mut wire = dyno.accept();
        let request = wire.request();
        assert_eq!(request.get("X-Forwarded-Proto"), Some("https"));
        assert_eq!(request.get("X-Forwarded-Port"), Some("443"));
        wire.send(fakes::ok("ok"));
        assert_eq!(client.response().1, b"ok");
        let line = router.line();
        assert_eq!((line.get("tls"), line.get("tls_version")), ("true", said));
    }
}

#[test]
fn the_modern_policy_speaks_tls_1_3_only_and_post_quantum_key_exchange() {
    let authority = Authority::new();
    let certificates = store([authority.signs(&["app.test"])], true);
    let dyno = fakes::answers("ok");
    let app = App::new([dyno.address]);
    let router = start_on(listener(), TlsPolicy::Modern, &certificates, app, |_| {});
    let client = Client::connect(router.address, &authority.client(), "app.test");
    assert_eq!(client.0.conn.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(client.0.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    let group = client.0.conn.negotiated_key_exchange_group().expect("there is one");
    assert_eq!(group.name(), rustls::NamedGroup::X25519MLKEM768);

    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der.clone()).expect("an authority");
    let builder = rustls::ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_protocol_versions(&[&rustls::version::TLS12]);
    let old = builder.expect("a version").with_root_certificates(roots).with_no_client_auth();
    assert!(Client::handshake(router.address, old, "app.test").is_err());
    router.until("it is counted", |totals| {
        totals.closed.keys().any(|why| why.as_str() == "tls_nothing_in_common")
    });
}

#[test]
fn post_quantum_key_exchange_comes_first_at_the_default_policy_too() {
    let authority = Authority::new();
    let dyno = fakes::answers("ok");
    let router = start(&store([authority.signs(&["app.test"])], true), App::new([dyno.address]), |_| {});
    let client = Client::connect(router.address, &authority.client(), "app.test");
    let group = client.0.conn.negotiated_key_exchange_group().expect("there is one");
    assert_eq!(group.name(), rustls::NamedGroup::X25519MLKEM768);
    // Who does not know it gets in by a classic one.
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups.retain(|group| group.name() != rustls::NamedGroup::X25519MLKEM768);
    let client = Client::connect(router.address, &authority.client_with(provider), "app.test");
    let group = client.0.conn.negotiated_key_exchange_group().expect("there is one");
    assert_eq!(group.name(), rustls::NamedGroup::X25519);
}

#[test]
fn plain_http_is_sent_to_https_and_browsers_are_told_to_stay_there() {
    let authority = Authority::new();
    let dyno = fakes::answers("ok");
    let app = || {
        App::new([dyno.address]).routed(|routing| {
            routing.https_redirect = true;
            routing.hsts_seconds = Some(31_536_000);
        })
    };
    let mut plain = it::Router::start(app());
    let mut client = plain.client();
    for (request, status, location) in [
        ("GET /a?b=c HTTP/1.1\r\nHost: app.test:8080", "301", "https://app.test/a?b=c"),
        ("HEAD http://app.test/x HTTP/1.1\r\nHost: app.test", "301", "https://app.test/x"),
        ("DELETE / HTTP/1.1\r\nHost: APP.test", "308", "https://app.test/"),
    ] {
        client.send(format!("{request}\r\n\r\n"));
        let head = client.head();
        assert_eq!(head.get("Location"), Some(location));
        assert_eq!(head.get("Strict-Transport-Security"), None);
        let line = plain.line();
        assert_eq!((line.get("status"), line.get("at"), line.get("dyno")), (status, "info", ""));
    }
    client.send("POST /up HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\r\nhello");
    assert!(client.head().start.contains(" 308 "));
    assert!(!client.has_more());

    let router = start(&store([authority.signs(&["app.test"])], true), app(), |_| {});
    let mut client = Client::connect(router.address, &authority.client(), "app.test");
    client.send(GET);
    let (head, body) = client.response();
    assert_eq!(body, b"ok");
    assert_eq!(head.get("Strict-Transport-Security"), Some("max-age=31536000"));

    // The router's own pages say it, too: the first visit may meet one.
    let nobody =
        App::new(Vec::<std::net::SocketAddr>::new()).routed(|routing| routing.hsts_seconds = Some(60));
    let router = start(&store([authority.signs(&["app.test"])], true), nobody, |_| {});
    let mut client = Client::connect(router.address, &authority.client(), "app.test");
    client.send(GET);
    let (head, _) = client.response();
    assert!(head.start.contains(" 503 "), "{}", head.start);
    assert_eq!(head.get("Strict-Transport-Security"), Some("max-age=60"));
}
