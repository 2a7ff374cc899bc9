//! A range of addresses: `10.0.0.0/8`, `2001:db8::/32`, or a single one.

use std::{fmt, net::IpAddr, str::FromStr};

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

/// Not spelled as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "bad network {0:?}; write an address and a prefix length, like 10.0.0.0/8 or 2001:db8::/32, or one address"
)]
pub struct BadNetwork(pub(crate) String);

impl Network {
    /// Whether `address` is in it; an IPv4 address written as IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (host, base) = (bits(address.to_canonical()), bits(self.base));
        host.1 == base.1 && shifted(host, self.prefix) == shifted(base, self.prefix)
    }
}

/// The address's bits, and how many there are.
const fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(v4) => (v4.to_bits() as u128, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

fn shifted((bits, length): (u128, u8), prefix: u8) -> u128 {
    bits.checked_shr(u32::from(length.saturating_sub(prefix))).unwrap_or_default()
}

impl FromStr for Network {
    type Err = BadNetwork;
    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let bad = || BadNetwork(text.to_owned());
        let (address, prefix) = text.split_once('/').unzip();
        let base: IpAddr = address.unwrap_or(text).parse().map_err(|_| bad())?;
        let length = bits(base).1;
        let prefix = match prefix {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| bad())?
            }
            Some(_) => return Err(bad()),
            None => length,
        };
        if prefix > length { Err(bad()) } else { Ok(Self { base, prefix }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_what_begins_like_it() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("192.168.4.0/22", "192.168.7.255", "192.168.8.0"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("0.0.0.0/0", "255.1.1.1", "::1"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::10.0.0.1"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{network} {outside}");
        }
        for text in ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "::/129", "a/8"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
