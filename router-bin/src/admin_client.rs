//! Asks a running `busbar` through its admin API: what `ps`, `scale`, `restart`, `logs`, `routes` and `reload` use.

use std::{marker::PhantomData, time::Duration};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
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
    /// Whether nobody was there.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
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
    pub(crate) async fn lines(&self, path: &str) -> Result<Lines<'_, LogLine>, CallError> {
        let body = self.send(Method::GET, path, Bytes::new()).await?;
        Ok(Lines { client: self, body, read: BytesMut::new(), what: PhantomData })
    }

    /// Has `path` done, and hears one thing to a line about it.
    pub(crate) async fn post_lines<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Lines<'_, T>, CallError> {
        let body = serde_json::to_vec(body).map_err(|error| self.nonsense(&error))?;
        let body = self.send(Method::POST, path, body.into()).await?;
        Ok(Lines { client: self, body, read: BytesMut::new(), what: PhantomData })
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Incoming, CallError> {
        let answer = match tokio::time::timeout(PATIENCE, self.exchange(method, path, body)).await {
            Err(_) => return Err(self.unreachable(&format!("no answer within {} s", PATIENCE.as_secs()))),
            Ok(answer) => answer?,
        };
        if answer.status().is_success() { Ok(answer.into_body()) } else { Err(self.refused(answer).await) }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<http::Response<Incoming>, CallError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "busbar")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| self.nonsense(&error))?;
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
        tokio::spawn(connection); // ends with the body that is read from it
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

/// A stream of things, one to a line.
pub(crate) struct Lines<'c, T> {
    client: &'c AdminClient,
    body: Incoming,
    read: BytesMut,
    what: PhantomData<T>,
}

impl<T: DeserializeOwned> Lines<'_, T> {
    /// The next line. `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<T>, CallError> {
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
