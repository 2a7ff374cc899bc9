//! The headers a request gets on its way, and what is told about who sent it (Heroku, HTTP Routing: "Heroku headers").
//!
//! - [`Arrival`]: how a request reached the router. [`TrustedProxies`] (in [`trust`]): whose word about that is believed.
//! - [`forwarded_for`]: the `X-Forwarded-For` list, which is also the log line's `fwd`.
//! - [`write_headers`]: the headers that every request gets. [`forwarded`]: the one of RFC 7239, for those who want it.
//! - [`via`]: the `Via` list, both ways.

pub mod trust;

use std::{io::Write as _, net::IpAddr};

use super::logline::Tls;
pub use trust::{Network, NetworkError, Said, TrustedProxies};

/// The name this router goes by in `Via`.
pub const PSEUDONYM: &str = "busbar";

/// How a request reached the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Who is at the other end of the connection. `None`: a process of this machine, over a socket file.
    pub peer: Option<IpAddr>,
    /// Who sent the request: the peer, or whom trusted proxies name.
    pub client: Option<IpAddr>,
    /// How many trusted proxies it came through that name somebody: so many addresses follow the client's in the
    /// `X-Forwarded-For` list.
    pub proxies: u16,
    /// The peer is a trusted proxy.
    pub trusted: bool,
    /// How it was encrypted.
    pub tls: Tls,
    /// The port it was sent to: that of the Host header, else that of the scheme.
    pub port: u16,
}

impl Arrival {
    /// A request from whoever is at the other end of the connection; `host_port` is the port in its Host header.
    pub fn direct(peer: impl Into<Option<IpAddr>>, tls: impl Into<Tls>, host_port: Option<u16>) -> Self {
        let (peer, tls) = (peer.into(), tls.into());
        let port = port(host_port, tls.is_on());
        Self { peer, client: peer, proxies: 0, trusted: false, tls, port }
    }

    /// `http` or `https`.
    pub const fn scheme(&self) -> &'static str {
        if self.tls.is_on() { "https" } else { "http" }
    }
}

const fn port(host_port: Option<u16>, tls: bool) -> u16 {
    match (host_port, tls) {
        (Some(port), _) => port,
        (None, true) => 443,
        (None, false) => 80,
    }
}

/// Appends the `X-Forwarded-For` list: what came with the request, in order, then the peer. What came with the
/// request is never removed; only the last address is the router's own word. A peer on a socket file has no address
/// and adds nothing: the proxy there has written its own client down already.
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
    peer: impl Into<Option<IpAddr>>,
) {
    let begin = out.len();
    append_all(out, received);
    match peer.into() {
        Some(peer) => ip(out, peer),
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
/// `started` the wall-clock time at which the router had read the request's head, in Unix milliseconds, or what a
/// trusted proxy says about that.
pub fn write_headers(
    out: &mut Vec<u8>,
    arrival: &Arrival,
    forwarded_for: &[u8],
    request_id: &[u8],
    started: &[u8],
) {
    let mut digits = itoa::Buffer::new();
    line(out, b"X-Request-Id", request_id);
    if !forwarded_for.is_empty() {
        line(out, b"X-Forwarded-For", forwarded_for);
    }
    line(out, b"X-Forwarded-Proto", arrival.scheme().as_bytes());
    line(out, b"X-Forwarded-Port", digits.format(arrival.port).as_bytes());
    line(out, b"X-Request-Start", started);
}

/// Appends a `Forwarded` line (RFC 7239) for the hop to the router; `host` is the Host header, which must be valid.
pub fn forwarded(out: &mut Vec<u8>, arrival: &Arrival, host: &[u8]) {
    out.extend_from_slice(b"Forwarded: for=");
    // A colon may only stand within quotes (RFC 7239 §4).
    let v6 = arrival.peer.is_some_and(|peer| peer.to_canonical().is_ipv6());
    out.extend_from_slice(if v6 { b"\"[" } else { b"" });
    match arrival.peer {
        Some(peer) => ip(out, peer),
        None => out.extend_from_slice(b"unknown"),
    }
    out.extend_from_slice(if v6 { b"]\"" } else { b"" });
    out.extend_from_slice(b";proto=");
    out.extend_from_slice(arrival.scheme().as_bytes());
    let quote = if memchr::memchr(b':', host).is_some() { &b"\""[..] } else { b"" };
    for part in [b";host=", quote, host, quote, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Whether every quote in a list is closed, so that an element behind it is read as one.
pub fn is_sound_list(list: &[u8]) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    for byte in list {
        (quoted, escaped) = match byte {
            _ if escaped => (quoted, false),
            b'\\' => (quoted, quoted),
            b'"' => (!quoted, false),
            _ => (quoted, false),
        };
    }
    !quoted
}

/// Whether this is a time as proxies write it into `X-Request-Start`: Unix seconds, or their fractions, perhaps after
/// `t=`.
pub fn is_start(value: &[u8]) -> bool {
    let digits = value.strip_prefix(b"t=").unwrap_or(value);
    let dots = digits.iter().filter(|b| **b == b'.').count();
    (1..=24).contains(&digits.len())
        && dots <= 1
        && digits.first().is_some_and(u8::is_ascii_digit)
        && digits.iter().all(|b| b.is_ascii_digit() || *b == b'.')
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

/// Appends an address; an IPv4 one in its own form.
pub(super) fn ip(out: &mut Vec<u8>, address: IpAddr) {
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
        write_headers(&mut out, &Arrival::direct(V4, false, None), b"x", b"id", b"1700000000123");
        let text = "X-Request-Id: id\r\nX-Forwarded-For: x\r\nX-Forwarded-Proto: http\r\n\
                    X-Forwarded-Port: 80\r\nX-Request-Start: 1700000000123\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    #[test]
    fn a_forwarded_element_quotes_what_has_a_colon() {
        let element = |peer: &str, tls, host: &str| {
            let mut out = Vec::new();
            forwarded(&mut out, &Arrival::direct(peer.parse::<IpAddr>().ok(), tls, None), host.as_bytes());
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            element("a socket file", false, "app.test"),
            "Forwarded: for=unknown;proto=http;host=app.test\r\n"
        );
        assert_eq!(
            element("192.0.2.60", false, "app.test"),
            "Forwarded: for=192.0.2.60;proto=http;host=app.test\r\n"
        );
        assert_eq!(
            element("2001:db8::1", true, "app.test:8443"),
            "Forwarded: for=\"[2001:db8::1]\";proto=https;host=\"app.test:8443\"\r\n"
        );
        assert_eq!(
            element("::ffff:10.1.2.3", false, "[::1]"),
            "Forwarded: for=10.1.2.3;proto=http;host=\"[::1]\"\r\n"
        );
    }

    #[test]
    fn a_list_is_sound_when_its_quotes_are_closed() {
        for sound in ["", "for=x", "for=\"[::1]\"", r#"a="\"""#, r#"a="\\""#, "a=b\\"] {
            assert!(is_sound_list(sound.as_bytes()), "{sound}");
        }
        for open in ["\"", "for=\"x", r#"a="\""#, "a=\"b\"\""] {
            assert!(!is_sound_list(open.as_bytes()), "{open}");
        }
    }

    #[test]
    fn a_start_is_a_number_with_or_without_t() {
        for good in ["1700000000123", "t=1700000000123", "1700000000.123", "t=1700000000123456"] {
            assert!(is_start(good.as_bytes()), "{good}");
        }
        for bad in ["", "t=", "now", "1.2.3", ".5", "-1", "t=1, t=2", "1700000000123456789012345"] {
            assert!(!is_start(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn via_names_the_version_that_was_received() {
        let mut out = Vec::new();
        via(&mut out, [b"1.1 proxy".as_slice()].into_iter(), "1.1");
        assert_eq!(out, b"1.1 proxy, 1.1 busbar");
    }
}
