//! Whose word about the client is believed.
//!
//! - [`TrustedProxies`]: the networks of the proxies before the router.
//! - [`Network`]: one of them, as it is written: `10.0.0.0/8`, `::1`.
//! - [`Said`], [`Arrival::believing`]: what such a proxy said, and what follows from it.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

use super::{Arrival, Tls, port};

/// A network of trusted proxies: an address with a prefix length, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(IpNet);

/// Why a text is no [`Network`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Not an address with an optional prefix length.
    #[error("write a network like 10.0.0.0/8 or 2001:db8::/32, or an address like ::1")]
    Form,
    /// There are bits behind the prefix.
    #[error("the network is {0}; write that, or the address without the prefix")]
    HostBits(Network),
}

impl FromStr for Network {
    type Err = NetworkError;
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(address.to_canonical().into()));
        }
        let network: IpNet = text.parse().map_err(|_| NetworkError::Form)?;
        if network.trunc() == network {
            Ok(Self(network))
        } else {
            Err(NetworkError::HostBits(Self(network.trunc())))
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The networks of the proxies whose word about the client is believed. Each request looks through all of them, so
/// there should be few.
///
/// ```
/// use router_core::route::forward::TrustedProxies;
/// let trusted: TrustedProxies = ["10.0.0.0/8".parse().unwrap()].into_iter().collect();
/// assert!(trusted.contains("10.1.2.3".parse().unwrap()));
/// assert!(!TrustedProxies::default().contains("10.1.2.3".parse().unwrap()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrustedProxies(Box<[Network]>);

impl FromIterator<Network> for TrustedProxies {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
}

impl TrustedProxies {
    /// Whether the word of whoever has this address is believed.
    pub fn contains(&self, address: IpAddr) -> bool {
        !self.0.is_empty() && {
            let address = address.to_canonical();
            self.0.iter().any(|network| network.0.contains(&address))
        }
    }
}

/// What a trusted proxy said about a request, besides its `X-Forwarded-For`. `None` also when it said several things.
#[derive(Debug, Clone, Copy, Default)]
pub struct Said<'a> {
    /// `X-Forwarded-Proto`
    pub proto: Option<&'a [u8]>,
    /// `X-Forwarded-Port`
    pub port: Option<&'a [u8]>,
}

impl Arrival {
    /// The same arrival as seen by its peer, which must be trusted. The client is the last address in the
    /// `X-Forwarded-For` headers (`forwarded_for`, the last one first) that is not of a trusted proxy. What cannot be
    /// understood is not believed: the list is read no further there, and the connection's own facts stay.
    pub fn believing<'a>(
        self,
        trusted: &TrustedProxies,
        host_port: Option<u16>,
        said: &Said<'_>,
        forwarded_for: impl Iterator<Item = &'a [u8]>,
    ) -> Self {
        let (mut client, mut proxies) = (self.peer, 0u16);
        let addresses =
            forwarded_for.filter(|list| !list.is_empty()).flat_map(|list| list.rsplit(|b| *b == b','));
        for named in addresses.map_while(address).take(usize::from(u16::MAX)) {
            client = Some(named);
            proxies = proxies.saturating_add(1);
            if !trusted.contains(named) {
                break;
            }
        }
        let tls = match said.proto {
            Some(proto) if proto.eq_ignore_ascii_case(b"https") => Tls::Elsewhere,
            Some(proto) if proto.eq_ignore_ascii_case(b"http") => Tls::Plain,
            _ => self.tls,
        };
        let port = said.port.and_then(number).unwrap_or_else(|| port(host_port, tls.is_on()));
        Self { client, proxies, trusted: true, tls, port, ..self }
    }
}

/// An address as proxies write it: alone, or with a port, an IPv6 one then in brackets.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text.trim_ascii()).ok()?;
    let address = if let Some(rest) = text.strip_prefix('[') {
        let (inner, port) = rest.split_once(']')?;
        let port = port
            .strip_prefix(':')
            .map_or(port.is_empty().then_some(()), |port| number(port.as_bytes()).map(drop));
        port.and_then(|()| inner.parse::<std::net::Ipv6Addr>().ok())?.into()
    } else if let Some((v4, port)) = text.split_once(':').filter(|(v4, _)| v4.contains('.')) {
        number(port.as_bytes())?;
        IpAddr::V4(v4.parse().ok()?)
    } else {
        text.parse::<IpAddr>().ok()?
    };
    Some(address.to_canonical())
}

/// A port: 1 to 65535.
fn number(text: &[u8]) -> Option<u16> {
    let digits = (1..=5).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    str::from_utf8(text).ok().filter(|_| digits)?.parse().ok().filter(|port| *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn trusted() -> TrustedProxies {
        ["10.0.0.0/8", "::1", "2001:db8::/32"].into_iter().map(|text| text.parse().unwrap()).collect()
    }

    fn client(lists: &[&str]) -> (String, u16) {
        let lists = lists.iter().rev().map(|list| list.as_bytes());
        let arrival = Arrival::direct(PEER, false, None).believing(&trusted(), None, &Said::default(), lists);
        (arrival.client.unwrap().to_string(), arrival.proxies)
    }

    #[test]
    fn the_client_is_the_last_one_who_is_not_trusted() {
        for (lists, expected, proxies) in [
            (&[][..], "10.0.0.1", 0),
            (&["203.0.113.7"], "203.0.113.7", 1),
            (&["6.6.6.6, 203.0.113.7"], "203.0.113.7", 1),
            (&["203.0.113.7, 10.0.0.2,10.0.0.3"], "203.0.113.7", 3),
            (&["6.6.6.6", "203.0.113.7", "", "10.0.0.2"], "203.0.113.7", 2),
            (&["10.0.0.9, 10.0.0.2"], "10.0.0.9", 2),
            (&["203.0.113.7:4711"], "203.0.113.7", 1),
            (&["2001:db9::1, [2001:db8::5]:80"], "2001:db9::1", 2),
            (&["[2001:db9::1]"], "2001:db9::1", 1),
            (&["::ffff:203.0.113.7, ::ffff:10.0.0.2"], "203.0.113.7", 2),
        ] {
            assert_eq!(client(lists), (expected.to_owned(), proxies), "{lists:?}");
        }
    }

    #[test]
    fn what_is_no_address_ends_the_list() {
        for list in [
            "unknown",
            "",
            " ",
            "203.0.113.7,",
            "_hidden",
            "203.0.113.999",
            "203.0.113.7 8",
            "1.2.3.4:x",
            "[::1",
            "[::1]x",
            "\u{ff11}",
        ] {
            assert_eq!(client(&[list]), ("10.0.0.1".into(), 0), "{list:?}");
        }
        assert_eq!(client(&["203.0.113.7, garbage, 10.0.0.2"]), ("10.0.0.2".into(), 1));
    }

    #[test]
    fn scheme_and_port_are_believed_when_they_are_sound() {
        let said = |proto: Option<&str>, port: Option<&str>, host_port| {
            let said = Said { proto: proto.map(str::as_bytes), port: port.map(str::as_bytes) };
            let none = std::iter::empty();
            let arrival =
                Arrival::direct(PEER, false, host_port).believing(&trusted(), host_port, &said, none);
            (arrival.scheme(), arrival.port)
        };
        assert_eq!(said(Some("https"), None, None), ("https", 443));
        assert_eq!(said(Some("HTTPS"), Some("8443"), None), ("https", 8443));
        assert_eq!(said(Some("https"), None, Some(81)), ("https", 81));
        for bad in ["", "ftp", "https, http", "https "] {
            assert_eq!(said(Some(bad), None, None), ("http", 80), "{bad:?}");
        }
        for bad in ["", "0", "65536", "+80", "80 ", "80, 81", "000080"] {
            assert_eq!(said(None, Some(bad), None), ("http", 80), "{bad:?}");
        }
    }

    #[test]
    fn a_network_is_written_as_it_is() {
        for text in ["10.0.0.0/8", "::1", "192.0.2.1", "2001:db8::/32", "0.0.0.0/0"] {
            assert!(text.parse::<Network>().is_ok(), "{text}");
        }
        let host_bits = "10.0.0.1/8".parse::<Network>().unwrap_err();
        assert!(host_bits.to_string().starts_with("the network is 10.0.0.0/8;"));
        for text in ["", "10.0.0.0/33", "10.0.0/8", "localhost", "10.0.0.0/", "10.0.0.0-10.1.0.0"] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::Form), "{text}");
        }
    }
}
