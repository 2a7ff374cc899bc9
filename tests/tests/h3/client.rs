//! A client of quinn and h3, and a router with a certificate that it trusts.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use bytes::{Buf as _, Bytes};
use h3::client::{RequestStream, SendRequest};
use it::{App, PATIENCE, Router, router::HOST};
use rcgen::{CertificateParams, KeyPair};
use router_core::{
    server::{Listener, ServerOptions},
    tls::{Certificate, CertificateStore, Certificates, Terminator, Tickets, TlsPolicy},
};
use rustls::{RootCertStore, crypto::aws_lc_rs, pki_types::CertificateDer};
use tokio::{runtime::Runtime, task::JoinHandle, time::timeout};

/// A router that speaks HTTP/3, and what its clients trust.
pub(super) struct Stage {
    pub(super) router: Router,
    pub(super) certificate: CertificateDer<'static>,
    pub(super) pem: String,
}

/// A router for this app, over QUIC and TLS at the same port.
pub(super) fn stage(app: App, change: impl FnOnce(&mut ServerOptions)) -> Stage {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new([HOST.to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("it can be signed");
    let (pem, key) = (certificate.pem(), key.serialize_pem());
    let mut all = Certificates::default();
    all.add(Certificate::from_pem("made", pem.as_bytes(), key.as_bytes()).expect("it is good"), true);
    let tickets = Tickets::new().expect("randomness");
    let store = CertificateStore::new(all);
    let terminator = Terminator::new(TlsPolicy::Intermediate, store, &tickets).expect("TLS");
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port can be had");
    let listener = listener.with_tls(terminator).with_h3().expect("the UDP port can be had");
    let router = Router::start_on(listener, app, change);
    Stage { router, certificate: certificate.der().clone(), pem }
}

/// Runs a client.
pub(super) fn run<T>(deed: impl Future<Output = T>) -> T {
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async { timeout(PATIENCE * 2, deed).await.expect("it ends") })
}

/// A connection.
pub(super) struct Client {
    pub(super) endpoint: quinn::Endpoint,
    pub(super) h3: SendRequest<h3_quinn::OpenStreams, Bytes>,
    pub(super) driver: JoinHandle<h3::error::ConnectionError>,
}

pub(super) type Stream = RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>;

pub(super) fn tls(stage: &Stage) -> rustls::ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(stage.certificate.clone()).expect("it can be trusted");
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.expect("versions").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h3".to_vec()];
    config
}

pub(super) fn endpoint(config: rustls::ClientConfig) -> quinn::Endpoint {
    let mut endpoint = quinn::Endpoint::client(any()).expect("a socket");
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(config).expect("TLS 1.3");
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
    endpoint
}

pub(super) fn any() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

impl Client {
    pub(super) async fn connect(stage: &Stage) -> Self {
        let endpoint = endpoint(tls(stage));
        let connecting = endpoint.connect(stage.router.address, HOST).expect("it may");
        let quic = connecting.await.expect("it connects");
        let (mut driver, h3) = h3::client::new(h3_quinn::Connection::new(quic)).await.expect("h3");
        let driver = tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
        Self { endpoint, h3, driver }
    }

    /// Begins a request.
    pub(super) async fn begin(&mut self, request: http::request::Builder) -> Stream {
        self.h3.send_request(request.body(()).expect("a request")).await.expect("it is sent")
    }

    /// A GET and all of its response.
    pub(super) async fn get(&mut self, path: &str) -> (http::Response<()>, Vec<u8>) {
        let mut stream = self.begin(http::Request::get(format!("https://{HOST}{path}"))).await;
        stream.finish().await.expect("it is sent");
        let head = stream.recv_response().await.expect("a response");
        (head, body(&mut stream).await)
    }
}

/// What is left of a body.
pub(super) async fn body(stream: &mut Stream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(mut data) = stream.recv_data().await.expect("it comes whole") {
        while data.has_remaining() {
            let n = data.chunk().len();
            all.extend_from_slice(data.chunk());
            data.advance(n);
        }
    }
    all
}
