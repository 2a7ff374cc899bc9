//! WebSocket: every message comes back.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};

use super::{Counts, connection::Stream, dyno::Dyno};

pub(super) async fn echo<S: Stream>(mut stream: S, key: &str, dyno: &Dyno, counts: &Counts) {
    let accept = derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    if stream.write_all(answer.as_bytes()).await.is_err() {
        return;
    }
    Counts::bump(&counts.answers, 1);
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        if !(message.is_text() || message.is_binary()) {
            continue; // the library answers pings and closing itself
        }
        dyno.work().await;
        if socket.send(message).await.is_err() {
            return;
        }
        Counts::bump(&counts.messages, 1);
    }
}
