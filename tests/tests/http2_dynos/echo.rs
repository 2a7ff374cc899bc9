//! A dyno that speaks HTTP/2 and tells what it got.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use h2::{RecvStream, server};
use http::{HeaderMap, Request, Response};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    runtime::Runtime,
};

/// A dyno that answers every request with the request as JSON, in pieces and with a trailer. It stops when this is dropped.
pub(super) struct Echo {
    pub(super) address: SocketAddr,
    _runtime: Runtime,
}

impl Echo {
    pub(super) fn start() -> Self {
        let runtime = runtime();
        let listener =
            runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a port can be had");
        let address = listener.local_addr().expect("it is bound");
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(stream));
            }
        });
        Self { address, _runtime: runtime }
    }
}

pub(super) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// Serves a connection until it ends.
pub(super) async fn connection(io: impl AsyncRead + AsyncWrite + Unpin) {
    let Ok(mut connection) = server::handshake(io).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        tokio::spawn(async move {
            let head = request.method() == http::Method::HEAD;
            let text = told(request).await.to_string();
            let response = Response::builder();
            let response = if head { response.header("content-length", text.len()) } else { response };
            let Ok(mut stream) = respond.send_response(response.body(()).expect("a head"), head) else {
                return;
            };
            if head {
                return;
            }
            let mut trailers = HeaderMap::new();
            trailers.insert("x-length", text.len().into());
            for piece in text.as_bytes().chunks(10_000) {
                let _client_left = stream.send_data(Bytes::copy_from_slice(piece), false);
            }
            let _client_left = stream.send_trailers(trailers);
        });
    }
}

async fn told(request: Request<RecvStream>) -> Value {
    let (parts, mut body) = request.into_parts();
    let mut data = Vec::new();
    while let Some(Ok(piece)) = body.data().await {
        let _taken = body.flow_control().release_capacity(piece.len());
        data.extend_from_slice(&piece);
    }
    let trailers = body.trailers().await.ok().flatten().unwrap_or_default();
    json!({
        "method": parts.method.as_str(),
        "uri": parts.uri.to_string(),
        "headers": list(&parts.headers),
        "body": String::from_utf8_lossy(&data),
        "trailers": list(&trailers),
    })
}

fn list(fields: &HeaderMap) -> Vec<[String; 2]> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    fields.iter().map(|(name, value)| [name.to_string(), text(value.as_bytes())]).collect()
}
