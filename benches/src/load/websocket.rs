//! The WebSocket client: a message out, the same message back.

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, Message, client::IntoClientRequest as _, http::HeaderValue},
};

use super::{
    Plan,
    client::Client,
    line::{Dialer, Line},
    tally::{Answered, Mishap},
};

pub(super) struct WebSocket {
    dialer: Dialer,
    url: String,
    host: String,
    message: Bytes,
    socket: Option<WebSocketStream<Line>>,
}

impl WebSocket {
    pub(super) fn new(plan: &Plan, dialer: Dialer) -> Self {
        let request = &plan.request;
        let url = format!("ws://{}{}", request.host, request.path);
        let message = vec![b'm'; request.body.max(1)].into();
        Self { dialer, url, host: request.host.clone(), message, socket: None }
    }

    async fn open(&self) -> Result<WebSocketStream<Line>, Mishap> {
        let line = self.dialer.dial().await?;
        let mut request = self.url.as_str().into_client_request().map_err(mishap)?;
        if let Ok(host) = HeaderValue::from_str(&self.host) {
            request.headers_mut().insert("host", host);
        }
        client_async(request, line).await.map(|(socket, _)| socket).map_err(mishap)
    }

    async fn echo(&self, socket: &mut WebSocketStream<Line>) -> Result<Answered, Mishap> {
        socket.send(Message::Binary(self.message.clone())).await.map_err(mishap)?;
        loop {
            match socket.next().await.ok_or(Mishap::Broken)?.map_err(mishap)? {
                Message::Binary(back) if back == self.message => {
                    let bytes = self.message.len() as u64;
                    return Ok(Answered { status: 101, bytes_in: bytes, bytes_out: bytes });
                }
                Message::Ping(_) | Message::Pong(_) => {}
                Message::Close(_) => return Err(Mishap::Broken),
                Message::Binary(_) | Message::Text(_) | Message::Frame(_) => return Err(Mishap::Garbled),
            }
        }
    }
}

impl Client for WebSocket {
    async fn prepare(&mut self) -> Result<(), Mishap> {
        self.socket = Some(self.open().await?);
        Ok(())
    }

    async fn exchange(&mut self) -> Result<Answered, Mishap> {
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => self.open().await?,
        };
        let echoed = self.echo(&mut socket).await?;
        self.socket = Some(socket);
        Ok(echoed)
    }

    fn hang_up(&mut self) {
        self.socket = None;
    }
}

fn mishap(error: tungstenite::Error) -> Mishap {
    match error {
        tungstenite::Error::Http(answer) => Mishap::Status(answer.status().as_u16()),
        tungstenite::Error::Io(_)
        | tungstenite::Error::ConnectionClosed
        | tungstenite::Error::AlreadyClosed
        | tungstenite::Error::Protocol(
            tungstenite::error::ProtocolError::ResetWithoutClosingHandshake
            | tungstenite::error::ProtocolError::HandshakeIncomplete,
        ) => Mishap::Broken,
        _ => Mishap::Garbled,
    }
}
