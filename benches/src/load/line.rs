//! How a client is connected: TCP, with or without TLS.

use std::{
    cell::Cell,
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    Plan,
    plan::{Protocol, Session},
    tally::Mishap,
};
use crate::tls;

/// Makes connections, and counts them.
#[derive(Clone)]
pub(super) struct Dialer(Rc<Inner>);

struct Inner {
    address: SocketAddr,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    receive_buffer: Option<u32>,
    made: Cell<u64>,
}

impl Dialer {
    pub(super) fn new(plan: &Plan) -> io::Result<Self> {
        let protocol = if matches!(plan.protocol, Protocol::Http2 { .. }) { "h2" } else { "http/1.1" };
        let tls = match plan.tls {
            None => None,
            Some(session) => {
                let config = tls::client(protocol, session == Session::Resumed).map_err(io::Error::other)?;
                let host = plan.request.host.split(':').next().unwrap_or_default().to_owned();
                let name = ServerName::try_from(host).map_err(io::Error::other)?;
                Some((TlsConnector::from(config), name))
            }
        };
        // A slow reader must not have its answer already in the kernel.
        let receive_buffer = plan.slow.read.map(|_| 4096);
        Ok(Self(Rc::new(Inner { address: plan.address, tls, receive_buffer, made: Cell::new(0) })))
    }

    /// How many connections were made since this was last asked.
    pub(super) fn take_count(&self) -> u64 {
        self.0.made.take()
    }

    pub(super) async fn dial(&self) -> Result<Line, Mishap> {
        let stream = self.connect().await.map_err(|_| Mishap::Connect)?;
        self.0.made.set(self.0.made.get() + 1);
        let Some((connector, name)) = &self.0.tls else { return Ok(Line::Plain(stream)) };
        let handshake = connector.connect(name.clone(), stream).await;
        handshake.map(|stream| Line::Tls(Box::new(stream))).map_err(|_| Mishap::Tls)
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let socket = if self.0.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(bytes) = self.0.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let stream = socket.connect(self.0.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// A connection.
pub(super) enum Line {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Line {
    /// Closes with a reset, so that a generator of many short connections does not run out of ports in TIME_WAIT.
    pub(super) fn abort(self) {
        let tcp = match &self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        };
        let _best_effort = socket2::SockRef::from(tcp).set_linger(Some(std::time::Duration::ZERO));
    }
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buf),
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
