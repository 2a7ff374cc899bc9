//! A response of HTTP/2 as HTTP/1.1 text, for the strict parser that reads everybody's.
//!
//! - [`head`]: the head; whether its body is to be chunked. [`interim`]: a 1xx. [`trailers`]: the end of the chunks.

use std::io::Write as _;

use http::{HeaderMap, Response, StatusCode, header};

use crate::route::forward;

/// What gRPC calls its messages. They have trailers, whatever their head says about a length.
const GRPC: &[u8] = b"application/grpc";

/// Writes the head of a response that has a body, or (`ended`) none.
///
/// A body without a length is chunked. So is one of gRPC that has one: it has trailers as well, and no length can stand
/// before those.
pub(super) fn head(response: &Response<()>, ended: bool, out: &mut Vec<u8>) -> bool {
    let fields = response.headers();
    let length = fields.contains_key(header::CONTENT_LENGTH);
    let grpc = fields.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(GRPC));
    let bodiless = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let chunked = !ended && !bodiless && (!length || grpc);
    status(response.status(), out);
    for (name, value) in fields.iter().filter(|(name, _)| !(chunked && *name == header::CONTENT_LENGTH)) {
        forward::line(out, name.as_str().as_bytes(), value.as_bytes());
    }
    if chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    } else if ended && !bodiless && !length {
        out.extend_from_slice(b"content-length: 0\r\n");
    }
    out.extend_from_slice(b"\r\n");
    chunked
}

/// Writes a 1xx.
pub(super) fn interim(response: &Response<()>, out: &mut Vec<u8>) {
    status(response.status(), out);
    for (name, value) in response.headers() {
        forward::line(out, name.as_str().as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the beginning of a chunk.
pub(super) fn chunk(length: usize, out: &mut Vec<u8>) {
    write!(out, "{length:x}\r\n").unwrap_or_default(); // a Vec takes everything
}

/// Writes the last chunk and the trailers.
pub(super) fn trailers(trailers: Option<&HeaderMap>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        forward::line(out, name.as_str().as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

fn status(status: StatusCode, out: &mut Vec<u8>) {
    let reason = status.canonical_reason().unwrap_or_default();
    write!(out, "HTTP/1.1 {} {reason}\r\n", status.as_str()).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(fields: &[(&str, &str)], ended: bool) -> String {
        let mut response = Response::builder().status(200);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let mut out = Vec::new();
        head(&response.body(()).unwrap(), ended, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_body_is_counted_or_chunked_and_one_of_grpc_always_has_room_for_trailers() {
        assert_eq!(
            written(&[("content-length", "3")], false),
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"
        );
        assert_eq!(written(&[], false), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        assert_eq!(written(&[], true), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        let grpc = [("content-type", "application/grpc+proto"), ("content-length", "3")];
        assert_eq!(
            written(&grpc, false),
            "HTTP/1.1 200 OK\r\ncontent-type: application/grpc+proto\r\ntransfer-encoding: chunked\r\n\r\n"
        );
    }
}
