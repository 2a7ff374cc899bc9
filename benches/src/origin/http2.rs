//! HTTP/2: the same paths, well behaved; of the misbehaviours only silence is known here.

use std::rc::Rc;

use bytes::Bytes;
use h2::{
    RecvStream,
    server::{self, SendResponse},
};

use super::{Counts, House, Misbehaviour, connection::Stream, dyno::Dyno};

/// Flow-control windows, so large that they do not decide the result.
pub(crate) const WINDOW: u32 = 4 << 20;

pub(super) async fn serve<S: Stream>(stream: S, dyno: Rc<Dyno>, house: Rc<House>) {
    let mut settings = server::Builder::new();
    settings.initial_window_size(WINDOW).initial_connection_window_size(WINDOW).max_concurrent_streams(1024);
    let Ok(mut connection) = settings.handshake::<_, Bytes>(stream).await else { return };
    while let Some(Ok((request, answer))) = connection.accept().await {
        let (dyno, house) = (Rc::clone(&dyno), Rc::clone(&house));
        let (head, body) = request.into_parts();
        tokio::task::spawn_local(async move { respond(head.uri.path(), body, answer, &dyno, &house).await });
    }
}

async fn respond(
    path: &str,
    body: RecvStream,
    mut answer: SendResponse<Bytes>,
    dyno: &Dyno,
    house: &House,
) -> Option<()> {
    let bytes = drain(body).await.ok()?;
    Counts::bump(&house.counts.requests, 1);
    Counts::bump(&house.counts.body_bytes, bytes);
    if !dyno.is_instant() {
        dyno.work().await;
    }
    if dyno.misbehaviour() == Some(Misbehaviour::AcceptsThenSilent) {
        std::future::pending::<()>().await;
    }
    let body = house.answers.body(path);
    let status = if body.is_some() { 200 } else { 404 };
    let head = http::Response::builder().status(status).header("content-type", "text/plain").body(()).ok()?;
    let body = body.unwrap_or_default();
    let mut stream = answer.send_response(head, body.is_empty()).ok()?;
    if !body.is_empty() {
        stream.send_data(body, true).ok()?; // kept by h2 until the window allows it; bodies here are bounded
    }
    Counts::bump(&house.counts.answers, 1);
    Some(())
}

/// Reads a body to its end and says how long it was.
pub(crate) async fn drain(mut body: RecvStream) -> Result<u64, h2::Error> {
    let mut bytes = 0;
    while let Some(data) = body.data().await.transpose()? {
        bytes += data.len() as u64;
        body.flow_control().release_capacity(data.len())?;
    }
    body.trailers().await?;
    Ok(bytes)
}
