//! A server that says what pebble cannot: when a certificate is to be renewed, and that it wants to be left alone.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    thread,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

/// What it is asked: `GET /dir`.
type Asked = String;
/// A status with headers, and a body.
type Said = (String, String);

/// Answers until the test is over; with the certificate and the key in these files.
pub(super) fn start(
    chain: &Path,
    key: &Path,
    answer: impl Fn(SocketAddr, &str) -> Said + Send + Sync + 'static,
) -> SocketAddr {
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    let chain =
        CertificateDer::pem_file_iter(chain).expect("it is there").map(|one| one.expect("PEM")).collect();
    let key = PrivateKeyDer::from_pem_file(key).expect("PEM");
    let config = Arc::new(builder.with_single_cert(chain, key).expect("they match"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be had");
    let (at, answer) = (listener.local_addr().expect("it is bound"), Arc::new(answer));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (config, answer) = (Arc::clone(&config), Arc::clone(&answer));
            thread::spawn(move || {
                let tls = ServerConnection::new(config).expect("a server");
                let mut stream = BufReader::new(StreamOwned::new(tls, stream));
                while let Some(asked) = next(&mut stream) {
                    let is_head = asked.starts_with("HEAD");
                    let (head, body) = answer(at, &asked);
                    let text = if is_head { "" } else { &body };
                    let length = text.len();
                    let said = format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n{text}");
                    let _it_has_left = stream.get_mut().write_all(said.as_bytes());
                }
            });
        }
    });
    at
}

/// The next request's method and path.
fn next(stream: &mut BufReader<impl std::io::Read>) -> Option<Asked> {
    let (mut first, mut length) = (String::new(), 0);
    stream.read_line(&mut first).ok().filter(|n| *n > 0)?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|n| *n > 0)?;
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    stream.take(length).read_to_end(&mut Vec::new()).ok()?;
    Some(first.rsplit_once(' ')?.0.to_owned())
}
