//! One connection of an origin, from accept to close.

use std::{future::Future, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::{
    Counts, House, Misbehaviour, Speaks, answers::Answer, answers::Answers, dyno::Dyno, http2, websocket,
};
use crate::wire::{
    NotHttp, Reader,
    head::{Request, Target},
    read_with,
};

/// Between two bytes of a dripping answer.
const DRIP: Duration = Duration::from_millis(100);

/// What is read and written.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + 'static {
    /// Makes closing it a reset.
    fn reset_on_close(&self);
}

impl Stream for TcpStream {
    fn reset_on_close(&self) {
        let _best_effort = socket2::SockRef::from(self).set_linger(Some(Duration::ZERO));
    }
}

impl Stream for tokio_rustls::server::TlsStream<TcpStream> {
    fn reset_on_close(&self) {
        self.get_ref().0.reset_on_close();
    }
}

/// Accepts for ever.
pub(super) async fn accept(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    dyno: Rc<Dyno>,
    house: Rc<House>,
) {
    let tls = tls.map(TlsAcceptor::from);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            house.alarm.after(Duration::from_millis(10)).await; // out of descriptors: others will close
            continue;
        };
        Counts::bump(&house.counts.connections, 1);
        let _best_effort = stream.set_nodelay(true);
        let (dyno, house) = (Rc::clone(&dyno), Rc::clone(&house));
        match (&tls, dyno.speaks()) {
            (Some(tls), _) => {
                let handshake = tls.accept(stream);
                tokio::task::spawn_local(async move {
                    let Ok(stream) = handshake.await else { return };
                    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    if is_http2 {
                        http2::serve(stream, dyno, house).await;
                    } else {
                        serve(stream, &dyno, &house).await;
                    }
                });
            }
            (None, Speaks::Http2) => spawn(http2::serve(stream, dyno, house)),
            (None, _) => spawn(async move { serve(stream, &dyno, &house).await }),
        }
    }
}

fn spawn(serving: impl Future<Output = ()> + 'static) {
    tokio::task::spawn_local(serving);
}

/// Answers requests until there are no more, or one does not deserve another.
async fn serve<S: Stream>(mut stream: S, dyno: &Dyno, house: &House) {
    let mut inbox = Inbox { reader: Reader::new(), left: Vec::new() };
    while let Some(request) = inbox.next(&mut stream, house).await {
        let keep_alive = request.keep_alive;
        if let Target::WebSocket(key) = &request.target {
            Counts::bump(&house.counts.requests, 1);
            return websocket::echo(stream, key, dyno, &house.counts).await;
        }
        if answer(&mut stream, request, dyno, house).await.is_none() || !keep_alive {
            return;
        }
    }
}

/// Answers one request; none when the connection is spent.
async fn answer<S: Stream>(stream: &mut S, request: Request, dyno: &Dyno, house: &House) -> Option<()> {
    if matches!(&request.target, Target::Path(path) if path == "/__counts") {
        let json = serde_json::to_string(&house.counts.served()).unwrap_or_default();
        return stream.write_all(&Answers::text(&json).bytes).await.ok();
    }
    Counts::bump(&house.counts.requests, 1);
    if !dyno.is_instant() {
        dyno.work().await;
    }
    let answer = house.answers.find(&request.target);
    let asked = match &request.target {
        Target::Path(path) => path.strip_prefix("/as/").and_then(|name| name.parse().ok()),
        _ => None,
    };
    match asked.or(dyno.misbehaviour()) {
        None => {
            stream.write_all(&answer.bytes).await.ok()?;
            Counts::bump(&house.counts.answers, 1);
            Some(())
        }
        Some(misbehaviour) => {
            misbehave(stream, &answer, misbehaviour, house).await;
            None
        }
    }
}

/// Does not answer as it should; the connection is closed afterwards.
async fn misbehave<S: Stream>(
    stream: &mut S,
    answer: &Answer,
    how: Misbehaviour,
    house: &House,
) -> Option<()> {
    let (bytes, body) = (&answer.bytes, answer.bytes.len() - answer.head);
    match how {
        Misbehaviour::Refuses => stream.reset_on_close(),
        Misbehaviour::AcceptsThenSilent => {
            while read_with(stream, &house.scratch, usize::MAX, <[u8]>::len).await.ok()? > 0 {}
        }
        Misbehaviour::HalfReply => stream.write_all(bytes.get(..answer.head / 2)?).await.ok()?,
        Misbehaviour::Drips => {
            for byte in bytes {
                stream.write_all(&[*byte]).await.ok()?;
                house.alarm.after(DRIP).await;
            }
            Counts::bump(&house.counts.answers, 1);
        }
        Misbehaviour::ResetsMidBody => {
            stream.write_all(bytes.get(..answer.head + body / 2)?).await.ok()?;
            house.alarm.after(DRIP).await; // so that the bytes are seen before the reset
            stream.reset_on_close();
        }
        Misbehaviour::LiesAboutLength => {
            stream.write_all(bytes.get(..bytes.len().checked_sub(1)?)?).await.ok()?;
        }
        Misbehaviour::ClosesIdleConnections => {
            stream.write_all(bytes).await.ok()?;
            Counts::bump(&house.counts.answers, 1);
        }
    }
    Some(())
}

/// Where requests come from.
struct Inbox {
    reader: Reader<Request>,
    /// Bytes of the next request that came with this one.
    left: Vec<u8>,
}

impl Inbox {
    /// The next request, when its last byte has come; none when the client has gone or does not speak HTTP.
    async fn next<S: Stream>(&mut self, stream: &mut S, house: &House) -> Option<Request> {
        if !self.left.is_empty() {
            let early = std::mem::take(&mut self.left);
            if let Some(request) = self.eat(&early, &house.counts).ok()? {
                return Some(request);
            }
        }
        loop {
            let came = read_with(stream, &house.scratch, usize::MAX, |bytes| {
                if bytes.is_empty() { None } else { Some(self.eat(bytes, &house.counts)) }
            });
            match came.await.ok()?? {
                Ok(Some(request)) => return Some(request),
                Ok(None) if self.reader.expects_continue() => {
                    stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.ok()?;
                }
                Ok(None) => {}
                Err(_) => {
                    let _gone =
                        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
                    return None;
                }
            }
        }
    }

    fn eat(&mut self, bytes: &[u8], counts: &Counts) -> Result<Option<Request>, NotHttp> {
        let eaten = self.reader.eat(bytes)?;
        Counts::bump(&counts.body_bytes, eaten.body as u64);
        self.left.extend_from_slice(bytes.get(eaten.used..).unwrap_or_default());
        Ok(eaten.complete)
    }
}
