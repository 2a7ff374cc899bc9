//! One address of an origin, and how it behaves there.
//!
//! Written `ADDRESS[?key=value&…]`: `127.0.0.1:9001?latency=exp:20ms&concurrency=1`. Keys: `latency` ([`Latency`]),
//! `concurrency` (requests at once, the rest wait in line), `stall=EVERY/FOR` (answers nobody for the last FOR of each EVERY),
//! `misbehave` ([`Misbehaviour`]), `speaks` (`h1`, `h2` in the clear, `tls`).

use std::{net::SocketAddr, num::NonZeroUsize, str::FromStr, time::Duration};

use socket2::{Domain, Socket, Type};

use super::{Latency, Misbehaviour};
use crate::units;

/// An address and how it behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Where; port 0 lets the kernel choose.
    pub address: SocketAddr,
    /// How long an answer takes.
    pub latency: Latency,
    /// How many requests are served at once; the others wait, first come first served. None: any number.
    pub concurrency: Option<NonZeroUsize>,
    /// Answers nobody for the last `.1` of each `.0`, counted from the start.
    pub stall: Option<(Duration, Duration)>,
    /// What it does instead of answering.
    pub misbehaviour: Option<Misbehaviour>,
    /// Which protocol.
    pub speaks: Speaks,
}

/// The protocol of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Speaks {
    /// HTTP/1.1 in the clear.
    #[default]
    Http1,
    /// HTTP/2 in the clear, without negotiation.
    Http2,
    /// TLS with a certificate nobody signed; HTTP/2 or HTTP/1.1, as the client chooses.
    Tls,
}

impl Listener {
    /// A well-behaved one at a port of the kernel's choice on 127.0.0.1.
    #[must_use]
    pub fn anywhere() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    fn at(address: SocketAddr) -> Self {
        let (latency, speaks) = (Latency::None, Speaks::Http1);
        Self { address, latency, concurrency: None, stall: None, misbehaviour: None, speaks }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "latency" => self.latency = value.parse()?,
            "concurrency" => {
                let number =
                    value.parse().map_err(|_| format!("concurrency `{value}` is no positive number"))?;
                self.concurrency = Some(number);
            }
            "stall" => {
                let (every, span) = value.split_once('/').ok_or("write stall=EVERY/FOR")?;
                let (every, span) = (units::duration(every)?, units::duration(span)?);
                if span >= every {
                    return Err(format!("a stall of {value} leaves no time to answer"));
                }
                self.stall = Some((every, span));
            }
            "misbehave" => self.misbehaviour = Some(value.parse()?),
            "speaks" => {
                self.speaks = match value {
                    "h1" => Speaks::Http1,
                    "h2" => Speaks::Http2,
                    "tls" => Speaks::Tls,
                    _ => return Err(format!("`{value}` is not spoken here; there are h1, h2, tls")),
                }
            }
            _ => {
                return Err(format!(
                    "`{key}` is unknown; there are latency, concurrency, stall, misbehave, speaks"
                ));
            }
        }
        Ok(())
    }
}

impl FromStr for Listener {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, settings) = text.split_once('?').unwrap_or((text, ""));
        let address =
            address.parse().map_err(|_| format!("`{address}` is not an address like 127.0.0.1:9001"))?;
        let mut listener = Self::at(address);
        for setting in settings.split('&').filter(|setting| !setting.is_empty()) {
            let (key, value) = setting.split_once('=').ok_or_else(|| format!("`{setting}` has no value"))?;
            listener.set(key, value)?;
        }
        Ok(listener)
    }
}

/// A socket with that address, not listening yet.
pub(super) fn bind(address: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_an_address_and_settings() {
        let text = "127.0.0.1:9001?latency=fixed:5ms&concurrency=1&misbehave=drips&stall=10s/1s&speaks=tls";
        let listener: Listener = text.parse().unwrap();
        assert_eq!(listener.latency, Latency::Fixed(Duration::from_millis(5)));
        assert_eq!(listener.concurrency.map(NonZeroUsize::get), Some(1));
        assert_eq!(listener.misbehaviour, Some(Misbehaviour::Drips));
        assert_eq!(listener.stall, Some((Duration::from_secs(10), Duration::from_secs(1))));
        assert_eq!(listener.speaks, Speaks::Tls);
    }

    #[test]
    fn a_wrong_setting_is_refused() {
        for wrong in
            ["?latency=5ms", "?concurrency=0", "?stall=1s/1s", "?misbehave=bites", "?speaks=h3", "?x=1", "?x"]
        {
            assert!(format!("127.0.0.1:9001{wrong}").parse::<Listener>().is_err(), "{wrong}");
        }
        assert!("localhost".parse::<Listener>().is_err());
    }
}
