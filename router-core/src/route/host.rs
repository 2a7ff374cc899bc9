//! A request's host in canonical form, without allocating: what [`Domain`](busbar_registry::Domain) is for an app.
//!
//! - [`Host::parse`]: from the value of a `Host` header (RFC 9110 §7.2) or an `:authority`.
//! - [`HostError`]: why it is no host; all of them are answered with 400.

use std::{fmt, io::Write, net::Ipv6Addr};

/// The longest host name in text form (RFC 1035 §2.3.4, without the trailing dot).
pub const MAX_HOST: usize = 253;

/// The host a request is for: lower case, no trailing dot, an IPv6 literal in RFC 5952 form within brackets.
/// For every domain the registry accepts, each of its spellings parses to that domain's own text.
///
/// ```
/// use router_core::route::host::Host;
/// let host = Host::parse(b"Shop.Example.COM.:8443").unwrap();
/// assert_eq!((host.as_str(), host.port()), ("shop.example.com", Some(8443)));
/// assert_eq!(Host::parse(b"[2001:DB8:0::1]").unwrap().as_str(), "[2001:db8::1]");
/// assert!(Host::parse(b"user@shop.example.com").is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Host {
    /// Zero beyond `len`.
    bytes: [u8; MAX_HOST],
    len: u8,
    port: Option<u16>,
}

/// Why a text is no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing before the port.
    #[error("the host is empty")]
    Empty,
    /// Longer than [`MAX_HOST`].
    #[error("the host is longer than {MAX_HOST} bytes")]
    TooLong,
    /// Two dots in a row, or a dot at the beginning.
    #[error("the host has an empty label")]
    EmptyLabel,
    /// Not a letter, digit, `-`, `_` or `.`: so no user, no path, no blank, no IDN outside punycode.
    #[error("the host has a byte {0:#04x}; only letters, digits, '-', '_' and '.' are allowed")]
    Byte(u8),
    /// Not a number from 0 to 65535 in at most five digits.
    #[error("the port is not a number from 0 to 65535")]
    Port,
    /// What stands in brackets is no IPv6 address, or what follows them is no port.
    #[error("the host is not an IPv6 literal like [2001:db8::1]")]
    Ipv6,
}

impl Host {
    /// Parses the value of a `Host` header, blanks around it already removed. An empty port (`host:`) counts as none.
    ///
    /// # Errors
    /// See [`HostError`].
    pub fn parse(raw: &[u8]) -> Result<Self, HostError> {
        if raw.first() == Some(&b'[') {
            return Self::parse_ipv6(raw);
        }
        let (name, port) = match memchr::memchr(b':', raw).and_then(|colon| raw.split_at_checked(colon)) {
            Some((name, port)) => (name, parse_port(port)?),
            None => (raw, None),
        };
        let name = name.strip_suffix(b".").unwrap_or(name);
        let len = u8::try_from(name.len()).ok().filter(|&len| usize::from(len) <= MAX_HOST);
        let mut host = Self { bytes: [0; MAX_HOST], len: len.ok_or(HostError::TooLong)?, port };
        fold(name, &mut host.bytes)?;
        Ok(host)
    }

    fn parse_ipv6(raw: &[u8]) -> Result<Self, HostError> {
        let inner = raw.strip_prefix(b"[").ok_or(HostError::Ipv6)?;
        let end = memchr::memchr(b']', inner).ok_or(HostError::Ipv6)?;
        let (text, rest) = inner.split_at_checked(end).ok_or(HostError::Ipv6)?;
        let port = match rest {
            b"]" => None,
            [b']', port @ ..] if port.first() == Some(&b':') => parse_port(port)?,
            _ => return Err(HostError::Ipv6),
        };
        let address: Ipv6Addr =
            str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(HostError::Ipv6)?;
        let mut bytes = [0; MAX_HOST];
        let mut free = bytes.as_mut_slice();
        write!(free, "[{address}]").map_err(|_| HostError::Ipv6)?;
        let len = u8::try_from(MAX_HOST - free.len()).map_err(|_| HostError::Ipv6)?;
        Ok(Self { bytes, len, port })
    }

    /// The canonical text, without the port.
    pub fn as_str(&self) -> &str {
        self.bytes
            .get(..usize::from(self.len))
            .and_then(|bytes| str::from_utf8(bytes).ok())
            .unwrap_or_default()
    }

    /// The port that was written, if any.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }
}

/// For each byte its canonical form; 0 where the byte may not stand in a host name.
const CANONICAL: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0u8;
    while byte < 128 {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            #[expect(clippy::indexing_slicing, reason = "a u8 is always within 256 entries")]
            {
                table[byte as usize] = byte.to_ascii_lowercase();
            }
        }
        byte += 1;
    }
    table
};

fn fold(name: &[u8], into: &mut [u8; MAX_HOST]) -> Result<(), HostError> {
    let mut before = b'.';
    for (&byte, place) in name.iter().zip(into) {
        let folded = CANONICAL.get(usize::from(byte)).copied().unwrap_or_default();
        if folded == 0 {
            return Err(HostError::Byte(byte));
        }
        if folded == b'.' && before == b'.' {
            return Err(HostError::EmptyLabel);
        }
        before = folded;
        *place = folded;
    }
    match name.len() {
        0 => Err(HostError::Empty),
        _ if before == b'.' => Err(HostError::EmptyLabel),
        _ => Ok(()),
    }
}

/// `text` begins with the colon.
fn parse_port(text: &[u8]) -> Result<Option<u16>, HostError> {
    match text {
        [b':'] => Ok(None),
        [b':', digits @ ..] if digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit) => {
            let port = digits.iter().fold(0, |port: u32, digit| port * 10 + u32::from(digit - b'0'));
            u16::try_from(port).map(Some).map_err(|_| HostError::Port)
        }
        _ => Err(HostError::Port),
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({:?}, port {:?})", self.as_str(), self.port)
    }
}

#[cfg(test)]
mod tests {
    use busbar_registry::Domain;
    use proptest::prelude::*;

    use super::*;

    fn text(raw: &str) -> Result<String, HostError> {
        Host::parse(raw.as_bytes()).map(|host| host.to_string())
    }

    #[test]
    fn a_host_has_one_canonical_text() {
        for (raw, canonical, port) in [
            ("shop.example.com", "shop.example.com", None),
            ("SHOP.example.Com.", "shop.example.com", None),
            ("shop.example.com:", "shop.example.com", None),
            ("shop.example.com.:80", "shop.example.com", Some(80)),
            ("localhost:65535", "localhost", Some(65535)),
            ("my_app:0", "my_app", Some(0)),
            ("127.0.0.1:8080", "127.0.0.1", Some(8080)),
            ("[::1]", "[::1]", None),
            ("[0:0:0:0:0:0:0:1]:", "[::1]", None),
            ("[2001:DB8::00A]:443", "[2001:db8::a]", Some(443)),
        ] {
            let host = Host::parse(raw.as_bytes()).unwrap();
            assert_eq!((host.as_str(), host.port()), (canonical, port), "{raw}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused_with_its_reason() {
        let long = "a.".repeat(126) + "ab";
        assert_eq!(long.len(), 254);
        for (raw, why) in [
            ("", HostError::Empty),
            (".", HostError::Empty),
            (":80", HostError::Empty),
            ("a..b", HostError::EmptyLabel),
            (".a", HostError::EmptyLabel),
            ("a..", HostError::EmptyLabel),
            ("user@host", HostError::Byte(b'@')),
            ("user:pw@host", HostError::Port),
            ("http://host", HostError::Port),
            ("a/b", HostError::Byte(b'/')),
            ("a b", HostError::Byte(b' ')),
            ("*.a", HostError::Byte(b'*')),
            ("a\0", HostError::Byte(0)),
            ("bücher.example", HostError::Byte(0xc3)),
            ("a:80:90", HostError::Port),
            ("a:-1", HostError::Port),
            ("a:+1", HostError::Port),
            ("a:65536", HostError::Port),
            ("a:000080", HostError::Port),
            ("::1", HostError::Port),
            ("[::1", HostError::Ipv6),
            ("[]", HostError::Ipv6),
            ("[fe80::1%eth0]", HostError::Ipv6),
            ("[::1].", HostError::Ipv6),
            ("[::1]80", HostError::Ipv6),
            ("[127.0.0.1]", HostError::Ipv6),
            (long.as_str(), HostError::TooLong),
        ] {
            assert_eq!(text(raw), Err(why), "{raw:?}");
        }
        assert_eq!(text(&"a".repeat(600)), Err(HostError::TooLong));
    }

    /// Mostly names, sometimes anything.
    fn domain() -> impl Strategy<Value = Domain> {
        prop_oneof![
            "([a-zA-Z0-9_]([a-zA-Z0-9_-]{0,12}[a-zA-Z0-9_])?\\.){0,4}[a-zA-Z0-9]{1,8}\\.?",
            "\\PC{1,20}(\\.\\PC{1,8})?"
        ]
        .prop_filter_map("not a domain", |text| text.parse().ok())
    }

    proptest! {
        #[test]
        fn every_spelling_of_a_domain_is_that_domain(domain in domain(), upper in any::<u64>(), dot: bool) {
            let concrete = domain.as_str().replacen('*', "any", 1);
            let mut spelled: String = concrete
                .chars()
                .enumerate()
                .map(|(i, c)| if upper >> (i % 64) & 1 == 1 { c.to_ascii_uppercase() } else { c })
                .collect();
            if dot {
                spelled.push('.');
            }
            prop_assert_eq!(text(&spelled), Ok(concrete));
        }

        #[test]
        fn parsing_is_total_and_its_result_parses_to_itself(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(host) = Host::parse(&raw) {
                prop_assert!(!host.as_str().is_empty());
                prop_assert_eq!(text(host.as_str()), Ok(host.to_string()));
            }
        }
    }
}
