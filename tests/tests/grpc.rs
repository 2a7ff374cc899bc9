//! gRPC from end to end: a client and dynos of Python's grpcio, the router between them.
//!
//! - [`dyno`]: the dynos. [`python`]: a Python that has grpcio.
//! - [`calls`]: every kind of call. [`faults`]: what a client is told when there is no answer.

mod calls;
mod dyno;
mod faults;
mod python;

use std::{fs, net::Ipv4Addr, net::SocketAddr, path::Path, process::Command};

use it::{App, Router};
use router_core::{server::Listener, tls::Certificate};

use crate::tls::client::{start, store};

/// A router that takes HTTP/2 in the clear.
fn router(app: App) -> Router {
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port can be had");
    Router::start_on(listener.with_h2c(), app, |_| {})
}

/// A router that takes it over TLS, and the file with its certificate.
fn secure_router(app: App) -> (Router, tempfile::NamedTempFile) {
    let names = ["app.test", "probe.test"].map(str::to_owned);
    let own = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let (pem, key) = (own.cert.pem(), own.signing_key.serialize_pem());
    let certificate = Certificate::from_pem("made", pem.as_bytes(), key.as_bytes()).expect("it is good");
    let router = start(&store([certificate], true), app, |_| {});
    let ca = tempfile::NamedTempFile::new().expect("a file");
    fs::write(ca.path(), pem).expect("it can be written");
    (router, ca)
}

/// Makes one kind of call and fails unless the client is content; what it said before.
#[track_caller]
fn call(python: &Path, address: SocketAddr, ca: Option<&Path>, kind: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/grpc/client.py");
    let ca = ca.map_or("-".into(), |ca| ca.display().to_string());
    let mut client = Command::new(python);
    client.arg(script).args([&address.to_string(), it::router::HOST, &ca]).args(kind);
    for proxy in ["http_proxy", "https_proxy", "grpc_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
        client.env_remove(proxy);
    }
    let output = client.output().expect("python was found");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let said = out.trim_end().strip_suffix("agrees");
    assert!(said.is_some(), "{kind:?}: {}: {out}\n{err}", output.status);
    said.unwrap_or_default().trim_end().to_owned()
}
