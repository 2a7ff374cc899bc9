//! One stream: a request over HTTP/2, read by the same strict parser as everybody's, and served.

use std::rc::Rc;

use h2::{Reason, RecvStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Method, request::Parts};

use super::{
    client::StreamClient,
    outlet::{Outlet, Piece},
    websocket::{self, Key},
    wire::Wire,
};
use crate::{
    edge::{
        h1::{self, Peer},
        translate::head::{self, Length},
    },
    h1::request::{self, RequestHead, Version},
    io::Transport,
    proxy::{self, Call, Papers, Request},
    route::{Fault, fault::RequestFlaw, logline::Protocol},
    server::ServerOptions,
    worker::{Worker, buffers::Desk, sweep::Timer},
};

/// What the streams of a connection share.
pub(super) struct Link<T> {
    pub(super) worker: Rc<Worker>,
    pub(super) peer: Peer,
    pub(super) wire: Rc<Wire<T>>,
    pub(super) outlet: Rc<Outlet>,
}

/// Serves one stream.
///
/// # Cancel safety
/// Dropped, the stream is reset and the connection to the dyno cut; all places are given back.
pub(super) async fn serve<T: Transport>(
    link: Rc<Link<T>>,
    (request, mut respond): (http::Request<RecvStream>, SendResponse<Piece>),
) {
    let Link { worker, peer, wire, outlet } = &*link;
    let (mut parts, body) = request.into_parts();
    let websocket = websocket::is_asked_for(&parts).then(|| Key::new(&mut worker.random.borrow_mut()));
    if let Some(key) = &websocket {
        websocket::as_upgrade(&mut parts, key);
    }
    // A tunnel's bytes are no body.
    let no_body = websocket.is_some() || body.is_end_stream();
    let length = if no_body { Length::Known(0) } else { Length::Unknown };
    let mut desk = worker.buffers.desk();
    let desk = desk.get();
    let read = read(&worker.options, desk, &parts, length, websocket.is_some());
    let Some(_head) = Held::of(outlet, desk.text.len(), worker.options.http2.heads) else {
        respond.send_reset(Reason::REFUSED_STREAM);
        outlet.stir();
        return;
    };
    let timer = Timer::new(&worker.sweep);
    let mut client = StreamClient::unread(worker, outlet, body, respond, parts.method == Method::HEAD);
    drop(parts);
    let identity = wire.io(T::identity);
    let after = match read {
        Ok(head) => {
            client = client.read(&head, websocket);
            let request = Request {
                bytes: &desk.text,
                fields: &desk.request_fields,
                head: &head,
                arrival: h1::head::arrival(
                    &worker.options.trusted_proxies,
                    peer,
                    &head,
                    &desk.request_fields,
                    &desk.text,
                ),
                received: worker.now(),
                misdirected: !wire.io(|io| io.serves(head.host.as_str())),
                identity: identity.as_ref().map(|lines| lines.as_slice()),
            };
            let papers = Papers {
                to_dyno: &mut desk.to_dyno,
                forwarded_for: &mut desk.forwarded_for,
                via: &mut desk.via,
                response_fields: &mut desk.response_fields,
            };
            proxy::serve(Call { worker, timer: &timer, request, client: &mut client, papers }).await
        }
        Err(fault) => {
            let line = desk.text.split(|b| *b == b'\r').next().unwrap_or_default();
            proxy::refuse(worker, &timer, &mut client, peer.sender(Protocol::Http2), line, fault).await
        }
    };
    client.finish(after);
}

/// The bytes of heads that are served at a time.
struct Held<'a> {
    outlet: &'a Outlet,
    bytes: usize,
}

impl<'a> Held<'a> {
    /// `None`: with so many more there would be too many.
    fn of(outlet: &'a Outlet, bytes: usize, most: usize) -> Option<Self> {
        let before = outlet.heads.get();
        (before == 0 || before + bytes <= most).then(|| {
            outlet.heads.set(before + bytes);
            Self { outlet, bytes }
        })
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.outlet.heads.set(self.outlet.heads.get().saturating_sub(self.bytes));
    }
}

/// Writes the head on the desk as HTTP/1.1 and reads it there: the same parser, limits and policy as for everybody.
pub(crate) fn read(
    options: &ServerOptions,
    desk: &mut Desk,
    parts: &Parts,
    length: Length,
    may_upgrade: bool,
) -> Result<RequestHead, Fault> {
    head::write(parts, length, &mut desk.text);
    // What HTTP/2 forbids and HTTP/1.1 does not (RFC 9113 §8.2.1, §8.3.1); the text is there for the log.
    let path = parts.uri.path_and_query().map(|path| path.as_str()).unwrap_or_default();
    let asterisk = path == "*" && parts.method == Method::OPTIONS;
    if !path.starts_with('/') && !asterisk && parts.method != Method::CONNECT {
        return Err(RequestFlaw::BadTarget.into());
    }
    if !values_are_trimmed(&parts.headers) {
        return Err(RequestFlaw::BadHeader.into());
    }
    let fields = &mut desk.request_fields;
    let head = request::parse(&desk.text, &options.request_limits, options.request_policy, fields)?;
    let mut head = head.filter(|head| head.length == desk.text.len()).ok_or(RequestFlaw::BadHeader)?;
    if !length.agrees(head.framing) {
        return Err(RequestFlaw::BadContentLength.into());
    }
    head.version = Version::Http2;
    head.upgrade &= may_upgrade;
    Ok(head)
}

fn values_are_trimmed(fields: &HeaderMap) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let trimmed = |value: &HeaderValue| {
        let value = value.as_bytes();
        !blank(value.first()) && !blank(value.last())
    };
    fields.values().all(trimmed)
}
