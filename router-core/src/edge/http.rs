//! Requests and responses of the `http` crate, for whoever has read them already: a server of somebody else, or
//! hyper on the worker itself. Everything here lives on one worker; nothing but [`reply`] crosses threads.
//!
//! - [`serve`]: one request through the proxy.
//! - [`client`]: what the proxy sees of it. [`tunnel`]: upgrades.
//! - [`reply`]: the response's way back, bounded.
//!
//! Its head is written as HTTP/1.1 ([`head`]) and read again. A request is what its text says: what HTTP/1.1 cannot say
//! unmistakably, this edge refuses like the other.

mod client;
pub(crate) mod reply;
mod tunnel;

use bytes::Bytes;
use http::Request as HttpRequest;
use http_body::Body;
use hyper::upgrade::OnUpgrade;

use self::{client::HttpClient, reply::Reply};
use super::{
    h1::{self, Peer},
    translate::head::{self, Length},
};
use crate::{
    h1::request::{self, RequestHead, Version},
    proxy::{self, After, Call, Papers, Request},
    route::{Fault, fault::RequestFlaw, logline::Protocol},
    worker::{Worker, buffers::Desk, sweep::Timer},
};

/// Serves one request; the response goes to `reply`. `serves` says whether a host may be asked for over its connection.
///
/// # Cancel safety
/// Dropped, the connection to the dyno and the response are cut; all places are given back.
pub(crate) async fn serve<B>(
    worker: &Worker,
    request: HttpRequest<B>,
    peer: Peer,
    serves: &dyn Fn(&str) -> bool,
    mut reply: Reply,
) where
    B: Body<Data = Bytes> + Unpin,
{
    let timer = Timer::new(&worker.sweep);
    let (mut parts, body) = request.into_parts();
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let mut desk = worker.buffers.desk();
    let desk = desk.get();
    let length = length_of(&body);
    head::write(&parts, length, &mut desk.text);
    let after = match read(worker, desk, parts.version, length, upgrade.is_some()) {
        Ok(head) => {
            let mut client = HttpClient::new(worker, body, &head, upgrade, &mut reply);
            let trusted = &worker.options.trusted_proxies;
            let arrival = h1::head::arrival(trusted, &peer, &head, &desk.request_fields, &desk.text);
            let papers = Papers {
                to_dyno: &mut desk.to_dyno,
                forwarded_for: &mut desk.forwarded_for,
                via: &mut desk.via,
                response_fields: &mut desk.response_fields,
            };
            let request = Request {
                bytes: &desk.text,
                fields: &desk.request_fields,
                head: &head,
                arrival,
                received: worker.now(),
                misdirected: !serves(head.host.as_str()),
                identity: None,
            };
            proxy::serve(Call { worker, timer: &timer, request, client: &mut client, papers }).await
        }
        Err(fault) => {
            let mut client = HttpClient::unread(worker, body, parts.method == http::Method::HEAD, &mut reply);
            let protocol = match parts.version {
                http::Version::HTTP_2 => Protocol::Http2,
                http::Version::HTTP_3 => Protocol::Http3,
                _ => Protocol::Http11,
            };
            let line = desk.text.split(|b| *b == b'\r').next().unwrap_or_default();
            proxy::refuse(worker, &timer, &mut client, peer.sender(protocol), line, fault).await
        }
    };
    match after {
        After::KeepAlive | After::Close => reply.finish(),
        After::Cut => reply.cut(Fault::ClientInterrupted),
    }
}

/// What is known of the body's length.
pub(crate) fn length_of<B: Body<Data = Bytes>>(body: &B) -> Length {
    match body.size_hint().exact() {
        _ if body.is_end_stream() => Length::Known(0),
        Some(length) => Length::Known(length),
        None => Length::Unknown,
    }
}

/// Reads the text on the desk: the same parser, limits and policy as for a request from a socket.
fn read(
    worker: &Worker,
    desk: &mut Desk,
    version: http::Version,
    length: Length,
    may_upgrade: bool,
) -> Result<RequestHead, Fault> {
    let options = &worker.options;
    let fields = &mut desk.request_fields;
    let head = request::parse(&desk.text, &options.request_limits, options.request_policy, fields)?;
    let mut head = head.filter(|head| head.length == desk.text.len()).ok_or(RequestFlaw::BadHeader)?;
    if !length.agrees(head.framing) {
        return Err(RequestFlaw::BadContentLength.into());
    }
    match version {
        http::Version::HTTP_2 => head.version = Version::Http2,
        http::Version::HTTP_3 => head.version = Version::Http3,
        _ => {}
    }
    // Nobody would take the connection over: the request is served as if it had not asked (RFC 9110 §7.8).
    head.upgrade &= may_upgrade;
    Ok(head)
}
