//! The headers a request gets on its way, and what is told about who sent it (Heroku, HTTP Routing: "Heroku headers").
//!
//! - [`Arrival`]: how a request reached the router.
//! - [`forwarded_for`]: the `X-Forwarded-For` list, which is also the log line's `fwd`.
//! - [`write_headers`]: the headers that every request gets.
//! - [`via`]: the `Via` list, both ways.

use std::{io::Write as _, net::IpAddr};

/// The name this router goes by in `Via`.
pub const PSEUDONYM: &str = "busbar";

/// How a request reached the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Who is at the other end of the connection. `None`: a process of this machine, over a socket file.
    pub client: Option<IpAddr>,
    /// Over TLS.
    pub tls: bool,
    /// The port it was sent to: that of the Host header, else that of the scheme.
    pub port: u16,
}

impl Arrival {
    /// `http` or `https`.
    pub const fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// Appends the `X-Forwarded-For` list: what came with the request, in order, then the client. What came with the
/// request is never believed and never removed; only the last address is the router's own word. A client on a socket
/// file has no address and adds nothing: the proxy there has written its own client down already.
///
/// ```
/// use router_core::route::forward::forwarded_for;
/// let mut list = Vec::new();
/// forwarded_for(&mut list, [b"10.0.0.1".as_slice()].into_iter(), "127.0.0.1".parse().ok());
/// assert_eq!(list, b"10.0.0.1, 127.0.0.1");
/// ```
pub fn forwarded_for<'a>(
    out: &mut Vec<u8>,
    received: impl Iterator<Item = &'a [u8]>,
    client: impl Into<Option<IpAddr>>,
) {
    let begin = out.len();
    append_all(out, received);
    match client.into() {
        Some(client) => ip(out, client),
        None => out.truncate(out.len().saturating_sub(2).max(begin)),
    }
}

fn append_all<'a>(out: &mut Vec<u8>, lists: impl Iterator<Item = &'a [u8]>) {
    for list in lists.filter(|list| !list.is_empty()) {
        out.extend_from_slice(list);
        out.extend_from_slice(b", ");
    }
}

/// Appends the header lines that every request gets; `forwarded_for` is the list made by [`forwarded_for`],
/// `started_unix_ms` the wall-clock time at which the router had read the request's head.
pub fn write_headers(
    out: &mut Vec<u8>,
    arrival: &Arrival,
    forwarded_for: &[u8],
    request_id: &[u8],
    started_unix_ms: u64,
) {
    let mut digits = itoa::Buffer::new();
    line(out, b"X-Request-Id", request_id);
    if !forwarded_for.is_empty() {
        line(out, b"X-Forwarded-For", forwarded_for);
    }
    line(out, b"X-Forwarded-Proto", arrival.scheme().as_bytes());
    line(out, b"X-Forwarded-Port", digits.format(arrival.port).as_bytes());
    line(out, b"X-Request-Start", digits.format(started_unix_ms).as_bytes());
}

/// Appends the `Via` list: what came with the message, then this router as one that received `version`.
pub fn via<'a>(out: &mut Vec<u8>, received: impl Iterator<Item = &'a [u8]>, version: &str) {
    append_all(out, received);
    out.extend_from_slice(version.as_bytes());
    out.push(b' ');
    out.extend_from_slice(PSEUDONYM.as_bytes());
}

/// Appends one header line.
pub fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn ip(out: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let mut digits = itoa::Buffer::new();
            for (at, octet) in v4.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(digits.format(octet).as_bytes());
            }
        }
        // Writing to memory does not fail.
        IpAddr::V6(v6) => drop(write!(out, "{v6}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 195));

    #[test]
    fn the_client_comes_last_and_what_was_received_stays() {
        let mut list = Vec::new();
        forwarded_for(&mut list, [b"a, b".as_slice(), b"", b"c"].into_iter(), V4);
        assert_eq!(list, b"a, b, c, 203.0.113.195");
    }

    #[test]
    fn an_ipv4_client_on_an_ipv6_socket_is_written_as_ipv4() {
        let mut list = Vec::new();
        forwarded_for(&mut list, std::iter::empty(), "::ffff:10.1.2.3".parse().ok());
        assert_eq!(list, b"10.1.2.3");
        list.clear();
        forwarded_for(&mut list, std::iter::empty(), "2001:db8::1".parse().ok());
        assert_eq!(list, b"2001:db8::1");
    }

    #[test]
    fn every_request_gets_five_headers() {
        let mut out = Vec::new();
        write_headers(
            &mut out,
            &Arrival { client: Some(V4), tls: false, port: 80 },
            b"x",
            b"id",
            1_700_000_000_123,
        );
        let text = "X-Request-Id: id\r\nX-Forwarded-For: x\r\nX-Forwarded-Proto: http\r\n\
                    X-Forwarded-Port: 80\r\nX-Request-Start: 1700000000123\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    #[test]
    fn via_names_the_version_that_was_received() {
        let mut out = Vec::new();
        via(&mut out, [b"1.1 proxy".as_slice()].into_iter(), "1.1");
        assert_eq!(out, b"1.1 proxy, 1.1 busbar");
    }
}
