//! A PROXY header says one thing: however it arrives, and in either version.

use std::net::{IpAddr, SocketAddr};

use router_core::internals::proxy_header;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// See the page.
pub fn claim(bytes: &[u8]) {
    let whole = proxy_header(bytes);
    for cut in 0..bytes.len() {
        match (proxy_header(&bytes[..cut]), whole) {
            (Ok(None), Ok(Some((length, _)))) => assert!(cut < length, "not whole at {cut}"),
            (Ok(None), _) | (Err(()), Err(())) => {}
            (early, whole) => assert_eq!(early, whole, "cut at {cut}"),
        }
    }
    let Ok(Some((length, named))) = whole else { return };
    assert!(length <= bytes.len() && length <= 16 + 4096);
    assert_eq!(proxy_header(&bytes[..length]), whole, "what follows matters");
    let Some((source, destination)) = named else { return };
    assert_eq!(source.is_ipv4(), destination.is_ipv4());
    for written in [version_1(source, destination), version_2(source, destination)] {
        let expected = Ok(Some((written.len(), Some((source, destination)))));
        assert_eq!(proxy_header(&written), expected, "{:?}", written.escape_ascii().to_string());
    }
}

fn version_1(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.port(), destination.port());
    format!("PROXY {family} {} {} {from} {to}\r\n", source.ip(), destination.ip()).into_bytes()
}

fn version_2(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let octets = |ip| match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let (family, length) = if source.is_ipv4() { (0x11, 12) } else { (0x21, 36) };
    let mut header = [SIGNATURE.as_slice(), &[0x21, family, 0, length]].concat();
    header.extend([octets(source.ip()), octets(destination.ip())].concat());
    header.extend([source.port().to_be_bytes(), destination.port().to_be_bytes()].concat());
    header
}
