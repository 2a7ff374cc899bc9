//! The narrow seam between the proxy and the sockets.
//!
//! - [`Transport`]: one connection: wait without a buffer, receive into a lent one, send from several, close.
//! - [`Socket`]: the kernel's: TCP or a socket file, whichever side it is on.
//! - [`stream`]: any of them under the names of tokio's traits, for libraries.
//!
//! `proxy/` knows only this, so other backends (TLS: [`crate::tls::session`]; io_uring, memory) stand beside TCP without
//! touching it.

pub(crate) mod stream;

use std::{
    io::{self, IoSlice},
    net::{IpAddr, Shutdown},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

use crate::observe::counters::Closed;

/// One connection, as the proxy sees it. All calls are cancel safe: `Pending` means that nothing happened.
pub(crate) trait Transport: 'static {
    /// Ready when [`Transport::poll_recv`] would not wait: bytes, end of stream or an error are there.
    /// No buffer is held meanwhile, so an idle connection costs none.
    ///
    /// # Errors
    /// Those of the socket.
    fn poll_recv_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Receives into `buf`; 0 is the end of the stream.
    ///
    /// # Errors
    /// Those of the socket.
    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Sends some bytes of `slices`, in order, and says how many.
    ///
    /// # Errors
    /// Those of the socket.
    fn poll_send(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;

    /// Tells the other side that nothing more comes; receiving goes on.
    ///
    /// # Errors
    /// Those of the socket.
    fn poll_close_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ready when nothing of what was taken by [`Transport::poll_send`] is held back any more.
    ///
    /// # Errors
    /// Those of the socket.
    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Says goodbye in an orderly end, where that means something and as far as it goes without waiting.
    fn farewell(&mut self) {}

    /// Why it is broken, if that is not the socket's doing.
    fn broken_by(&self) -> Option<Closed> {
        None
    }

    /// Header lines about the client that dynos get, if it was asked who it is.
    fn identity(&self) -> Option<Rc<Vec<u8>>> {
        None
    }

    /// Whether a request for this host may come over this connection.
    fn serves(&self, _host: &str) -> bool {
        true
    }
}

/// A connection of the kernel's. One type for both sides and both kinds, so that the proxy is compiled once.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The same for either kind.
macro_rules! either {
    ($socket:expr, $stream:ident => $deed:expr) => {
        match $socket {
            Socket::Tcp($stream) => $deed,
            Socket::Unix($stream) => $deed,
        }
    };
}

impl Socket {
    /// Its address here. `None`: it is a socket file.
    pub(crate) fn local_ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok().map(|address| address.ip()),
            Self::Unix(_) => None,
        }
    }
}

impl Transport for Socket {
    fn poll_recv_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_read_ready(cx))
    }

    /// A short read tells tokio that the socket is empty, so the next call waits without another syscall.
    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        either!(self, stream => Pin::new(stream).poll_read(cx, &mut buf)).map_ok(|()| buf.filled().len())
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        either!(self, stream => match slices {
            [one] => Pin::new(stream).poll_write(cx, one),
            several => Pin::new(stream).poll_write_vectored(cx, several),
        })
    }

    fn poll_close_send(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(either!(self, stream => socket2::SockRef::from(&*stream).shutdown(Shutdown::Write)))
    }
}

/// Where it is moved around a lot, a pointer is cheaper to move.
impl<T: Transport> Transport for Box<T> {
    fn poll_recv_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_recv_ready(cx)
    }
    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        (**self).poll_recv(cx, buf)
    }
    fn poll_send(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        (**self).poll_send(cx, slices)
    }
    fn poll_close_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_close_send(cx)
    }
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_flush(cx)
    }
    fn farewell(&mut self) {
        (**self).farewell();
    }
    fn broken_by(&self) -> Option<Closed> {
        (**self).broken_by()
    }
    fn identity(&self) -> Option<Rc<Vec<u8>>> {
        (**self).identity()
    }
    fn serves(&self, host: &str) -> bool {
        (**self).serves(host)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A connection whose other end neither takes nor says anything.
    pub(crate) struct Silent<T>(pub(crate) T);

    impl<T: 'static> Transport for Silent<T> {
        fn poll_recv_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
        fn poll_recv(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }
        fn poll_send(&mut self, _: &mut Context<'_>, _: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }
        fn poll_close_send(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }
}
