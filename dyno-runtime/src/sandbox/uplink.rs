//! The way from the dynos to the world: the machine passes on what they send, under its own address.
//!
//! One table of the packet filter per runtime, and the leave to pass packets on, on the interface of the default route
//! only. Through it a dyno reaches the world but neither the machine itself, nor another dyno, nor link-local addresses
//! (a cloud's metadata); nobody reaches a dyno who was not called by it.

use std::{fs, io, net::Ipv4Addr};

use super::{
    network::{DOMAIN, LINK_LOCAL, METADATA, PREFIX, RESOLVERS},
    nft::{Expr, Hook, Table},
};

/// The way out, until this is dropped.
#[derive(Debug)]
pub(crate) struct Uplink {
    table: String,
    /// By which interface packets leave.
    pub(crate) interface: String,
}

impl Uplink {
    /// Opens it for the dynos of this instance.
    ///
    /// # Errors
    /// There is no default route, no packet filter, or no right to change them.
    pub(crate) fn open(instance: &str, dynos: (Ipv4Addr, u8)) -> io::Result<Self> {
        let routes = fs::read_to_string("/proc/net/route")?;
        let none = || io::Error::other("this machine has no default route");
        let interface = default_route(&routes).ok_or_else(none)?.to_owned();
        let table = format!("{PREFIX}-{instance}");
        rules(&table, dynos).install()?;
        let open = Self { table, interface };
        pass_on(&open.interface)?;
        Ok(open)
    }

    /// Whether it could be opened, and by which interface; nothing is changed.
    ///
    /// # Errors
    /// Those of [`Uplink::open`].
    pub(crate) fn probe() -> io::Result<String> {
        let routes = fs::read_to_string("/proc/net/route")?;
        let none = || io::Error::other("this machine has no default route");
        let interface = default_route(&routes).ok_or_else(none)?.to_owned();
        let table = format!("{PREFIX}-doctor-{}", std::process::id());
        // Of a network that nobody has, so that it does nothing while it is there.
        rules(&table, (Ipv4Addr::new(192, 0, 2, 255), 32)).install()?;
        Table::removal(&table).install()?;
        Ok(interface)
    }
}

impl Drop for Uplink {
    fn drop(&mut self) {
        let _gone_already = Table::removal(&self.table).install();
    }
}

fn pass_on(interface: &str) -> io::Result<()> {
    let file = format!("/proc/sys/net/ipv4/conf/{interface}/forwarding");
    if fs::read_to_string(&file)?.trim() == "1" {
        return Ok(());
    }
    tracing::info!(
        interface,
        "packets that come in by this interface are passed on to dynos that asked for them"
    );
    fs::write(&file, "1")
}

fn rules(table: &str, (dynos, length): (Ipv4Addr, u8)) -> Table {
    let (from, to) = (Expr::FromInterface(PREFIX, true), Expr::ToInterface(PREFIX, true));
    let world = Expr::ToInterface(PREFIX, false);
    let (local, local_length) = LINK_LOCAL;
    let itself: [&[Expr]; 2] =
        [&[from, Expr::Tcp(false), Expr::Drop], &[from, Expr::Tcp(true), Expr::Opens, Expr::Drop]];
    // Also to those of another runtime, which may be in another network.
    let mut through = vec![vec![from, to, Expr::Drop], vec![from, Expr::For(dynos, length), Expr::Drop]];
    through.extend(RESOLVERS.map(|one| vec![from, Expr::For(one, 32), Expr::ToPort(DOMAIN), Expr::Accept]));
    through.push(vec![from, Expr::For(local, local_length), Expr::Drop]);
    through.extend(METADATA.map(|one| vec![from, Expr::For(one, 32), Expr::Drop]));
    through.push(vec![from, Expr::Accept]);
    through.push(vec![to, Expr::Answers, Expr::Accept]);
    through.push(vec![to, Expr::Drop]);
    let through: Vec<&[Expr]> = through.iter().map(Vec::as_slice).collect();
    Table::new(table)
        .chain("filter", Hook::Input, 0, &itself)
        .chain("filter", Hook::Forward, 0, &through)
        .chain("nat", Hook::Leave, 100, &[&[Expr::From(dynos, length), world, Expr::Masquerade]])
}

/// The interface of the default route, in the text of `/proc/net/route`.
fn default_route(routes: &str) -> Option<&str> {
    routes.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let interface = fields.next()?;
        (fields.next()? == "00000000").then_some(interface)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_is_found_by_its_destination() {
        let text = "Iface\tDestination\tGateway\nlo\t0000007F\t0\neth7\t00000000\t010200C0\n";
        assert_eq!(default_route(text), Some("eth7"));
        assert_eq!(default_route("Iface\tDestination\n"), None);
    }
}
