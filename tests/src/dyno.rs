//! A dyno the test plays by hand, and places where no dyno answers.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use crate::{PATIENCE, Wire};

/// A dyno the test plays by hand, on a port the kernel chose.
#[derive(Debug)]
pub struct Dyno {
    listener: TcpListener,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Dyno {
    /// Listens. The kernel takes connections; the test [accepts](Dyno::accept) them when it likes.
    pub fn listening() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port can be had");
        let address = listener.local_addr().expect("it is bound");
        listener.set_nonblocking(true).expect("it can be set");
        Self { listener, address }
    }

    /// The next connection the router makes.
    pub fn accept(&self) -> Wire {
        let start = Instant::now();
        loop {
            if let Ok((stream, _)) = self.listener.accept() {
                stream.set_nonblocking(false).expect("it can be set");
                return Wire::new(stream);
            }
            assert!(start.elapsed() < PATIENCE, "the router made no connection");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Fails if the router made a connection that was not accepted yet.
    pub fn nobody_else_came(&self) {
        assert!(self.listener.accept().is_err(), "the router made a connection");
    }
}

/// An address that stays taken and refuses connections for as long as this lives.
#[derive(Debug)]
pub struct Refusing {
    _bound: Socket,
    /// Where nobody listens.
    pub address: SocketAddr,
}

impl Refusing {
    /// Bound, but not listening.
    #[expect(clippy::new_without_default, reason = "it takes a port from the kernel")]
    pub fn new() -> Self {
        let (socket, address) = bound();
        Self { _bound: socket, address }
    }
}

/// An address where connects neither succeed nor fail: the queue of those to be accepted is full, for as long as this
/// lives.
#[derive(Debug)]
pub struct Full {
    _listening: Socket,
    _queued: Vec<TcpStream>,
    /// Where nobody accepts.
    pub address: SocketAddr,
}

impl Full {
    /// Listens, and fills its own queue.
    #[expect(clippy::new_without_default, reason = "it takes a port from the kernel")]
    pub fn new() -> Self {
        let (socket, address) = bound();
        socket.listen(0).expect("it can listen");
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        let queued: Vec<_> = std::iter::from_fn(connect).take(16).collect();
        assert!(queued.len() < 16, "the queue does not fill");
        Self { _listening: socket, _queued: queued, address }
    }
}

fn bound() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be had");
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).expect("a port can be had");
    let address = socket.local_addr().ok().and_then(|a| a.as_socket()).expect("it is bound");
    (socket, address)
}
