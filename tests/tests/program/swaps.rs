//! Certificate files that change under load.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};

use it::fakes;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName},
};

use crate::{
    busbar::{Busbar, Place},
    wait::PATIENCE,
};

/// So often the files change. The router's own test swaps 1000 times in memory.
const SWAPS: usize = 50;

/// A whole handshake, verified, and a request; the certificate that was shown.
fn ask(at: SocketAddr, trusted: &CertificateDer<'static>) -> CertificateDer<'static> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let tls = ClientConnection::new(config, ServerName::try_from("shop.example").unwrap()).unwrap();
    let mut stream = StreamOwned::new(tls, stream);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
    stream.conn.peer_certificates().unwrap().first().unwrap().clone().into_owned()
}

/// Puts a text in the place of a file in one step.
fn put(busbar: &Busbar, file: &str, text: &str) {
    fs::rename(busbar.place.write("new", text), busbar.place.path(file)).unwrap();
}

#[test]
fn certificate_files_change_under_load_and_no_handshake_fails() {
    let key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(vec![]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let trusted = ca.self_signed(&key).unwrap().der().clone();
    let issuer = Issuer::new(ca, key);
    let both = [(); 2].map(|()| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
        let made = params.signed_by(&key, &issuer).unwrap();
        (made.der().clone(), made.pem(), key.serialize_pem())
    });
    let (place, dyno) = (Place::new(), fakes::answers("ok"));
    place.write("a.pem", &both[1].1);
    place.write("a.key", &both[1].2);
    let config = format!(
        "listen = [\"127.0.0.1:0\"]\nworkers = 2\n[[listener]]\naddress = \"127.0.0.1:0\"\ntls = \"intermediate\"\n\
         [[certificate]]\nchain = \"a.pem\"\nkey = \"a.key\"\n\
         [[app]]\nname = \"shop\"\ndomains = [\"shop.example\"]\ndynos = [\"{}\"]\n",
        dyno.address
    );
    let busbar = place.router(&config, &[]);
    let at = busbar.err.find("an https address", |line| line.rsplit_once("https://")?.1.parse().ok());
    let (over, done) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let shown = ask(at, &trusted);
                    assert!(both.iter().any(|(der, ..)| *der == shown));
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for (der, chain, key) in both.iter().cycle().take(SWAPS) {
            // Meanwhile they do not match, and the old ones stay in force.
            put(&busbar, "a.key", key);
            put(&busbar, "a.pem", chain);
            let reloaded = busbar.verb(&["reload"]);
            assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
            assert!(ask(at, &trusted) == *der, "the new one is shown from now on");
        }
        over.store(true, Ordering::SeqCst);
    });
    assert!(done.load(Ordering::SeqCst) > 20, "only {done:?} handshakes");
    let (_, state) = busbar.admin("/v1/state").unwrap();
    assert!(!state.contains("\"tls_"), "no handshake failed: {state}");
}
