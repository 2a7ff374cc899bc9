//! A request as the proxy writes it, made into what HTTP/2 has in its place (RFC 9113 §8.3.1).
//!
//! - [`read`]: the head. [`Body`]: where its body ends.
//!
//! The text is the proxy's own: the client's was read strictly before. What cannot be said in HTTP/2 is an error here.

use std::io;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header,
    uri::{Authority, PathAndQuery, Scheme},
};

use crate::{
    edge::translate::unchunk::Unchunk,
    h1::field::{Kind, list},
};

/// More headers than any limit of requests allows.
const FIELDS: usize = 64;

/// What is to come of a request's body.
#[derive(Debug)]
pub(super) enum Body {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunks(Unchunk),
}

impl Body {
    /// Whether nothing is.
    pub(super) const fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunks(chunks) => chunks.is_done(),
        }
    }
}

/// Reads the head at the front of `text`: the request, its body, and how long the head was.
///
/// # Errors
/// It is no whole head, or none that HTTP/2 has words for.
pub(super) fn read(text: &[u8], scheme: &Scheme) -> io::Result<(Request<()>, Body, usize)> {
    let mut few = [httparse::EMPTY_HEADER; FIELDS];
    let mut many;
    let mut request = httparse::Request::new(&mut few);
    let mut parsed = request.parse(text);
    if parsed == Err(httparse::Error::TooManyHeaders) {
        many = vec![httparse::EMPTY_HEADER; memchr::memchr_iter(b'\n', text).count()];
        request = httparse::Request::new(&mut many);
        parsed = request.parse(text);
    }
    let Ok(httparse::Status::Complete(length)) = parsed else { return Err(unsayable()) };
    let (mut fields, mut body, mut host) =
        (HeaderMap::with_capacity(request.headers.len()), Body::Length(0), None);
    for field in request.headers.iter() {
        match Kind::of(field.name.as_bytes()) {
            Kind::Host => host = Some(field.value),
            Kind::TransferEncoding => body = Body::Chunks(Unchunk::default()),
            // The only thing it may say here (RFC 9113 §8.2.2).
            Kind::Te if list(field.value).any(|coding| coding.eq_ignore_ascii_case(b"trailers")) => {
                fields.insert(header::TE, HeaderValue::from_static("trailers"));
            }
            kind if kind.is_hop_by_hop() => {}
            kind => {
                if kind == Kind::ContentLength {
                    body = Body::Length(number(field.value).ok_or_else(unsayable)?);
                }
                let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| unsayable())?;
                fields.append(name, HeaderValue::from_bytes(field.value).map_err(|_| unsayable())?);
            }
        }
    }
    let mut head = Request::new(());
    *head.method_mut() =
        Method::from_bytes(request.method.unwrap_or_default().as_bytes()).map_err(|_| unsayable())?;
    *head.uri_mut() = uri(request.path.unwrap_or_default(), host, scheme)?;
    *head.version_mut() = Version::HTTP_2;
    *head.headers_mut() = fields;
    Ok((head, body, length))
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn uri(target: &str, host: Option<&[u8]>, scheme: &Scheme) -> io::Result<Uri> {
    // In absolute form (RFC 9112 §3.2.2) the path follows the authority; `*` stands for itself.
    let path = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => {
            rest.find(['/', '?']).and_then(|at| rest.get(at..)).unwrap_or("/")
        }
        _ => target,
    };
    let slash = if path.starts_with('?') { "/" } else { "" };
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(scheme.clone());
    uri.authority = host.and_then(|host| Authority::try_from(host).ok());
    uri.path_and_query =
        Some(PathAndQuery::from_maybe_shared(escaped(slash, path)).map_err(|_| unsayable())?);
    Uri::from_parts(uri).map_err(|_| unsayable())
}

/// A path with escapes for what may not stand in one (RFC 3986 §2.1). Many apps over HTTP/1.1 do not mind; here nobody would
/// take it.
fn escaped(slash: &str, path: &str) -> Bytes {
    let stands =
        |b: &u8| !matches!(b, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x7f..);
    let mut out = Vec::with_capacity(path.len() + slash.len());
    out.extend_from_slice(slash.as_bytes());
    for byte in path.bytes() {
        if stands(&byte) {
            out.push(byte);
        } else {
            let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0').to_ascii_uppercase();
            out.push(b'%');
            out.extend([byte >> 4, byte & 15].map(|half| digit(half) as u8));
        }
    }
    out.into()
}

fn unsayable() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a request that HTTP/2 has no words for")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Request<()> {
        read(text.as_bytes(), &Scheme::HTTP).unwrap().0
    }

    #[test]
    fn a_head_becomes_pseudo_headers_and_what_belongs_to_a_connection_is_left_out() {
        let text = "POST /a?b HTTP/1.1\r\nHost: a.example:81\r\nTE: trailers\r\nConnection: upgrade\r\nUpgrade: x\r\n\
                    X-One: 1\r\nX-One: 2\r\nTransfer-Encoding: chunked\r\n\r\nrest";
        let (head, body, length) = read(text.as_bytes(), &Scheme::HTTPS).unwrap();
        assert_eq!(
            (head.method(), head.uri().to_string()),
            (&Method::POST, "https://a.example:81/a?b".to_owned())
        );
        assert_eq!(length, text.len() - 4);
        assert!(matches!(body, Body::Chunks(_)));
        let fields: Vec<_> = head.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        assert_eq!(fields, [("te", "trailers"), ("x-one", "1"), ("x-one", "2")]);
    }

    #[test]
    fn every_form_of_a_target_has_its_path() {
        let path = |target: &str| {
            let head = request(&format!("OPTIONS {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
            head.uri().path_and_query().unwrap().to_string()
        };
        assert_eq!(path("/x"), "/x");
        assert_eq!(path("*"), "*");
        assert_eq!(path("http://b/x?y=z://"), "/x?y=z://");
        assert_eq!(path("http://b?y"), "/?y");
        assert_eq!(path("http://b"), "/");
        assert_eq!(path("/a?u=http://b/c"), "/a?u=http://b/c");
        assert_eq!(path("/a|b\"<c>"), "/a%7Cb%22%3Cc%3E");
    }

    #[test]
    fn a_thousand_headers_are_carried() {
        let many: String = (0..1000).map(|n| format!("X-{n}: {n}\r\n")).collect();
        assert_eq!(request(&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")).headers().len(), 1000);
    }

    #[test]
    fn half_a_head_is_none() {
        assert!(read(b"GET / HTTP/1.1\r\nHost: a\r\n", &Scheme::HTTP).is_err());
    }
}
