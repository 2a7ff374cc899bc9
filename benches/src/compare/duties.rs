//! Looks whether a proxy does what it was told, rather than believing its configuration.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::stage::{HOST, OTHER_HOST};

/// The fields every proxy has to add.
const FIELDS: [&str; 3] = ["x-forwarded-for", "x-request-id", "via"];

/// What a proxy at `address` neglects, as sentences.
pub(super) fn neglected(name: &str, address: SocketAddr) -> io::Result<Vec<String>> {
    let mut neglected = Vec::new();
    let head = ask(address, HOST, "/__head")?;
    for field in FIELDS {
        if !head.contains(&format!(",{field},")) {
            neglected.push(format!("{name} does not add {field}"));
        }
    }
    if ask(address, OTHER_HOST, "/")?.starts_with("HTTP/1.1 200") {
        neglected.push(format!("{name} does not route on Host"));
    }
    Ok(neglected)
}

/// One answer, as text.
fn ask(address: SocketAddr, host: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
