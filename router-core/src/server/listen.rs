//! Sockets to accept from, one per worker, so that the kernel spreads connections and no worker waits for another.
//!
//! - [`Listener`]: bound to an address or a socket file, or brought along by the embedding program.
//! - [`ProxyProtocol`] (in [`crate::edge::proxy_protocol`]): who may say for whom it connects.
//! - [`BindError`]: why an address cannot be had.
//! - [`Door`]: one worker's share of a listener. [`socket_file`]: a socket file and its end.

pub mod socket_file;

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    path::Path,
    sync::Arc,
    task::{Context, Poll, ready},
};

use busbar_registry::Address;
use socket_file::SocketFile;
use socket2::{Domain, Protocol, Type};

use super::StartError;
#[cfg(feature = "h3")]
use super::quic::QuicDoor;
pub use crate::edge::proxy_protocol::ProxyProtocol;
use crate::{io::Socket, tls::Terminator};

/// How many connections may wait to be accepted.
pub(crate) const BACKLOG: u16 = 4096;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", reason(.source))]
pub struct BindError {
    /// The address asked for.
    pub address: Address,
    /// What the system said. For a socket file: `AddrInUse` when somebody listens there, `AlreadyExists` when it is
    /// something else than a socket.
    pub source: io::Error,
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there; stop it or choose another port".into(),
        io::ErrorKind::PermissionDenied => {
            "not permitted; ports below 1024 need root or CAP_NET_BIND_SERVICE".into()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".into(),
        io::ErrorKind::AlreadyExists => "there is a file that is no socket; remove it".into(),
        _ => error.to_string(),
    }
}

/// A socket to accept from, for any number of workers.
#[derive(Debug)]
pub struct Listener {
    address: Address,
    first: Bound,
    /// Each further worker gets a socket of its own, or (one brought along, a socket file) a handle to the same one.
    own_sockets: bool,
    file: Option<SocketFile>,
    proxy_protocol: Option<Arc<ProxyProtocol>>,
    tls: Option<Terminator>,
    h2c: bool,
    #[cfg(feature = "h3")]
    quic: Option<QuicDoor>,
}

#[derive(Debug)]
enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Listens on `address`; port 0 lets the system choose. Fails when anybody else listens there, another server
    /// of the same user included.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let failed = |source| BindError { address: address.into(), source };
        // Without SO_REUSEPORT first: with it, two servers would silently share the port.
        drop(socket(address, false).map_err(failed)?);
        let first = socket(address, true).map_err(failed)?;
        let address = first.local_addr().map_err(failed)?.into();
        Ok(Self {
            address,
            first: Bound::Tcp(first),
            own_sockets: true,
            file: None,
            proxy_protocol: None,
            tls: None,
            h2c: false,
            #[cfg(feature = "h3")]
            quic: None,
        })
    }

    /// Listens at the socket file `path`, which gets the permissions `mode`. The file that a dead process has left is
    /// replaced; that of a live one is not. It is removed when the server ends.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind_unix(path: &Path, mode: u32) -> Result<Self, BindError> {
        let address = Address::Unix(path.into());
        match socket_file::listen(path, mode) {
            Ok((first, file)) => Ok(Self {
                address,
                first: Bound::Unix(first),
                own_sockets: false,
                file: Some(file),
                proxy_protocol: None,
                tls: None,
                h2c: false,
                #[cfg(feature = "h3")]
                quic: None,
            }),
            Err(source) => Err(BindError { address, source }),
        }
    }

    /// Accepts from a socket that the embedding program has made.
    ///
    /// # Errors
    /// When it has no local address or cannot be made non-blocking.
    pub fn from_std(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.into();
        Ok(Self {
            address,
            first: Bound::Tcp(listener),
            own_sockets: false,
            file: None,
            proxy_protocol: None,
            tls: None,
            h2c: false,
            #[cfg(feature = "h3")]
            quic: None,
        })
    }

    /// Each connection must begin with a PROXY header, which says for whom it was made.
    #[must_use]
    pub fn with_proxy_protocol(mut self, rule: ProxyProtocol) -> Self {
        self.proxy_protocol = Some(Arc::new(rule));
        self
    }

    /// Its connections speak TLS. A PROXY header comes before the handshake.
    #[must_use]
    pub fn with_tls(mut self, terminator: Terminator) -> Self {
        self.tls = Some(terminator);
        self
    }

    /// Its connections, without TLS, may begin with HTTP/2 as well (RFC 9113 §3.3, "prior knowledge").
    #[must_use]
    pub const fn with_h2c(mut self) -> Self {
        self.h2c = true;
        self
    }

    /// HTTP/3 is spoken at the same address and port over UDP, too, and the other clients are told so (`Alt-Svc`,
    /// RFC 7838). Experimental. It needs TLS, which must have been asked for before.
    ///
    /// # Errors
    /// When the UDP port cannot be had, or there is no TLS or no port.
    #[cfg(feature = "h3")]
    pub fn with_h3(mut self) -> Result<Self, BindError> {
        let failed = |source| BindError { address: self.address.clone(), source };
        let (Some(address), Some(tls)) = (self.address.tcp(), self.tls.clone()) else {
            return Err(failed(io::Error::other("HTTP/3 needs TLS and a port; ask for them first")));
        };
        self.quic = Some(QuicDoor::bind(address, tls).map_err(failed)?);
        Ok(self)
    }

    /// Where it listens, with the port the system chose.
    pub const fn address(&self) -> &Address {
        &self.address
    }

    fn another(&self) -> io::Result<Bound> {
        Ok(match (&self.first, &self.address) {
            (Bound::Tcp(_), Address::Tcp(address)) if self.own_sockets => Bound::Tcp(socket(*address, true)?),
            (Bound::Tcp(first), _) => Bound::Tcp(first.try_clone()?),
            (Bound::Unix(first), _) => Bound::Unix(first.try_clone()?),
        })
    }
}

fn socket(address: SocketAddr, share_port: bool) -> io::Result<TcpListener> {
    let socket =
        socket2::Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share_port)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG.into())?;
    Ok(socket.into())
}

/// One worker's share of a listener, not yet known to its reactor.
#[derive(Debug)]
pub(crate) struct Door {
    bound: Bound,
    proxy_protocol: Option<Arc<ProxyProtocol>>,
    tls: Option<Terminator>,
    h2c: bool,
    #[cfg(feature = "h3")]
    pub(super) quic: Option<QuicDoor>,
}

/// One worker's share of a listener.
pub(crate) struct OpenDoor {
    socket: Accepting,
    pub(crate) proxy_protocol: Option<Arc<ProxyProtocol>>,
    pub(crate) tls: Option<Terminator>,
    pub(crate) h2c: bool,
}

enum Accepting {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Door {
    /// Makes it known to the reactor that is entered.
    pub(crate) fn open(self) -> io::Result<OpenDoor> {
        let socket = match self.bound {
            Bound::Tcp(socket) => Accepting::Tcp(tokio::net::TcpListener::from_std(socket)?),
            Bound::Unix(socket) => Accepting::Unix(tokio::net::UnixListener::from_std(socket)?),
        };
        Ok(OpenDoor { socket, proxy_protocol: self.proxy_protocol, tls: self.tls, h2c: self.h2c })
    }
}

impl OpenDoor {
    /// The next connection, and who it is from; nobody who has an address, over a socket file.
    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, Option<IpAddr>)>> {
        Poll::Ready(match &self.socket {
            Accepting::Tcp(socket) => ready!(socket.poll_accept(cx)).map(|(stream, from)| {
                // Only a hint; a connection without it is merely slower.
                drop(stream.set_nodelay(true));
                (Socket::Tcp(stream), Some(from.ip()))
            }),
            Accepting::Unix(socket) => {
                ready!(socket.poll_accept(cx)).map(|(stream, _)| (Socket::Unix(stream), None))
            }
        })
    }
}

/// What a server is given of its listeners.
pub(crate) struct Doors {
    /// What `Alt-Svc` says to clients that speak TLS: the first port where QUIC is spoken.
    pub(crate) alternative: Option<Arc<[u8]>>,
    /// For each worker one of every listener.
    pub(crate) per_worker: Vec<Vec<Door>>,
    /// Removed when they are dropped.
    pub(crate) files: Vec<SocketFile>,
}

#[cfg(feature = "h3")]
fn alternative(listeners: &[Listener]) -> Option<Arc<[u8]>> {
    let quic = listeners.iter().find(|listener| listener.quic.is_some())?;
    let port = quic.address.tcp()?.port();
    Some(format!("h3=\":{port}\"; ma=86400").into_bytes().into())
}

#[cfg(not(feature = "h3"))]
fn alternative(_: &[Listener]) -> Option<Arc<[u8]>> {
    None
}

/// For each of `workers` one socket of every listener.
pub(crate) fn per_worker(listeners: Vec<Listener>, workers: usize) -> Result<Doors, StartError> {
    let mut all = Doors {
        alternative: alternative(&listeners),
        per_worker: (0..workers).map(|_| Vec::new()).collect(),
        files: Vec::new(),
    };
    for listener in listeners {
        let failed = |source| StartError::Listener { address: listener.address.clone(), source };
        for doors in all.per_worker.iter_mut().skip(1) {
            let bound = listener.another().map_err(failed)?;
            doors.push(Door {
                bound,
                proxy_protocol: listener.proxy_protocol.clone(),
                tls: listener.tls.clone(),
                h2c: listener.h2c,
                #[cfg(feature = "h3")]
                quic: None,
            });
        }
        if let Some(doors) = all.per_worker.first_mut() {
            doors.push(Door {
                bound: listener.first,
                proxy_protocol: listener.proxy_protocol,
                tls: listener.tls,
                h2c: listener.h2c,
                #[cfg(feature = "h3")]
                quic: listener.quic,
            });
        }
        all.files.extend(listener.file);
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
        let refused = Listener::bind(first.address().tcp().unwrap()).unwrap_err();
        assert_eq!(refused.source.kind(), io::ErrorKind::AddrInUse);
        assert!(refused.to_string().contains("another program listens there"), "{refused}");
    }

    #[test]
    fn each_worker_gets_a_socket_of_the_same_address() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listeners = vec![Listener::bind(any).unwrap(), Listener::bind(any).unwrap()];
        let addresses: Vec<_> = listeners.iter().map(|listener| listener.address().clone()).collect();
        for doors in per_worker(listeners, 3).unwrap().per_worker {
            let here = |door: &Door| match &door.bound {
                Bound::Tcp(socket) => Address::Tcp(socket.local_addr().unwrap()),
                Bound::Unix(_) => unreachable!("two ports were bound"),
            };
            assert_eq!(doors.iter().map(here).collect::<Vec<_>>(), addresses);
        }
    }
}
