//! The PROXY header (haproxy.org, "The PROXY protocol", versions 1 and 2), as a pure function: [`parse`].
//!
//! Strict: exactly the bytes of the specification or an error, and an error as soon as no further byte could help.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest line of version 1, with its end (§2.1).
pub(crate) const LONGEST_V1: usize = 107;
/// The longest header of version 2: 16 bytes, the addresses, and this many of TLVs together. 4 KiB hold every TLV in
/// use; a client certificate's name is the longest.
pub(crate) const LONGEST_V2: usize = 16 + 4096;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parsed {
    Header(Header),
    /// The beginning of a header.
    NeedsMore,
}

/// A whole header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// How many bytes it is long.
    pub(crate) length: usize,
    pub(crate) source: Source,
}

/// For whom the connection was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Proxied {
        source: SocketAddr,
        destination: SocketAddr,
    },
    /// For a process of the proxy's machine, over a socket file.
    ProxiedUnix,
    /// For nobody, or nobody knows: `LOCAL`, `UNKNOWN`, `UNSPEC`.
    Itself,
}

/// It is no PROXY header, or none of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads the header at the beginning of `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    match bytes.first() {
        None => Ok(Parsed::NeedsMore),
        Some(b'P') => version_1(bytes),
        Some(_) => version_2(bytes),
    }
}

fn version_1(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let start = b"PROXY ";
    if !begins_alike(bytes, start) {
        return Err(Malformed);
    }
    let within = bytes.get(..LONGEST_V1).unwrap_or(bytes);
    let Some(end) = memchr::memchr(b'\n', within) else {
        return if bytes.len() < LONGEST_V1 { Ok(Parsed::NeedsMore) } else { Err(Malformed) };
    };
    let line = within.get(start.len()..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(Malformed)?;
    if line.contains(&b'\r') {
        return Err(Malformed);
    }
    Ok(Parsed::Header(Header { length: end + 1, source: line_source(line)? }))
}

/// What follows `PROXY `.
fn line_source(line: &[u8]) -> Result<Source, Malformed> {
    let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Ok(Source::Itself); // the rest of the line is to be ignored
    }
    let mut words = line.split(' ');
    let mut word = || words.next().ok_or(Malformed);
    let (family, from, to, from_port, to_port) = (word()?, word()?, word()?, word()?, word()?);
    if words.next().is_some() {
        return Err(Malformed);
    }
    let (from, to) = match family {
        "TCP4" => (ip::<Ipv4Addr>(from)?, ip::<Ipv4Addr>(to)?),
        "TCP6" => (ip::<Ipv6Addr>(from)?, ip::<Ipv6Addr>(to)?),
        _ => return Err(Malformed),
    };
    Ok(Source::Proxied {
        source: SocketAddr::new(from, port(from_port)?),
        destination: SocketAddr::new(to, port(to_port)?),
    })
}

fn ip<T: std::str::FromStr + Into<IpAddr>>(text: &str) -> Result<IpAddr, Malformed> {
    text.parse::<T>().map(Into::into).map_err(|_| Malformed)
}

/// Digits without a leading zero, up to 65535.
fn port(text: &str) -> Result<u16, Malformed> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().map_err(|_| Malformed) } else { Err(Malformed) }
}

fn version_2(bytes: &[u8]) -> Result<Parsed, Malformed> {
    if !begins_alike(bytes, SIGNATURE) {
        return Err(Malformed);
    }
    let Some((version_command, rest)) = bytes.get(SIGNATURE.len()..).and_then(|rest| rest.split_first())
    else {
        return Ok(Parsed::NeedsMore);
    };
    let local = match version_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed),
    };
    let Some((family, rest)) = rest.split_first() else { return Ok(Parsed::NeedsMore) };
    // UNSPEC, or a stream over IPv4, IPv6 or a socket file. A datagram's header on a stream is a mistake.
    let addresses = match family {
        0x00 => 0,
        0x11 => 12,
        0x21 => 36,
        0x31 => 216,
        _ if local => 0,
        _ => return Err(Malformed),
    };
    let Some((announced, rest)) = rest.split_first_chunk::<2>() else { return Ok(Parsed::NeedsMore) };
    let announced = usize::from(u16::from_be_bytes(*announced));
    let length = 16 + announced;
    if length > LONGEST_V2 || (!local && announced < addresses) {
        return Err(Malformed);
    }
    let Some(block) = rest.get(..announced) else { return Ok(Parsed::NeedsMore) };
    let source = if local { Source::Itself } else { block_source(*family, block, addresses)? };
    Ok(Parsed::Header(Header { length, source }))
}

fn block_source(family: u8, block: &[u8], addresses: usize) -> Result<Source, Malformed> {
    if family != 0 {
        tlvs_fit(block.get(addresses..).unwrap_or_default())?;
    }
    match family {
        0x11 => {
            let (from, rest) = block.split_first_chunk::<4>().ok_or(Malformed)?;
            let (to, rest) = rest.split_first_chunk::<4>().ok_or(Malformed)?;
            proxied(Ipv4Addr::from(*from).into(), Ipv4Addr::from(*to).into(), rest)
        }
        0x21 => {
            let (from, rest) = block.split_first_chunk::<16>().ok_or(Malformed)?;
            let (to, rest) = rest.split_first_chunk::<16>().ok_or(Malformed)?;
            proxied(Ipv6Addr::from(*from).into(), Ipv6Addr::from(*to).into(), rest)
        }
        0x31 => Ok(Source::ProxiedUnix),
        _ => Ok(Source::Itself),
    }
}

fn proxied(from: IpAddr, to: IpAddr, ports: &[u8]) -> Result<Source, Malformed> {
    let (from_port, rest) = ports.split_first_chunk::<2>().ok_or(Malformed)?;
    let to_port = rest.first_chunk::<2>().ok_or(Malformed)?;
    Ok(Source::Proxied {
        source: SocketAddr::new(from, u16::from_be_bytes(*from_port)),
        destination: SocketAddr::new(to, u16::from_be_bytes(*to_port)),
    })
}

/// Each is a type, a length and that many bytes; they are skipped, but must end where the header does.
fn tlvs_fit(mut rest: &[u8]) -> Result<(), Malformed> {
    while let Some((_, behind)) = rest.split_first() {
        let (length, behind) = behind.split_first_chunk::<2>().ok_or(Malformed)?;
        rest = behind.get(usize::from(u16::from_be_bytes(*length))..).ok_or(Malformed)?;
    }
    Ok(())
}

/// Whether one is the beginning of the other.
fn begins_alike(bytes: &[u8], pattern: &[u8]) -> bool {
    bytes.iter().zip(pattern).all(|(byte, wanted)| byte == wanted)
}

#[cfg(test)]
mod tests;
