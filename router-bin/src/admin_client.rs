//! Asks a running `busbar` through its admin API: what `ps`, `scale`, `restart`, `logs`, `routes` and `reload` use.

use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use crate::{
    admin::{api::ApiError, socket::usual_path},
    config::address::Endpoint,
    logs::LogLine,
};

/// How long connecting and the head of an answer may take. A restart or a reload is answered when it has begun.
const PATIENCE: Duration = Duration::from_secs(30);
/// An answer larger than this is refused: 256 MiB, the state of about a million apps.
const LARGEST_ANSWER: usize = 256 << 20;
/// A line of a log stream longer than this is refused. A log line has 10 000 bytes before it is escaped.
const LONGEST_LINE: usize = 256 << 10;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// Nobody is there.
    #[error("no busbar answers at {at}: {why}; is it running? Say where with --admin")]
    Unreachable {
        /// Where.
        at: Endpoint,
        /// Why.
        why: String,
    },
    /// The connection ended before what it was for.
    #[error("the connection to busbar was lost: {why}; see what it says for itself, and busbar ps")]
    Lost {
        /// Why.
        why: String,
    },
    /// It says no.
    #[error("{message}")]
    Refused {
        /// Its words.
        message: String,
    },
    /// What it says makes no sense.
    #[error("the answer from {at} cannot be understood: {why}; is it a busbar of this version?")]
    Nonsense {
        /// Where.
        at: Endpoint,
        /// Why.
        why: String,
    },
}

impl CallError {
    /// Whether nobody was there, or not to the end.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Lost { .. })
    }
}

/// Asks the `busbar` at one place.
#[derive(Debug)]
pub(crate) struct AdminClient {
    at: Endpoint,
}

impl AdminClient {
    /// Asks there; without a place, at the usual one.
    pub(crate) fn new(at: Option<Endpoint>) -> Self {
        Self { at: at.unwrap_or_else(|| Endpoint::Unix(usual_path())) }
    }

    /// Asks for `path`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        self.answer(self.send(Method::GET, path, Bytes::new()).await?).await
    }

    /// Has `path` done.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CallError> {
        let body = serde_json::to_vec(body).map_err(|error| self.nonsense(&error))?;
        self.answer(self.send(Method::POST, path, body.into()).await?).await
    }

    /// Puts `body`, as it is, at `path`.
    pub(crate) async fn put<T: DeserializeOwned>(&self, path: &str, body: Bytes) -> Result<T, CallError> {
        self.answer(self.send(Method::PUT, path, body).await?).await
    }

    /// Takes away what is at `path`.
    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        self.answer(self.send(Method::DELETE, path, Bytes::new()).await?).await
    }

    /// The lines of `path`, one after the other.
    pub(crate) async fn lines(&self, path: &str) -> Result<Lines<'_>, CallError> {
        let body = self.send(Method::GET, path, Bytes::new()).await?;
        Ok(Lines { client: self, body, read: BytesMut::new() })
    }

    /// Has `path` done over a connection that speaks `protocol` from then on.
    pub(crate) async fn upgrade(
        &self,
        path: &str,
        protocol: &'static str,
        body: &impl Serialize,
    ) -> Result<Upgraded, CallError> {
        let body = serde_json::to_vec(body).map_err(|error| self.nonsense(&error))?;
        let mut request = self.request(Method::POST, path, body.into())?;
        request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        request.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(protocol));
        let mut answer = self.in_time(self.exchange(request)).await?;
        let status = answer.status();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let named = answer.headers().get(header::UPGRADE).is_some_and(|named| *named == protocol);
            let upgraded = hyper::upgrade::on(&mut answer).await.map_err(|error| self.unreachable(&error))?;
            return if named { Ok(upgraded) } else { Err(self.nonsense(&"another protocol")) };
        }
        if status.is_success() {
            return Err(self.nonsense(&format!("status {status} instead of an upgrade to {protocol}")));
        }
        Err(self.refused(answer).await)
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Incoming, CallError> {
        let answer = self.in_time(self.exchange(self.request(method, path, body)?)).await?;
        if answer.status().is_success() { Ok(answer.into_body()) } else { Err(self.refused(answer).await) }
    }

    async fn in_time<T>(&self, exchange: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
        let answer = tokio::time::timeout(PATIENCE, exchange).await;
        answer
            .unwrap_or_else(|_| Err(self.unreachable(&format!("no answer within {} s", PATIENCE.as_secs()))))
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, CallError> {
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "busbar")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| self.nonsense(&error))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<http::Response<Incoming>, CallError> {
        let mut sender = match &self.at {
            Endpoint::Unix(path) => self.shake_hands(UnixStream::connect(path).await).await?,
            Endpoint::Tcp(address) => self.shake_hands(TcpStream::connect(address).await).await?,
        };
        sender.send_request(request).await.map_err(|error| self.unreachable(&error))
    }

    async fn shake_hands<S>(
        &self,
        stream: std::io::Result<S>,
    ) -> Result<http1::SendRequest<Full<Bytes>>, CallError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let stream = stream.map_err(|error| self.unreachable(&crate::failure::reason(&error)))?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.unreachable(&error))?;
        tokio::spawn(connection.with_upgrades()); // ends with the body that is read from it
        Ok(sender)
    }

    async fn answer<T: DeserializeOwned>(&self, body: Incoming) -> Result<T, CallError> {
        let body = http_body_util::Limited::new(body, LARGEST_ANSWER).collect().await;
        let body = body.map_err(|error| self.nonsense(&error))?.to_bytes();
        serde_json::from_slice(&body).map_err(|error| self.nonsense(&error))
    }

    async fn refused(&self, answer: http::Response<Incoming>) -> CallError {
        let status: StatusCode = answer.status();
        let said: Result<ApiError, _> = self.answer(answer.into_body()).await;
        match said {
            Ok(error) => CallError::Refused { message: error.message },
            Err(_) => self.nonsense(&format!("status {status}")),
        }
    }

    fn unreachable(&self, why: &dyn std::fmt::Display) -> CallError {
        CallError::Unreachable { at: self.at.clone(), why: why.to_string() }
    }

    fn nonsense(&self, why: &dyn std::fmt::Display) -> CallError {
        CallError::Nonsense { at: self.at.clone(), why: why.to_string() }
    }
}

/// The lines of a log.
pub(crate) struct Lines<'c> {
    client: &'c AdminClient,
    body: Incoming,
    read: BytesMut,
}

impl Lines<'_> {
    /// The next line. `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<LogLine>, CallError> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(end);
                self.read.advance(1);
                return serde_json::from_slice(&line).map(Some).map_err(|error| self.client.nonsense(&error));
            }
            if self.read.len() > LONGEST_LINE {
                return Err(self.client.nonsense(&"a line without an end"));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(self.client.unreachable(&error)),
                Some(Ok(frame)) => self.read.extend_from_slice(&frame.into_data().unwrap_or_default()),
            }
        }
    }
}
