//! A request's head as HTTP/1.1 text, for the parser that reads everybody's.
//!
//! - [`Length`]: what is known of the body's length.
//! - [`write`]: the text.

use http::{HeaderName, Method, Version, header, request::Parts};

use crate::{h1::framing::Framing, route::forward};

/// What is known of a body's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    Known(u64),
    Unknown,
}

impl Length {
    /// Whether a body of this length can be what the head says.
    pub(crate) fn agrees(self, framing: Framing) -> bool {
        match (self, framing) {
            (Self::Known(here), Framing::Length(said)) => here == said,
            (Self::Known(here), Framing::Empty) => here == 0,
            (Self::Known(_), _) | (Self::Unknown, _) => true,
        }
    }
}

/// Appends the head. Headers stay in their order, in lower case. What frames the body is added where it is missing;
/// what is there is left for the parser to judge, and for the client to compare with the body.
pub(crate) fn write(parts: &Parts, length: Length, out: &mut Vec<u8>) {
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let path = parts.uri.path_and_query().map(|path| path.as_str().as_bytes()).unwrap_or_default();
    let has_host = parts.headers.contains_key(header::HOST);
    out.extend_from_slice(parts.method.as_str().as_bytes());
    out.push(b' ');
    if let Some(authority) = authority.filter(|_| has_host && path.starts_with(b"/")) {
        // The parser compares the two.
        out.extend_from_slice(b"http://");
        out.extend_from_slice(authority);
    }
    out.extend_from_slice(path);
    let old = matches!(parts.version, Version::HTTP_09 | Version::HTTP_10);
    out.extend_from_slice(if old { b" HTTP/1.0\r\n" } else { b" HTTP/1.1\r\n" });
    if let Some(authority) = authority.filter(|_| !has_host) {
        forward::line(out, b"host", authority);
    }
    let crumbs = matches!(parts.version, Version::HTTP_2 | Version::HTTP_3);
    for (name, value) in &parts.headers {
        if !(crumbs && name == header::COOKIE) {
            forward::line(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    if crumbs {
        cookie(parts, out);
    }
    framing(parts, length, out);
    out.extend_from_slice(b"\r\n");
}

/// HTTP/2 may send a cookie in crumbs; HTTP/1.1 has one line for it (RFC 9113 §8.2.3).
fn cookie(parts: &Parts, out: &mut Vec<u8>) {
    let mut crumbs = parts.headers.get_all(header::COOKIE).iter();
    let Some(first) = crumbs.next() else { return };
    out.extend_from_slice(b"cookie: ");
    out.extend_from_slice(first.as_bytes());
    for crumb in crumbs {
        out.extend_from_slice(b"; ");
        out.extend_from_slice(crumb.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

fn framing(parts: &Parts, length: Length, out: &mut Vec<u8>) {
    let has = |name: HeaderName| parts.headers.contains_key(name);
    if has(header::CONTENT_LENGTH) || has(header::TRANSFER_ENCODING) {
        return;
    }
    match length {
        // These are expected to say it (RFC 9110 §8.6).
        Length::Known(0) if ![Method::POST, Method::PUT, Method::PATCH].contains(&parts.method) => {}
        Length::Known(length) => {
            forward::line(out, b"content-length", itoa::Buffer::new().format(length).as_bytes());
        }
        Length::Unknown => forward::line(out, b"transfer-encoding", b"chunked"),
    }
}
