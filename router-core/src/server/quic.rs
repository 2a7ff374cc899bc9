//! QUIC beside a TLS listener: the same address over UDP, for HTTP/3. Experimental.
//!
//! - [`QuicDoor`]: a bound socket and how it is spoken to. One worker has it: a connection that moves to another address
//!   must not meet another worker.
//! - [`accept`]: its loop: address validation, handshake, limits.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use quinn::{Connecting, Endpoint, EndpointConfig, Incoming, ServerConfig, TokioRuntime, TransportConfig};
use tokio::sync::Semaphore;

use super::{
    accept::{Open, awake},
    clients::Clients,
    options::ServerOptions,
};
use crate::{
    edge::h3::{self, Shared},
    observe::counters::Closed,
    tls::Terminator,
    worker::Worker,
};

/// Requests at once on one connection (RFC 9114 §6.1 asks for 100).
const STREAMS: u32 = 100;
/// One for control and two for header compression (RFC 9114 §6.2, RFC 9204 §4.2), and some of kinds that are not known.
const CONTROL_STREAMS: u32 = 8;
/// What a stream may send ahead of its dyno.
const STREAM_WINDOW: u32 = 256 * 1024;
/// What a connection may send ahead of all dynos, and what may wait to be sent to it.
const WINDOW: u32 = 1024 * 1024;
/// So many handshakes with addresses that nobody has proven may be under way; then clients prove theirs first.
const UNPROVEN: usize = 64;

/// A bound socket and how it is spoken to.
#[derive(Debug)]
pub(crate) struct QuicDoor {
    socket: UdpSocket,
    terminator: Terminator,
}

impl QuicDoor {
    /// Binds the UDP port of a TCP listener.
    pub(crate) fn bind(address: SocketAddr, terminator: Terminator) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, terminator })
    }
}

fn config(terminator: &Terminator, options: &ServerOptions) -> io::Result<ServerConfig> {
    let crypto = terminator.quic().map_err(io::Error::other)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    let mut transport = TransportConfig::default();
    let idle = options.keepalive_timeout.max(Duration::from_secs(1));
    transport
        .max_concurrent_bidi_streams(STREAMS.into())
        .max_concurrent_uni_streams(CONTROL_STREAMS.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(WINDOW.into())
        .send_window(WINDOW.into())
        .max_idle_timeout(idle.try_into().ok())
        // A request may be silent for longer than that; who is idle is closed by the edge.
        .keep_alive_interval(Some(idle / 3))
        .datagram_receive_buffer_size(None);
    config
        .transport_config(Arc::new(transport))
        .max_incoming(options.handshakes_per_worker)
        .incoming_buffer_size(64 * 1024)
        .incoming_buffer_size_total(4 * 1024 * 1024);
    Ok(config)
}

/// Accepts until the drain begins; then goes on for whoever is connected.
pub(crate) async fn accept(
    worker: Rc<Worker>,
    door: QuicDoor,
    places: Arc<Semaphore>,
    clients: Option<Arc<Clients>>,
) {
    let QuicDoor { socket, terminator } = door;
    let endpoint = config(&terminator, &worker.options).and_then(|config| {
        Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime))
    });
    let endpoint = match endpoint {
        Ok(endpoint) => endpoint,
        Err(error) => {
            tracing::error!(%error, "HTTP/3 is not served; HTTP over TCP is");
            return;
        }
    };
    let mut drain = worker.drain.clone();
    let mut drain = pin!(drain.begun());
    loop {
        let incoming = tokio::select! {
            biased;
            _ = &mut drain => break,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { break };
        greet(&worker, &terminator, incoming, &places, clients.as_ref());
    }
    endpoint.set_server_config(None);
    endpoint.wait_idle().await;
}

/// Begins a handshake, if there is room and the client may have one more connection.
fn greet(
    worker: &Rc<Worker>,
    terminator: &Terminator,
    incoming: Incoming,
    places: &Arc<Semaphore>,
    clients: Option<&Arc<Clients>>,
) {
    let proven = incoming.remote_address_validated();
    let under_way = worker.options.handshakes_per_worker.saturating_sub(worker.handshakes.free());
    if !proven && under_way >= UNPROVEN {
        drop(incoming.retry()); // it may, because it has not proven anything
        return;
    }
    let Ok(place) = Arc::clone(places).try_acquire_owned() else { return incoming.refuse() };
    let mut open = Open::new(worker, place);
    if let Some(clients) = clients {
        open.client = clients.enter(incoming.remote_address().ip().to_canonical());
        if open.client.is_none() {
            incoming.refuse();
            return open.ends(Closed::ClientLimit);
        }
    }
    match incoming.accept() {
        Ok(connecting) => {
            tokio::task::spawn_local(serve(open, connecting, terminator.clone()));
        }
        Err(_) => open.ends(Closed::TlsMalformed),
    }
}

/// The handshake, then the connection.
async fn serve(open: Open, mut connecting: Connecting, terminator: Terminator) {
    let worker = Rc::clone(&open.worker);
    let limit = worker.options.handshake_timeout;
    let shaken = async {
        // The semaphore is never closed.
        let _place = worker.handshakes.take().await;
        let data = connecting.handshake_data().await?;
        let data = data.downcast::<quinn::crypto::rustls::HandshakeData>().ok();
        let name = data.and_then(|data| data.server_name).map(String::into_boxed_str);
        Ok::<_, quinn::ConnectionError>((connecting.await?, name))
    };
    let (quic, name) = match tokio::time::timeout(limit, shaken).await {
        Ok(Ok(shaken)) => shaken,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a QUIC handshake failed");
            return open.ends(Closed::TlsOther);
        }
        Err(_) => return open.ends(Closed::TlsTimeout),
    };
    worker.counters.tls_handshakes.add(1);
    let shared = Shared::new(&worker, quic, terminator.store(), name);
    let closed = awake(&worker, pin!(h3::serve(shared))).await;
    open.ends(closed);
}
