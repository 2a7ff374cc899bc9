//! The head the dyno gets, and the head the client gets: what was received, line by line in its order and spelling,
//! without what belongs to one connection only, and with what the router adds.

use busbar_registry::Routing;

use super::{Client, Papers, Request};
use crate::{
    h1::{
        field::{Field, Kind, list, options},
        framing::Framing,
        policy::Underscores,
        request::{Persistence, Version, upgrades},
        response::ResponseHead,
    },
    route::{
        RequestId,
        affinity::SetCookie,
        forward::{self, is_sound_list},
    },
    worker::Worker,
};

/// Renders the head the dyno gets.
pub(crate) fn to_dyno(
    worker: &Worker,
    request: &Request<'_>,
    routing: &Routing,
    request_id: &RequestId,
    papers: &mut Papers<'_>,
) {
    let (head, bytes, out) = (request.head, request.bytes, &mut *papers.to_dyno);
    out.clear();
    out.extend_from_slice(head.method.of_buffer(bytes));
    out.push(b' ');
    out.extend_from_slice(head.target.of_buffer(bytes));
    out.extend_from_slice(b" HTTP/1.1\r\n");
    for field in request.fields.iter().filter(|field| goes_to_dyno(field, worker, request, routing)) {
        forward::line(out, field.name.of_buffer(bytes), value(field, bytes));
    }
    if head.upgrade {
        out.extend_from_slice(b"Connection: Upgrade\r\n");
        values(request, Kind::Upgrade)
            .flat_map(upgrades)
            .for_each(|protocol| forward::line(out, b"Upgrade", protocol));
    } else if routing.dyno_keepalive_ms.0 == 0 {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    // Dynos that speak gRPC ask for it, and trailers pass all the way.
    if routing.dyno_protocol.is_http2() && values(request, Kind::Te).any(takes_trailers) {
        out.extend_from_slice(b"TE: trailers\r\n");
    }
    if head.framing == Framing::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    let mut digits = itoa::Buffer::new();
    let started = digits.format(worker.clock.unix_ms(request.received)).as_bytes();
    let started = first_start(request).unwrap_or(started);
    forward::write_headers(out, &request.arrival, papers.forwarded_for, request_id.as_bytes(), started);
    if worker.options.forwarded {
        forward::forwarded(out, &request.arrival, head.host_field.of_buffer(bytes));
    }
    out.extend_from_slice(request.identity.unwrap_or_default());
    out.extend_from_slice(b"Via: ");
    let version = match head.version {
        Version::Http10 => "1.0",
        Version::Http11 => "1.1",
        Version::Http2 => "2.0",
        Version::Http3 => "3.0",
    };
    forward::via(out, values(request, Kind::Via), version);
    out.extend_from_slice(b"\r\n\r\n");
}

/// Whether a header goes to the dyno as it came.
fn goes_to_dyno(field: &Field, worker: &Worker, request: &Request<'_>, routing: &Routing) -> bool {
    match field.kind {
        // What the router writes itself.
        Kind::XForwardedFor
        | Kind::XForwardedPort
        | Kind::XForwardedProto
        | Kind::XQueueTime
        | Kind::XRequestId
        | Kind::XRequestStart
        | Kind::Via
        | Kind::Proxy
        | Kind::ClientCertificate => false,
        // Behind an open quote ours could not be read.
        Kind::Forwarded
            if worker.options.forwarded && !is_sound_list(field.value.of_buffer(request.bytes)) =>
        {
            false
        }
        Kind::Underscored if worker.options.request_policy.underscores != Underscores::Keep => false,
        Kind::Expect => !routing.answer_continue && request.head.expects_continue,
        Kind::ContentLength => request.head.framing != Framing::Chunked && is_first(field, request),
        Kind::Host => true,
        kind if kind.is_hop_by_hop() => false,
        _ => !(request.head.names_in_connection && is_named(field, request.fields, request.bytes)),
    }
}

fn takes_trailers(te: &[u8]) -> bool {
    list(te).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

/// When the first trusted proxy got the request, if it says so.
fn first_start<'a>(request: &Request<'a>) -> Option<&'a [u8]> {
    let said = request.arrival.trusted.then(|| values(request, Kind::XRequestStart).next()).flatten();
    said.filter(|said| forward::is_start(said))
}

/// Equal lengths are sent once.
fn is_first(field: &Field, request: &Request<'_>) -> bool {
    let first = request.fields.iter().find(|other| other.kind == field.kind);
    first.is_some_and(|first| first.name == field.name)
}

/// Whether a Connection header names this one (RFC 9110 §7.6.1).
fn is_named(field: &Field, fields: &[Field], bytes: &[u8]) -> bool {
    let name = field.name.of_buffer(bytes);
    let connection = fields.iter().filter(|other| other.kind == Kind::Connection);
    connection
        .flat_map(|field| options(field.value.of_buffer(bytes)))
        .any(|named| named.eq_ignore_ascii_case(name))
}

/// The values of all headers of a kind.
pub(super) fn values<'a>(request: &Request<'a>, kind: Kind) -> impl Iterator<Item = &'a [u8]> {
    let bytes = request.bytes;
    request
        .fields
        .iter()
        .filter(move |field| field.kind == kind)
        .map(move |field| field.value.of_buffer(bytes))
}

/// A header's value as it is passed on. A length loses its leading zeros: some take a number with them for an octal one.
fn value<'b>(field: &Field, bytes: &'b [u8]) -> &'b [u8] {
    let value = field.value.of_buffer(bytes);
    match value {
        [b'0', .., last] if field.kind == Kind::ContentLength => value
            .get(value.iter().take_while(|b| **b == b'0').count()..)
            .filter(|rest| !rest.is_empty())
            .unwrap_or(std::slice::from_ref(last)),
        _ => value,
    }
}

/// A response's head with the text its places refer to.
pub(crate) struct Response<'a> {
    pub(crate) head: &'a ResponseHead,
    pub(crate) fields: &'a [Field],
    pub(crate) bytes: &'a [u8],
    /// What the client is given besides what the dyno sent.
    pub(crate) cookie: Option<SetCookie>,
    /// For so many seconds browsers are to use TLS only.
    pub(crate) hsts: Option<u32>,
    /// Where else the same is to be had (RFC 7838).
    pub(crate) alternative: Option<&'a [u8]>,
}

/// Hands the head to the client. `persistence` is `None` for a 1xx. `via` is scratch space.
pub(crate) fn to_client<C: Client>(
    client: &mut C,
    response: &Response<'_>,
    persistence: Option<Persistence>,
    via: &mut Vec<u8>,
) {
    let Response { head, fields, bytes, cookie, hsts, alternative } = *response;
    client.begin_head(head.status, head.reason.of_buffer(bytes));
    // A 1xx has no body, and nothing that looks like one (RFC 9110 §8.6, RFC 9112 §6.1).
    let interim = head.status < 200;
    let chunked = fields.iter().any(|field| field.kind == Kind::TransferEncoding);
    for field in fields {
        let keep = match field.kind {
            Kind::Via => false,
            Kind::ContentLength | Kind::TransferEncoding if interim => false,
            Kind::ContentLength => !chunked && is_first_of(field, fields),
            // A client that knows no chunks gets the data alone, until the close.
            Kind::TransferEncoding => client.keeps_chunks() && is_first_of(field, fields),
            // 426 says what it would upgrade to; 101 does.
            Kind::Upgrade => matches!(head.status, 101 | 426),
            kind if kind.is_hop_by_hop() => false,
            _ => !(head.names_in_connection && is_named(field, fields, bytes)),
        };
        if keep {
            client.field(field.name.of_buffer(bytes), value(field, bytes));
        }
    }
    if head.status == 101 {
        client.field(b"Connection", b"Upgrade");
    }
    if let Some(cookie) = cookie {
        via.clear();
        cookie.write(via);
        client.field(b"Set-Cookie", via);
    }
    // The app's own word wins.
    let says =
        |name: &[u8]| fields.iter().any(|field| field.name.of_buffer(bytes).eq_ignore_ascii_case(name));
    if let Some(seconds) = hsts.filter(|_| head.status >= 200 && !says(HSTS)) {
        self::hsts(client, seconds, via);
    }
    if let Some(alternative) = alternative.filter(|_| head.status >= 200 && !says(ALTERNATIVE)) {
        client.field(ALTERNATIVE, alternative);
    }
    via.clear();
    let received =
        fields.iter().filter(|field| field.kind == Kind::Via).map(|field| field.value.of_buffer(bytes));
    forward::via(via, received, "1.1");
    client.field(b"Via", via);
    client.end_head(persistence);
}

/// What tells browsers to ask for this host over TLS only (RFC 6797).
const HSTS: &[u8] = b"Strict-Transport-Security";

/// What tells clients where else the same is to be had (RFC 7838).
const ALTERNATIVE: &[u8] = b"Alt-Svc";

/// Adds the former, for so many seconds. `scratch` is scratch space.
pub(super) fn hsts<C: Client>(client: &mut C, seconds: u32, scratch: &mut Vec<u8>) {
    scratch.clear();
    scratch.extend_from_slice(b"max-age=");
    scratch.extend_from_slice(itoa::Buffer::new().format(seconds).as_bytes());
    client.field(HSTS, scratch);
}

fn is_first_of(field: &Field, fields: &[Field]) -> bool {
    let first = fields.iter().find(|other| other.kind == field.kind);
    first.is_some_and(|first| first.name == field.name)
}
