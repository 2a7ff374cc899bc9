//! Certificates of dynos.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use busbar_registry::{DynoProtocol, DynoTls};
use it::{Fake, Router};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_rustls::TlsAcceptor;

use super::{
    GET,
    echo::{connection, runtime},
};

/// A dyno that speaks TLS and shows a certificate for these names; what its clients must believe.
struct Secure {
    address: SocketAddr,
    authority: String,
    own: String,
    _runtime: Runtime,
}

impl Secure {
    /// One that speaks `protocol`, whatever is asked for.
    fn start(names: &[&str], protocol: &'static str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let own = CertificateParams::new(names).expect("names").signed_by(&key, &issuer).expect("it signs");
        let chain = vec![CertificateDer::from(own.der().to_vec())];
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("there are some")
                .with_no_client_auth()
                .with_single_cert(chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into())
                .expect("they fit");
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let (runtime, acceptor) = (runtime(), TlsAcceptor::from(Arc::new(config)));
        let listener =
            runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a port can be had");
        let address = listener.local_addr().expect("it is bound");
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    connection(stream).await;
                });
            }
        });
        Self { address, authority: issuer.pem(), own: own.pem(), _runtime: runtime }
    }

    /// What the log says about a request to it.
    fn line(&self, tls: DynoTls) -> (u16, String, String) {
        let mut router = Router::with(self.address, |routing| {
            (routing.dyno_protocol, routing.dyno_tls) = (DynoProtocol::H2, Some(Box::new(tls)));
        });
        let mut client = router.client();
        client.send(GET);
        let response = client.response();
        if response.status() == 200 {
            assert!(response.text().contains("https://app.test/"), "{}", response.text());
        }
        let line = router.line();
        (response.status(), line.get("code").to_owned(), line.get("cause").to_owned())
    }
}

/// Whoever these certificates are of, or have signed.
fn by(pem: &str) -> DynoTls {
    DynoTls { ca: Some(pem.to_owned()), ..DynoTls::default() }
}

fn anybody() -> DynoTls {
    DynoTls { verify: false, ..DynoTls::default() }
}

fn fine() -> (u16, String, String) {
    (200, String::new(), String::new())
}

fn refused() -> (u16, String, String) {
    (503, "H21".to_owned(), "TLS handshake with dyno failed".to_owned())
}

#[test]
fn a_dyno_whose_certificate_was_signed_by_the_right_one_for_the_right_name_is_believed() {
    let dyno = Secure::start(&["dyno.internal"], "h2");
    let named = |name: &str| dyno.line(DynoTls { server_name: Some(name.to_owned()), ..by(&dyno.authority) });
    assert_eq!(named("dyno.internal"), fine());
    assert_eq!(named("other.internal"), refused());
    let by_address = Secure::start(&["127.0.0.1"], "h2");
    assert_eq!(by_address.line(by(&by_address.authority)), fine());
    assert_eq!(by_address.line(by(&dyno.authority)), refused());
}

#[test]
fn a_pinned_certificate_is_believed_whatever_its_name_and_no_other_one() {
    let (dyno, other) = (Secure::start(&["whatever"], "h2"), Secure::start(&["whatever"], "h2"));
    assert_eq!(dyno.line(by(&dyno.own)), fine());
    assert_eq!(dyno.line(by(&other.own)), refused());
}

#[test]
fn without_a_ca_nobody_is_believed_unless_that_is_spelled_out() {
    let dyno = Secure::start(&["whatever"], "h2");
    assert_eq!(dyno.line(DynoTls::default()), refused());
    assert_eq!(dyno.line(anybody()), fine());
}

#[test]
fn a_dyno_in_the_clear_is_h21_where_tls_is_expected() {
    let dyno = Fake::new(|wire| wire.send("HTTP/1.1 400 Bad Request\r\n\r\n"));
    let mut router = Router::with(dyno.address, |routing| {
        (routing.dyno_protocol, routing.dyno_tls) = (DynoProtocol::H2, Some(Box::new(anybody())));
    });
    let mut client = router.client();
    client.send(GET);
    assert_eq!((client.response().status(), router.code().as_str()), (503, "H21"));
}

#[test]
fn another_certificate_to_believe_leaves_the_old_connections_to_their_requests() {
    let dyno = Secure::start(&["127.0.0.1"], "h2");
    let other = Secure::start(&["127.0.0.1"], "h2");
    let mut router = Router::with(dyno.address, |routing| {
        (routing.dyno_protocol, routing.dyno_tls) = (DynoProtocol::H2, Some(Box::new(by(&dyno.authority))));
    });
    let mut client = router.client();
    client.send(GET);
    assert_eq!((client.response().status(), router.code().as_str()), (200, ""));
    router.route(|routing| {
        (routing.dyno_protocol, routing.dyno_tls) = (DynoProtocol::H2, Some(Box::new(by(&other.authority))));
    });
    client.send(GET);
    assert_eq!((client.response().status(), router.code().as_str()), (503, "H21"));
}
