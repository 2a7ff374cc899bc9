//! A client that speaks TLS, and certificates made for it.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::SystemTime,
};

use it::{App, Head, PATIENCE, Router};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use router_core::{
    server::{Listener, ServerOptions},
    tls::{Certificate, CertificateStore, Certificates, Terminator, Tickets, TlsPolicy},
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};

/// An authority that the test's clients trust.
pub(crate) struct Authority {
    pub(crate) issuer: Issuer<'static, KeyPair>,
    pub(crate) der: CertificateDer<'static>,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).expect("it can be signed");
        let der = certificate.der().clone();
        Self { issuer: Issuer::new(params, key), der, pem: certificate.pem() }
    }

    /// A certificate for these names.
    pub(crate) fn signs(&self, names: &[&str]) -> Certificate {
        self.signs_key(names, &KeyPair::generate().expect("a key"))
    }

    /// A certificate with this key.
    pub(crate) fn signs_key(&self, names: &[&str], key: &KeyPair) -> Certificate {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        // Otherwise it has its authority's, and OpenSSL takes it for one that signed itself.
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "a server");
        let leaf = params.signed_by(key, &self.issuer).expect("it can be signed").pem();
        Certificate::from_pem("made", leaf.as_bytes(), key.serialize_pem().as_bytes()).expect("it is good")
    }

    /// A certificate for a client of this name, with this number, and its key.
    pub(crate) fn signs_client(
        &self,
        name: &str,
        number: u8,
    ) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        self.signs_client_until(name, number, rcgen::date_time_ymd(4096, 1, 1).into())
    }

    /// The same for one that is good until then.
    pub(crate) fn signs_client_until(
        &self,
        name: &str,
        number: u8,
        until: SystemTime,
    ) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![]).expect("no names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "Example, Inc.");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(vec![number].into());
        params.not_after = until.into();
        let made = params.signed_by(&key, &self.issuer).expect("it can be signed");
        (made.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).expect("a key"))
    }

    /// The list of what it has revoked: these numbers.
    pub(crate) fn revokes(&self, numbers: &[u8]) -> String {
        let revoked = numbers.iter().map(|number| rcgen::RevokedCertParams {
            serial_number: vec![*number].into(),
            revocation_time: rcgen::date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(2999, 1, 1),
            crl_number: vec![1].into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).and_then(|list| list.pem()).expect("it can be signed")
    }

    /// What a client that trusts only this authority and has a certificate speaks.
    pub(crate) fn client_as(
        &self,
        (certificate, key): (CertificateDer<'static>, PrivateKeyDer<'static>),
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("it is an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions");
        builder.with_root_certificates(roots).with_client_auth_cert(vec![certificate], key).expect("its key")
    }

    /// The same for one version of TLS.
    pub(crate) fn client_of_as(
        &self,
        version: &'static rustls::SupportedProtocolVersion,
        (certificate, key): (CertificateDer<'static>, PrivateKeyDer<'static>),
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("it is an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_protocol_versions(&[version]).expect("a version");
        builder.with_root_certificates(roots).with_client_auth_cert(vec![certificate], key).expect("its key")
    }

    /// What a client that trusts only this authority speaks.
    pub(crate) fn client(&self) -> ClientConfig {
        self.client_with(aws_lc_rs::default_provider())
    }

    /// The same for one version of TLS.
    pub(crate) fn client_of(&self, version: &'static rustls::SupportedProtocolVersion) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("it is an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_protocol_versions(&[version]).expect("a version");
        builder.with_root_certificates(roots).with_no_client_auth()
    }

    pub(crate) fn client_with(&self, provider: CryptoProvider) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("it is an authority");
        let builder =
            ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions();
        let mut config = builder.expect("versions").with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }
}

/// A key of RSA: openssl made it, rcgen cannot.
pub(crate) fn rsa_key() -> Option<KeyPair> {
    let made = std::process::Command::new("openssl").args(["genpkey", "-algorithm", "RSA"]).output().ok()?;
    let der = PrivateKeyDer::from_pem_slice(&made.stdout).ok()?;
    KeyPair::try_from(&der).ok()
}

/// A store with these certificates; the first is the default if `default`.
pub(crate) fn store(
    certificates: impl IntoIterator<Item = Certificate>,
    default: bool,
) -> Arc<CertificateStore> {
    CertificateStore::new(all(certificates, default))
}

pub(crate) fn all(certificates: impl IntoIterator<Item = Certificate>, default: bool) -> Certificates {
    let mut all = Certificates::default();
    for (place, certificate) in certificates.into_iter().enumerate() {
        all.add(certificate, default && place == 0);
    }
    all
}

/// A router that listens with TLS.
pub(crate) fn start(
    store: &Arc<CertificateStore>,
    app: App,
    change: impl FnOnce(&mut ServerOptions),
) -> Router {
    start_on(listener(), TlsPolicy::Intermediate, store, app, change)
}

pub(crate) fn listener() -> Listener {
    Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port can be had")
}

pub(crate) fn start_on(
    listener: Listener,
    policy: TlsPolicy,
    store: &Arc<CertificateStore>,
    app: App,
    change: impl FnOnce(&mut ServerOptions),
) -> Router {
    let tickets = Tickets::new().expect("randomness");
    let terminator = Terminator::new(policy, Arc::clone(store), &tickets).expect("TLS");
    Router::start_on(listener.with_tls(terminator), app, change)
}

/// A connection of a client.
pub(crate) struct Client(pub(crate) StreamOwned<ClientConnection, TcpStream>);

impl Client {
    /// Connects, and does the handshake for this name.
    pub(crate) fn handshake(address: SocketAddr, config: ClientConfig, name: &str) -> io::Result<Self> {
        Self::begin(TcpStream::connect(address)?, config, name)
    }

    /// Does the handshake on a connection.
    pub(crate) fn begin(stream: TcpStream, config: ClientConfig, name: &str) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut tls = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let mut stream = stream;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        Ok(Self(StreamOwned::new(tls, stream)))
    }

    pub(crate) fn connect(address: SocketAddr, config: &ClientConfig, name: &str) -> Self {
        Self::handshake(address, config.clone(), name).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The certificate it was shown.
    pub(crate) fn shown(&self) -> CertificateDer<'static> {
        self.0
            .conn
            .peer_certificates()
            .and_then(|chain| chain.first())
            .expect("it was shown one")
            .clone()
            .into_owned()
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).expect("it is taken");
        self.0.flush().expect("it is taken");
    }

    /// The next head.
    pub(crate) fn head(&mut self) -> Head {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after {head:?}"));
            head.push(byte[0]);
        }
        Head::parse(&head)
    }

    /// The next response, whose body has a length.
    pub(crate) fn response(&mut self) -> (Head, Vec<u8>) {
        let head = self.head();
        let length = head.get("Content-Length").expect("it has a length").parse().expect("a number");
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("the body comes");
        (head, body)
    }

    /// Everything until the end; an error if it was cut there.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, io::Result<()>) {
        let mut rest = Vec::new();
        let end = self.0.read_to_end(&mut rest).map(drop);
        (rest, end)
    }
}
