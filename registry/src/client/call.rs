//! One request, on a connection of its own.

use std::error::Error;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Response, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::{Address, Client, lines::Lines};
use crate::{Refusal, Revision};

/// The most bytes of one answer: a snapshot of a million apps is about half of it.
const ANSWER: usize = 1024 * 1024 * 1024;

pub(super) struct Request {
    method: Method,
    path: String,
    if_revision: Option<Revision>,
    body: Bytes,
}

impl Request {
    pub(super) fn new(method: Method, path: String) -> Self {
        Self { method, path, if_revision: None, body: Bytes::new() }
    }

    pub(super) fn body(self, body: &impl Serialize) -> Result<Self, Refusal> {
        let body = serde_json::to_vec(body).map_err(|error| Refusal::Malformed(error.to_string()))?.into();
        Ok(Self { body, ..self })
    }

    pub(super) fn if_match(self, if_revision: Option<Revision>) -> Self {
        Self { if_revision, ..self }
    }
}

impl Client {
    /// The whole answer.
    pub(super) async fn ask<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Refusal> {
        self.within(async {
            let response = self.send(request).await?;
            let bytes = self.read(response).await?;
            serde_json::from_slice(&bytes)
                .map_err(|error| self.unreachable(format!("its answer is wrong: {error}")))
        })
        .await
    }

    /// An answer without an end, as soon as it has begun.
    pub(super) async fn open(&self, request: &Request) -> Result<Lines, Refusal> {
        self.within(async { Ok(Lines::new(self.send(request).await?.into_body(), self.at.to_string())) })
            .await
    }

    async fn within<T>(&self, call: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        let late = |_| self.unreachable(format!("no answer within {:?}", self.timeout));
        timeout(self.timeout, call).await.map_err(late)?
    }

    /// The head of a good answer; a refusal is read to its end.
    async fn send(&self, request: &Request) -> Result<Response<Incoming>, Refusal> {
        let response = match &self.at {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| self.unreachable(error))?;
                self.exchange(stream, request).await?
            }
            Address::Tcp(host) => {
                let stream = TcpStream::connect(host).await.map_err(|error| self.unreachable(error))?;
                self.exchange(stream, request).await?
            }
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let refusal = serde_json::from_slice(&self.read(response).await?);
        Err(refusal.unwrap_or_else(|_| self.unreachable(format!("it answered {status} without saying why"))))
    }

    async fn exchange<S>(&self, stream: S, request: &Request) -> Result<Response<Incoming>, Refusal>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.unreachable(error))?;
        // Ends by itself once the answer is read or dropped; how it failed is told to whoever waits for the answer.
        tokio::spawn(connection);
        let mut head = hyper::Request::builder()
            .method(request.method.clone())
            .uri(&request.path)
            .header(header::HOST, "registry")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token.secret()));
        if !request.body.is_empty() {
            head = head.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(revision) = request.if_revision {
            head = head.header(header::IF_MATCH, format!("\"{revision}\""));
        }
        let message = head.body(Full::new(request.body.clone()));
        // The error would show the header that is wrong, which can only be the token.
        let message = message.map_err(|_| Refusal::Malformed("the token or a name cannot be sent".into()))?;
        sender.send_request(message).await.map_err(|error| self.unreachable(error))
    }

    async fn read(&self, response: Response<Incoming>) -> Result<Bytes, Refusal> {
        let body = Limited::new(response.into_body(), ANSWER).collect().await;
        Ok(body.map_err(|error| self.unreachable(error))?.to_bytes())
    }

    fn unreachable(&self, why: impl Into<Box<dyn Error + Send + Sync>>) -> Refusal {
        Refusal::Unreachable { at: self.at.to_string(), why: why.into().to_string() }
    }
}
