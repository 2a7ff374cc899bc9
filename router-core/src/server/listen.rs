//! Sockets to accept from, one per worker, so that the kernel spreads connections and no worker waits for another.
//!
//! - [`Listener`]: bound to an address, or brought along by the embedding program.
//! - [`BindError`]: why an address cannot be had.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::StartError;

/// How many connections may wait to be accepted.
pub(crate) const BACKLOG: u16 = 4096;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", reason(.source))]
pub struct BindError {
    /// The address asked for.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there; stop it or choose another port".into(),
        io::ErrorKind::PermissionDenied => {
            "not permitted; ports below 1024 need root or CAP_NET_BIND_SERVICE".into()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".into(),
        _ => error.to_string(),
    }
}

/// A socket to accept from, for any number of workers.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    first: TcpListener,
    /// Each further worker gets a socket of its own, or (one brought along) a handle to the same one.
    own_sockets: bool,
}

impl Listener {
    /// Listens on `address`; port 0 lets the system choose. Fails when anybody else listens there, another server
    /// of the same user included.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let failed = |source| BindError { address, source };
        // Without SO_REUSEPORT first: with it, two servers would silently share the port.
        drop(socket(address, false).map_err(failed)?);
        let first = socket(address, true).map_err(failed)?;
        let address = first.local_addr().map_err(failed)?;
        Ok(Self { address, first, own_sockets: true })
    }

    /// Accepts from a socket that the embedding program has made.
    ///
    /// # Errors
    /// When it has no local address or cannot be made non-blocking.
    pub fn from_std(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { address: listener.local_addr()?, first: listener, own_sockets: false })
    }

    /// Where it listens, with the port the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn another(&self) -> io::Result<TcpListener> {
        if self.own_sockets { socket(self.address, true) } else { self.first.try_clone() }
    }
}

fn socket(address: SocketAddr, share_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share_port)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG.into())?;
    Ok(socket.into())
}

/// For each of `workers` one socket of every listener.
pub(crate) fn per_worker(
    listeners: Vec<Listener>,
    workers: usize,
) -> Result<Vec<Vec<TcpListener>>, StartError> {
    let mut all: Vec<Vec<TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
    for listener in listeners {
        let address = listener.address;
        let failed = |source| StartError::Listener { address, source };
        for sockets in all.iter_mut().skip(1) {
            sockets.push(listener.another().map_err(failed)?);
        }
        if let Some(sockets) = all.first_mut() {
            sockets.push(listener.first);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_listened_on_is_refused() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let first = Listener::bind(any).unwrap();
        let refused = Listener::bind(first.address()).unwrap_err();
        assert_eq!(refused.source.kind(), io::ErrorKind::AddrInUse);
        assert!(refused.to_string().contains("another program listens there"), "{refused}");
    }

    #[test]
    fn each_worker_gets_a_socket_of_the_same_address() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listeners = vec![Listener::bind(any).unwrap(), Listener::bind(any).unwrap()];
        let addresses: Vec<_> = listeners.iter().map(Listener::address).collect();
        for sockets in per_worker(listeners, 3).unwrap() {
            let its: Vec<_> = sockets.iter().map(|s| s.local_addr().unwrap()).collect();
            assert_eq!(its, addresses);
        }
    }
}
