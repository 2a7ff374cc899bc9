//! A dyno's network: an interface of its own, one end of a cable whose other end is the machine's.
//!
//! The router reaches a dyno at its own address. The dyno reaches nobody who does not call first: no other dyno, no
//! service of the machine; and the world outside only where the runtime opened a way out ([`super::uplink`]). It has no
//! right to change that: the routes and the filter are in its namespace, its rights are not.
//!
//! - [`Machine`]: taken hold of before the namespace is left; [`Machine::connect`] lays the cable.

use std::{io, net::Ipv4Addr, os::fd::AsRawFd as _};

use serde::{Deserialize, Serialize};

use super::{
    netlink::{ACK, CREATE, EXCL, Message, Netlink},
    nft::{Expr, Hook, Table},
};

/// What the names of the cables' ends on the machine begin with.
pub(crate) const PREFIX: &str = "busbar";
/// The machine's address for its dynos, the same on every cable.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// Addresses that only mean something on one cable, such as a cloud's metadata service with its passwords.
pub(crate) const LINK_LOCAL: (Ipv4Addr, u8) = (Ipv4Addr::new(169, 254, 0, 0), 16);
/// Such services at other addresses: Azure's, Alibaba's, Oracle's.
pub(crate) const METADATA: [Ipv4Addr; 3] =
    [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
/// Those of them that are name servers, too: Google's, Amazon's, Azure's.
pub(crate) const RESOLVERS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(169, 254, 169, 254), Ipv4Addr::new(169, 254, 169, 253), Ipv4Addr::new(168, 63, 129, 16)];
/// Where a name server is asked.
pub(crate) const DOMAIN: u16 = 53;

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const UP: u32 = 1;
const INET: u8 = libc::AF_INET as u8;
const INET6: u16 = libc::AF_INET6 as u16;

/// A dyno's network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// The name of the machine's end.
    pub interface: String,
    /// The dyno's address.
    pub address: Ipv4Addr,
    /// The network of all dynos: address and length of the prefix.
    pub dynos: (Ipv4Addr, u8),
    /// Whether it may call others.
    pub outbound: bool,
}

/// The machine's side, from a process that leaves it.
#[derive(Debug)]
pub(crate) struct Machine(Netlink);

impl Machine {
    /// Takes hold of the network namespace that this process is in.
    pub(crate) fn here() -> io::Result<Self> {
        Ok(Self(Netlink::route()?))
    }

    /// Lays the cable to the namespace that this process is in now, and sets up both ends.
    pub(crate) fn connect(&self, spec: &NetworkSpec) -> io::Result<()> {
        self.lay_cable(&spec.interface)?;
        let index = self.index(&spec.interface)?;
        set_up(&self.0, index, spec.outbound)?;
        add_address(&self.0, index, GATEWAY)?;
        add_route(
            &self.0,
            index,
            &Route { to: Some(spec.address), from: Some(GATEWAY), ..Route::default() },
        )?;
        inside(spec)
    }

    fn lay_cable(&self, name: &str) -> io::Result<()> {
        let namespace = std::fs::File::open("/proc/thread-self/ns/net")?;
        let namespace = namespace.as_raw_fd().to_ne_bytes();
        let peer = |m: Message| m.fields(&link(0, 0)).with(3, b"eth0\0").with(28, &namespace);
        let message = Message::new(NEW_LINK, ACK | CREATE | EXCL)
            .fields(&link(0, 0))
            .with(3, format!("{name}\0").as_bytes())
            .nest(18, |m| m.with(1, b"veth").nest(2, |m| m.nest(1, peer)));
        self.0.ask(&message)
    }

    fn index(&self, name: &str) -> io::Result<u32> {
        self.0.index(name)
    }
}

/// Removes the machine's end of a cable, and with it the other one. One that is not there is removed already.
pub(crate) fn remove(interface: &str) -> io::Result<()> {
    let message =
        Message::new(DELETE_LINK, ACK).fields(&link(0, 0)).with(3, format!("{interface}\0").as_bytes());
    match Netlink::route()?.ask(&message) {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        done => done,
    }
}

/// The dyno's end, and what it may do with it.
fn inside(spec: &NetworkSpec) -> io::Result<()> {
    let here = Netlink::route()?;
    let index = here.index("eth0")?;
    // The loopback is the first interface of every namespace.
    here.ask(&Message::new(NEW_LINK, ACK).fields(&link(1, UP)))?;
    without_ipv6()?;
    set_up(&here, index, false)?;
    add_address(&here, index, spec.address)?;
    add_route(&here, index, &Route { to: Some(GATEWAY), ..Route::default() })?;
    if spec.outbound {
        add_route(&here, index, &Route { by: Some(GATEWAY), ..Route::default() })?;
    }
    filter(spec)
}

/// Answers may go to the machine, calls may not; nothing goes to other dynos, and to the world only what may go there: without
/// a route, a socket that is bound to the interface sends to any address.
fn filter(spec: &NetworkSpec) -> io::Result<()> {
    let (local, local_length) = LINK_LOCAL;
    let to_machine = Expr::For(local, local_length);
    let mut rules = vec![vec![Expr::ToInterface("lo\0", true), Expr::Accept]];
    if spec.outbound {
        rules.extend(RESOLVERS.map(|one| vec![Expr::For(one, 32), Expr::ToPort(DOMAIN), Expr::Accept]));
    }
    rules.push(vec![to_machine, Expr::Tcp(false), Expr::Drop]);
    rules.push(vec![to_machine, Expr::Tcp(true), Expr::Opens, Expr::Drop]);
    if spec.outbound {
        let (dynos, length) = spec.dynos;
        rules.push(vec![Expr::For(dynos, length), Expr::Drop]);
        rules.extend(METADATA.map(|one| vec![Expr::For(one, 32), Expr::Drop]));
    } else {
        rules.push(vec![to_machine, Expr::Accept]);
        rules.push(vec![Expr::Drop]);
    }
    let rules: Vec<&[Expr]> = rules.iter().map(Vec::as_slice).collect();
    Table::first(PREFIX).chain("filter", Hook::Output, 0, &rules).install()
}

/// Nobody filters IPv6, and without an address a socket can still say that it has one.
fn without_ipv6() -> io::Result<()> {
    match std::fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1") {
        // The machine has none.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// The fixed fields of a message about an interface.
fn link(index: u32, flags: u32) -> [u8; 16] {
    let mut fields = [0; 16];
    for (at, value) in [(4, index), (8, flags), (12, flags)] {
        if let Some(place) = fields.get_mut(at..at + 4) {
            place.copy_from_slice(&value.to_ne_bytes());
        }
    }
    fields
}

/// Takes one end of a cable into service, without IPv6, which would give it an address that nobody filters. Packets
/// must come from where they would be sent to; they are passed on only where that is said.
fn set_up(netlink: &Netlink, index: u32, passes_on: bool) -> io::Result<()> {
    const FORWARDING: u16 = 1;
    const RP_FILTER: u16 = 8;
    const NO_ADDRESS: [u8; 1] = [1];
    let inet = |m: Message| {
        m.with(FORWARDING, &u32::from(passes_on).to_ne_bytes()).with(RP_FILTER, &1u32.to_ne_bytes())
    };
    let has_ipv6 = std::path::Path::new("/proc/sys/net/ipv6/conf").exists();
    let inet6 = |m: Message| if has_ipv6 { m.nest(INET6, |m| m.with(8, &NO_ADDRESS)) } else { m };
    let settings = Message::new(NEW_LINK, ACK)
        .fields(&link(index, 0))
        .nest(26, |m| inet6(m.nest(u16::from(INET), |m| m.nest(1, inet))));
    netlink.ask(&settings)?;
    netlink.ask(&Message::new(NEW_LINK, ACK).fields(&link(index, UP)))
}

fn add_address(netlink: &Netlink, index: u32, address: Ipv4Addr) -> io::Result<()> {
    let [a, b, c, d] = index.to_ne_bytes();
    let message = Message::new(NEW_ADDRESS, ACK | CREATE | EXCL)
        .fields(&[INET, 32, 0, 0, a, b, c, d])
        .with(1, &address.octets())
        .with(2, &address.octets());
    netlink.ask(&message)
}

#[derive(Debug, Default)]
struct Route {
    /// One address; `None`: everything.
    to: Option<Ipv4Addr>,
    /// The next machine; `None`: it is at the other end.
    by: Option<Ipv4Addr>,
    /// The sender's address.
    from: Option<Ipv4Addr>,
}

fn add_route(netlink: &Netlink, index: u32, route: &Route) -> io::Result<()> {
    const MAIN: u8 = 254;
    const STATIC: u8 = 4;
    const LINK: u8 = 253;
    const UNICAST: u8 = 1;
    let length = if route.to.is_some() { 32 } else { 0 };
    let scope = if route.by.is_some() { 0 } else { LINK };
    let mut message = Message::new(NEW_ROUTE, ACK | CREATE | EXCL)
        .fields(&[INET, length, 0, 0, MAIN, STATIC, scope, UNICAST, 0, 0, 0, 0])
        .with(4, &index.to_ne_bytes());
    for (kind, address) in [(1, route.to), (5, route.by), (7, route.from)] {
        if let Some(address) = address {
            message.put(kind, &address.octets());
        }
    }
    netlink.ask(&message)
}
