//! A client by the h2 crate, and a router that is reached in the clear or over TLS.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{Builder, ResponseFuture, SendRequest},
};
use http::{HeaderMap, Request, Response};
use it::{App, PATIENCE, Router};
use router_core::server::{Listener, ServerOptions};
use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};

use crate::tls::client::{self as tls, Authority, start as start_tls, store};

/// A router and how it is reached.
pub(super) struct Front {
    pub(super) router: Router,
    tls: Option<Authority>,
}

impl Front {
    /// In the clear.
    pub(super) fn clear(app: App) -> Self {
        Self::clear_with(app, |_| {})
    }

    pub(super) fn clear_with(app: App, change: impl FnOnce(&mut ServerOptions)) -> Self {
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port can be had");
        Self { router: Router::start_on(listener.with_h2c(), app, change), tls: None }
    }

    /// Over TLS.
    pub(super) fn tls(app: App) -> Self {
        Self::tls_with(app, |_| {})
    }

    pub(super) fn tls_with(app: App, change: impl FnOnce(&mut ServerOptions)) -> Self {
        let authority = Authority::new();
        let router = start_tls(&store([authority.signs(&["app.test", "probe.test"])], true), app, change);
        Self { router, tls: Some(authority) }
    }

    /// A connection over TLS that has agreed on HTTP/2 and says nothing more.
    pub(super) fn shake_hands(&self) -> tls::Client {
        let mut config = self.tls.as_ref().expect("it is over TLS").client();
        config.alpn_protocols = vec![b"h2".to_vec()];
        tls::Client::connect(self.router.address, &config, "app.test")
    }

    /// Both.
    pub(super) fn both(app: impl Fn() -> App) -> [Self; 2] {
        [Self::clear(app()), Self::tls(app())]
    }

    /// PEM of the authority that clients must trust.
    pub(super) fn authority(&self) -> Option<String> {
        self.tls.as_ref().map(|authority| authority.pem.clone())
    }

    pub(super) const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// A client, connected.
    pub(super) async fn connect(&self) -> Http2 {
        self.connect_as(&mut Builder::new()).await
    }

    pub(super) async fn connect_as(&self, builder: &mut Builder) -> Http2 {
        let stream = TcpStream::connect(self.router.address).await.expect("it listens");
        stream.set_nodelay(true).expect("it can be set");
        let Some(authority) = &self.tls else { return Http2::new(stream, builder, "http").await };
        let mut config = authority.client();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("app.test").expect("a name");
        let stream = connector.connect(name, stream).await.expect("it speaks TLS");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        Http2::new(stream, builder, "https").await
    }
}

/// A connection.
pub(super) struct Http2 {
    pub(super) send: SendRequest<Bytes>,
    pub(super) scheme: &'static str,
    pub(super) driven: JoinHandle<Result<(), h2::Error>>,
}

impl Http2 {
    async fn new<T>(stream: T, builder: &mut Builder, scheme: &'static str) -> Self
    where
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (send, connection) = builder.handshake(stream).await.expect("it speaks HTTP/2");
        Self { send, scheme, driven: tokio::spawn(connection) }
    }

    /// A request for the app; `end`: without a body.
    pub(super) async fn ask(
        &mut self,
        request: http::request::Builder,
        target: &str,
        end: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let request = request.uri(format!("{}://app.test{target}", self.scheme)).body(()).expect("a request");
        self.send_it(request, end).await
    }

    pub(super) async fn send_it(
        &mut self,
        request: Request<()>,
        end: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        std::future::poll_fn(|cx| self.send.poll_ready(cx)).await.expect("it takes requests");
        self.send.send_request(request, end).expect("it is sent")
    }

    /// Waits until the router's settings have come.
    pub(super) async fn settled(&mut self) {
        let request = Request::get(format!("{}://probe.test/", self.scheme)).body(()).expect("a request");
        let (response, _) = self.send_it(request, true).await;
        assert_eq!(answer(response).await.expect("it is answered").text(), "probe");
    }

    /// Waits for a GOAWAY.
    pub(super) async fn told_to_go(&self) {
        let told = async {
            while self.send.clone().ready().await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, told).await.expect("a GOAWAY comes");
    }

    /// A GET and its whole answer.
    pub(super) async fn get(&mut self, target: &str) -> Answer {
        let (response, _) = self.ask(Request::get("/"), target, true).await;
        answer(response).await.expect("it is answered")
    }

    /// A POST with this body and its whole answer.
    pub(super) async fn post(&mut self, target: &str, body: &[u8]) -> Answer {
        let (response, mut stream) = self.ask(Request::post("/"), target, false).await;
        let sent = send_all(&mut stream, body, true);
        let (sent, answered) = tokio::join!(sent, answer(response));
        sent.expect("the body is taken");
        answered.expect("it is answered")
    }
}

/// A whole response.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: Response<()>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.head.status().as_u16()
    }
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.head.headers().get(name).map(|value| value.to_str().expect("text"))
    }
    pub(super) fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("text")
    }
}

/// The whole answer, or how its stream broke.
pub(super) async fn answer(response: ResponseFuture) -> Result<Answer, h2::Error> {
    let response = timeout(PATIENCE, response).await.expect("it is answered in time")?;
    let (parts, mut stream) = response.into_parts();
    let head = Response::from_parts(parts, ());
    let (body, trailers) = whole(&mut stream).await?;
    Ok(Answer { head, body, trailers })
}

/// All that is to come of a response.
pub(super) async fn whole(stream: &mut RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut body = Vec::new();
    while let Some(piece) = timeout(PATIENCE, stream.data()).await.expect("it goes on") {
        let piece = piece?;
        stream.flow_control().release_capacity(piece.len())?;
        body.extend_from_slice(&piece);
    }
    Ok((body, stream.trailers().await?))
}

/// Sends a body as its window allows.
pub(super) async fn send_all(
    stream: &mut SendStream<Bytes>,
    mut body: &[u8],
    end: bool,
) -> Result<(), h2::Error> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len().min(100_000));
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx));
        let Some(room) = timeout(PATIENCE, room).await.expect("it is taken") else {
            return Err(h2::Reason::STREAM_CLOSED.into());
        };
        let (now, rest) = body.split_at(room?.min(body.len()));
        stream.send_data(Bytes::copy_from_slice(now), false)?;
        body = rest;
    }
    if end { stream.send_data(Bytes::new(), true) } else { Ok(()) }
}

/// Runs a test.
pub(super) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async { timeout(6 * PATIENCE, test).await.expect("it ends") });
    runtime.shutdown_timeout(Duration::from_secs(1));
}
