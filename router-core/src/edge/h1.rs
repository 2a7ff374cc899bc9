//! HTTP/1.0 and HTTP/1.1 clients.
//!
//! - [`serve`]: one connection from accept to close: head, proxy, head, proxy, …
//! - [`head`]: reads the next head, holding no buffer until its first byte is there.
//! - [`client`]: what the proxy sees of this connection during one request.
//! - [`linger`]: closes so that the client can still read what it was told.

mod client;
mod head;
mod linger;

use std::{net::SocketAddr, rc::Rc};

use self::{
    client::H1Client,
    head::{Incoming, NextHead},
};
use crate::{
    io::Transport,
    proxy::{self, After, Call, Papers, Request},
    route::{Fault, forward::Arrival},
    worker::{Worker, buffers::Buffer, sweep::Timer},
};

/// One connection. `pending` are bytes that came behind the last head: a body, or the next request.
pub(crate) struct Connection<T> {
    io: T,
    pending: Option<Buffer>,
}

/// Who is at the other end, and how it got here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) client: SocketAddr,
    pub(crate) tls: bool,
}

/// Serves a connection until it is closed.
pub(crate) async fn serve<T: Transport>(worker: Rc<Worker>, io: T, peer: Peer) {
    let mut connection = Connection { io, pending: None };
    let timer = Timer::new(&worker.sweep);
    loop {
        let after = match head::next(&worker, &mut connection, &timer).await {
            NextHead::Head(incoming) => request(&worker, &mut connection, &timer, &peer, incoming).await,
            NextHead::Flawed(fault, text) => {
                flawed(&worker, &mut connection, &timer, &peer, fault, &text).await
            }
            NextHead::Closed => return,
        };
        match after {
            After::KeepAlive => {}
            After::Close => return linger::close(&worker, &mut connection, &timer).await,
            After::Cut => return,
        }
    }
}

async fn request<T: Transport>(
    worker: &Worker,
    connection: &mut Connection<T>,
    timer: &Timer,
    peer: &Peer,
    mut incoming: Incoming,
) -> After {
    let Incoming { text, desk, head } = &mut incoming;
    let desk = desk.get();
    let request = Request {
        bytes: text.filled(),
        fields: &desk.request_fields,
        head,
        arrival: Arrival {
            client: peer.client.ip(),
            tls: peer.tls,
            port: head.host.port().unwrap_or(if peer.tls { 443 } else { 80 }),
        },
        received: worker.now(),
    };
    let papers = Papers {
        to_dyno: &mut desk.to_dyno,
        forwarded_for: &mut desk.forwarded_for,
        via: &mut desk.via,
        response_fields: &mut desk.response_fields,
    };
    let mut client = H1Client::new(worker, connection, &request, &mut desk.to_client);
    proxy::serve(Call { worker, timer, request, client: &mut client, papers }).await
}

async fn flawed<T: Transport>(
    worker: &Worker,
    connection: &mut Connection<T>,
    timer: &Timer,
    peer: &Peer,
    fault: Fault,
    text: &Buffer,
) -> After {
    let mut desk = worker.buffers.desk();
    let mut client = H1Client::without_request(worker, connection, &mut desk.get().to_client);
    let first_line = text.filled().split(|b| matches!(b, b'\r' | b'\n')).next().unwrap_or_default();
    proxy::refuse(worker, timer, &mut client, peer.client.ip(), first_line, fault).await
}
