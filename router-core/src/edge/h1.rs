//! HTTP/1.0 and HTTP/1.1 clients.
//!
//! - [`serve`]: one connection from accept to close: head, proxy, head, proxy, …
//! - [`refuse_clear`]: one that should have been encrypted.
//! - [`head`]: waits for the next head, holding no buffer until its first byte is there, and reads it.
//! - [`client`]: what the proxy sees of this connection during one request.
//! - [`linger`]: closes so that the client can still read what it was told.

mod client;
pub(crate) mod head;
pub(super) mod linger;

use std::{net::IpAddr, rc::Rc, time::Duration};

use self::{
    client::H1Client,
    head::{NextHead, Wait},
};
use crate::{
    io::Transport,
    observe::counters::Closed,
    proxy::{self, After, Call, Papers, Request, Sender},
    route::{
        Fault, Moment,
        fault::RequestFlaw,
        logline::{Protocol, Tls},
    },
    worker::{
        Worker,
        buffers::{Buffer, LentDesk},
        sweep::Timer,
    },
};

/// One connection. `pending` are bytes that came behind the last head: a body, or the next request.
pub(crate) struct Connection<T> {
    pub(crate) io: T,
    pub(crate) pending: Option<Buffer>,
}

/// Who is at the other end, and how it got here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// `None`: a process of this machine, over a socket file.
    pub(crate) client: Option<IpAddr>,
    pub(crate) tls: Tls,
}

impl Peer {
    /// Whom a line about something unreadable names.
    pub(crate) const fn sender(&self, protocol: Protocol) -> Sender {
        Sender { client: self.client, tls: self.tls, protocol }
    }
}

/// How long a connection that was just used is expected to be used again. Only then is the memory for serving
/// requests given back, so that a busy connection does not pay for it each time and an idle one holds next to none.
const LULL: Duration = Duration::from_millis(100);

/// How long a new connection may take to begin its first request once a drain has begun.
pub(super) const COURTESY: Duration = Duration::from_secs(1);

/// Serves a connection until it is closed, and says why it is.
pub(crate) async fn serve<T: Transport>(
    worker: Rc<Worker>,
    mut connection: Connection<T>,
    peer: Peer,
) -> Closed {
    let timer = Timer::new(&worker.sweep);
    let mut patience = worker.options.keepalive_timeout;
    // Whoever has just connected means to send a request: it may do so even when a drain begins.
    let courtesy = worker.now() + COURTESY;
    loop {
        let until = worker.now() + patience;
        match head::wait(&worker, &mut connection, &timer, until, courtesy).await {
            Wait::Bytes => {}
            Wait::TimeUp => {
                connection.io.farewell();
                return Closed::Idle;
            }
            Wait::Closed => {
                connection.io.farewell();
                return connection.io.broken_by().unwrap_or_else(|| idle_end(&worker));
            }
        }
        match Box::pin(busy(&worker, &mut connection, &timer, &peer)).await {
            Busy::Lull => patience = worker.options.keepalive_timeout.saturating_sub(LULL),
            Busy::Close => {
                let closed = orderly_end(&worker);
                linger::close(&worker, &mut connection, &timer, linger::Patience::Brief).await;
                return closed;
            }
            Busy::End(closed) => return connection.io.broken_by().unwrap_or(closed),
        }
    }
}

/// Answers a client that speaks plain HTTP where TLS is spoken; what it sent so far is pending.
pub(crate) async fn refuse_clear<T: Transport>(worker: &Worker, mut connection: Connection<T>, peer: Peer) {
    let timer = Timer::new(&worker.sweep);
    let Some(text) = connection.pending.take() else { return };
    let fault = RequestFlaw::PlainOnTls.into();
    if flawed(worker, &mut connection, &timer, &peer, fault, &text).await == After::Close {
        linger::close(worker, &mut connection, &timer, linger::Patience::Brief).await;
    }
}

/// Why a connection ended that nothing was asked on.
pub(super) fn idle_end(worker: &Worker) -> Closed {
    if worker.is_draining() { Closed::DrainIdle } else { Closed::ClientLeft }
}

/// Why a connection ended whose client was told.
fn orderly_end(worker: &Worker) -> Closed {
    match worker.is_draining() {
        _ if worker.is_cut() => Closed::DrainCut,
        true => Closed::DrainAnswered,
        false => Closed::Answered,
    }
}

/// What requests that follow one another end with.
enum Busy {
    /// None came for a while.
    Lull,
    /// The connection is to be closed in order.
    Close,
    /// It is to be dropped.
    End(Closed),
}

/// Serves requests for as long as one follows the other.
async fn busy<T: Transport>(
    worker: &Worker,
    connection: &mut Connection<T>,
    timer: &Timer,
    peer: &Peer,
) -> Busy {
    let _in_progress = worker.in_progress();
    loop {
        let after = match head::next(worker, connection, timer).await {
            NextHead::Head(desk) => request(worker, connection, timer, peer, desk).await,
            NextHead::Flawed(fault, text) => flawed(worker, connection, timer, peer, fault, &text).await,
            NextHead::Closed => return Busy::End(Closed::ClientLeft),
        };
        match after {
            After::KeepAlive => {}
            After::Close => return Busy::Close,
            After::Cut if worker.is_cut() => return Busy::End(Closed::DrainCut),
            After::Cut => return Busy::End(Closed::Broken),
        }
        let until = worker.now() + LULL.min(worker.options.keepalive_timeout);
        match head::wait(worker, connection, timer, until, Moment::START).await {
            Wait::Bytes => {}
            Wait::TimeUp => return Busy::Lull,
            Wait::Closed => {
                connection.io.farewell();
                return Busy::End(idle_end(worker));
            }
        }
    }
}

async fn request<T: Transport>(
    worker: &Worker,
    connection: &mut Connection<T>,
    timer: &Timer,
    peer: &Peer,
    mut desk: LentDesk,
) -> After {
    let desk = desk.get();
    let Some(head) = &desk.head else { return After::Cut };
    let identity = connection.io.identity();
    let request = Request {
        bytes: &desk.text,
        fields: &desk.request_fields,
        head,
        arrival: head::arrival(&worker.options.trusted_proxies, peer, head, &desk.request_fields, &desk.text),
        misdirected: !connection.io.serves(head.host.as_str()),
        identity: identity.as_ref().map(|lines| lines.as_slice()),
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
    proxy::refuse(worker, timer, &mut client, peer.sender(Protocol::Http11), first_line, fault).await
}

#[cfg(test)]
mod tests {

    use tokio::net::{TcpListener, TcpStream};

    use crate::io::Socket;

    use super::*;
    use crate::{route::table::RouteTable, server::ServerOptions};

    #[tokio::test]
    async fn an_idle_connection_is_small() {
        let (table, _publisher) = RouteTable::new();
        let worker = Rc::new(Worker::alone(ServerOptions::default(), table.reader()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = listener.local_addr().unwrap();
        let io = Socket::Tcp(TcpStream::connect(client).await.unwrap());
        let mut connection = Connection { io, pending: None };
        let timer = Timer::new(&worker.sweep);
        let peer = Peer { client: Some(client.ip()), tls: Tls::Plain };
        let busy = size_of_val(&busy(&worker, &mut connection, &timer, &peer));
        let idle = size_of_val(&serve(Rc::clone(&worker), connection, peer));
        assert!(idle <= 512, "{idle} bytes idle");

        assert!(busy <= 2560, "{busy} bytes busy");
    }
}
