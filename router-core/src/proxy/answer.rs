//! What the client gets when there is no response: a page for the [`Fault`], or, when part of a response was sent
//! already, a cut connection.

use std::{future::poll_fn, sync::Arc, task::Poll};

use super::{
    After, Call, Client, Request,
    head::{self, values},
    record::Record,
};
use crate::{
    h1::{field::Kind, request::Persistence},
    route::{
        Fault,
        fault::grpc,
        page::{self, Format},
    },
    worker::{Worker, sweep::Timer},
};

/// Answers a request that a fault has ended.
pub(super) async fn fault<C: Client>(call: &mut Call<'_, C>, record: &mut Record, fault: Fault) -> After {
    record.fault = Some(fault);
    if record.status.is_some() || !fault.is_answered() {
        return After::Cut;
    }
    let Request { head, arrival, misdirected, .. } = call.request;
    let worker = call.worker;
    let app = worker.table.borrow_mut().find(head.host.as_str());
    let routing = app.map(|app| app.with_set(|set| Arc::clone(&set.routing)));
    let closes = fault.facts().closes_client || !call.client.is_body_done() || worker.is_draining();
    let page = Page {
        fault,
        format: Format::preferred(values(&call.request, Kind::Accept)),
        url: routing.as_deref().and_then(|routing| page::custom(fault, routing)),
        // Over plain HTTP it would mean nothing (RFC 6797 §7.2); a host that is not this connection's is another's.
        hsts: routing
            .as_deref()
            .and_then(|routing| routing.hsts_seconds)
            .filter(|_| arrival.tls.is_on() && !misdirected),
        only_head: head.is_head,
        persistence: if closes { Persistence::Close } else { head.persistence },
    };
    if content_type(&call.request).is_some_and(grpc::is_grpc) {
        return send_grpc(worker, call.timer, call.client, record, &page).await;
    }
    send(worker, call.timer, call.client, record, &page).await
}

fn content_type<'a>(request: &Request<'a>) -> Option<&'a [u8]> {
    let name = b"content-type";
    let field =
        request.fields.iter().find(|field| field.name.of_buffer(request.bytes).eq_ignore_ascii_case(name))?;
    Some(field.value.of_buffer(request.bytes))
}

/// Answers a client that speaks gRPC: it expects a 200 whose head has gRPC's own status (its PROTOCOL-HTTP2.md,
/// Trailers-Only). The log has the fault's.
async fn send_grpc<C: Client>(
    worker: &Worker,
    timer: &Timer,
    client: &mut C,
    record: &mut Record,
    page: &Page<'_>,
) -> After {
    let mut message = page.fault.to_string();
    message.push_str(" (request ");
    message.push_str(record.request_id.as_str());
    message.push(')');
    client.begin_head(200, b"OK");
    client.field(b"Content-Type", b"application/grpc");
    client.field(b"Grpc-Status", itoa::Buffer::new().format(page.fault.grpc_status() as u8).as_bytes());
    // Of what such a message is made of, nothing needs to be escaped.
    client.field(b"Grpc-Message", message.as_bytes());
    client.field(b"Content-Length", b"0");
    client.field(b"X-Request-Id", record.request_id.as_bytes());
    client.field(b"Via", b"1.1 busbar");
    client.end_head(Some(page.persistence));
    record.status = Some(page.fault.facts().status);
    if deliver(worker, timer, client, &[]).await { After::from(page.persistence) } else { After::Cut }
}

/// Answers what could not be read as a request.
pub(super) async fn unread<C: Client>(
    worker: &Worker,
    timer: &Timer,
    client: &mut C,
    record: &mut Record,
    fault: Fault,
) -> After {
    record.fault = Some(fault);
    let page = Page {
        fault,
        format: Format::Html,
        url: None,
        hsts: None,
        only_head: false,
        persistence: Persistence::Close,
    };
    send(worker, timer, client, record, &page).await
}

/// Sends a request that came over plain HTTP to the same address with TLS, on its usual port. A GET may be asked again as
/// it was (301); anything else keeps its method and body only by 308 (RFC 9110 §15.4.9).
pub(super) async fn to_https<C: Client>(call: &mut Call<'_, C>, record: &mut Record) -> After {
    let Request { head, bytes, .. } = call.request;
    let status = if matches!(head.method.of_buffer(bytes), b"GET" | b"HEAD") { 301 } else { 308 };
    let closes = !call.client.is_body_done() || call.worker.is_draining();
    let persistence = if closes { Persistence::Close } else { head.persistence };
    let target = head.target.of_buffer(bytes);
    // In absolute form (RFC 9112 §3.2.2) the path follows the authority.
    let path = match memchr::memmem::find(target, b"://").and_then(|at| target.get(at + 3..)) {
        Some(rest) if !target.starts_with(b"/") => {
            rest.get(rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len())..)
        }
        _ => Some(target).filter(|target| target.starts_with(b"/")),
    };
    let path = path.unwrap_or_default();
    let slash = if path.starts_with(b"/") { &b""[..] } else { b"/" };
    let location = [b"https://", head.host.as_str().as_bytes(), slash, path].concat();
    let client = &mut *call.client;
    client.begin_head(status, reason(status).as_bytes());
    client.field(b"Location", &location);
    client.field(b"Content-Length", b"0");
    client.field(b"X-Request-Id", record.request_id.as_bytes());
    client.field(b"Via", b"1.1 busbar");
    client.end_head(Some(persistence));
    record.status = Some(status);
    if deliver(call.worker, call.timer, client, &[]).await { After::from(persistence) } else { After::Cut }
}

/// Says to an ACME server what it wants to hear (RFC 8555 §8.3).
pub(super) async fn challenge<C: Client>(call: &mut Call<'_, C>, record: &mut Record) -> After {
    let Request { head, bytes, .. } = call.request;
    let challenges = call.worker.options.challenges.as_deref();
    let said = challenges.and_then(|all| all.answer(head.target.of_buffer(bytes)));
    let said = said.as_deref().unwrap_or_default();
    let closes = !call.client.is_body_done() || call.worker.is_draining();
    let persistence = if closes { Persistence::Close } else { head.persistence };
    let client = &mut *call.client;
    client.begin_head(200, reason(200).as_bytes());
    client.field(b"Content-Type", b"application/octet-stream");
    client.field(b"Content-Length", itoa::Buffer::new().format(said.len()).as_bytes());
    client.field(b"Cache-Control", b"no-store");
    client.field(b"X-Request-Id", record.request_id.as_bytes());
    client.field(b"Via", b"1.1 busbar");
    client.end_head(Some(persistence));
    record.status = Some(200);
    let body = if head.is_head { &[][..] } else { said.as_bytes() };
    if deliver(call.worker, call.timer, client, body).await { After::from(persistence) } else { After::Cut }
}

struct Page<'a> {
    fault: Fault,
    format: Format,
    url: Option<&'a str>,
    hsts: Option<u32>,
    only_head: bool,
    persistence: Persistence,
}

async fn send<C: Client>(
    worker: &Worker,
    timer: &Timer,
    client: &mut C,
    record: &mut Record,
    page: &Page<'_>,
) -> After {
    let facts = page.fault.facts();
    let mut body = Vec::new();
    page::render(page.fault, page.format, &record.request_id, page.url, &mut body);
    client.begin_head(facts.status, reason(facts.status).as_bytes());
    client.field(b"Content-Type", page.format.content_type().as_bytes());
    client.field(b"Content-Length", itoa::Buffer::new().format(body.len()).as_bytes());
    client.field(b"Cache-Control", b"no-cache, no-store");
    if let Some(seconds) = page.hsts {
        head::hsts(client, seconds, &mut Vec::new());
    }
    client.field(b"X-Request-Id", record.request_id.as_bytes());
    client.field(b"Via", b"1.1 busbar");
    client.end_head(Some(page.persistence));
    record.status = Some(facts.status);
    let rest = if page.only_head { &[][..] } else { &body };
    if deliver(worker, timer, client, rest).await { After::from(page.persistence) } else { After::Cut }
}

/// Sends the head and the body; whether the client took them in time.
async fn deliver<C: Client>(worker: &Worker, timer: &Timer, client: &mut C, mut body: &[u8]) -> bool {
    let deadline = worker.now() + worker.options.head_timeout;
    poll_fn(|cx| {
        loop {
            match client.poll_send(cx, body) {
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Ready(Ok(n)) => body = body.get(n..).unwrap_or_default(),
                Poll::Pending if worker.now() >= deadline => return Poll::Ready(false),
                Poll::Pending => {
                    timer.set(cx, deadline);
                    return Poll::Pending;
                }
            }
            if body.is_empty() {
                return client.poll_send(cx, body).map(|flushed| flushed.is_ok());
            }
        }
    })
    .await
}

/// The reason phrases of the statuses a [`Fault`] has (RFC 9110 §15).
const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        404 => "Not Found",
        408 => "Request Timeout",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        495 => "TLS Certificate Mismatch",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

impl From<Persistence> for After {
    fn from(persistence: Persistence) -> Self {
        match persistence {
            Persistence::KeepAlive => Self::KeepAlive,
            Persistence::Close => Self::Close,
        }
    }
}
