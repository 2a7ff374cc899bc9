//! The keys of `[limits]` about heads and chunks, both ways.

use std::ops::{Range, RangeInclusive};

use router_core::server::{ChunkLimits, RequestLimits, ResponseLimits};

use super::{count, parsed};
use crate::config::{complaint::Complaints, raw::RawLimits, table::At, units::Size};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Of request line, header value and head.
const USUAL: RangeInclusive<usize> = 256..=MIB;
/// Of method and header name.
const SHORT: RangeInclusive<usize> = 16..=8 * KIB;
/// Of what is held back until it is there whole.
const CHUNKS: RangeInclusive<usize> = 16..=ChunkLimits::MOST;
/// Of a response's lines and head.
const RESPONSE: RangeInclusive<usize> = 256..=4 * MIB;
/// Header lines.
const MOST_HEADERS: u64 = 10_000;

/// The limits of requests and of responses.
pub(super) fn check(raw: &RawLimits, complaints: &mut Complaints<'_>) -> (RequestLimits, ResponseLimits) {
    let (request, response) = (RequestLimits::default(), ResponseLimits::default());
    let mut size = |key, written: &Option<At<String>>, bounds, usual| {
        written.as_ref().and_then(|size| byte_size(key, size, bounds, complaints)).unwrap_or(usual)
    };
    let chunks = ChunkLimits {
        line: size("chunk_line", &raw.chunk_line, CHUNKS, request.chunks.line),
        trailers: size("trailers", &raw.trailers, CHUNKS, request.chunks.trailers),
    };
    let mut request = RequestLimits {
        line: size("request_line", &raw.request_line, USUAL, request.line),
        method: size("method", &raw.method, SHORT, request.method),
        field_name: size("header_name", &raw.header_name, SHORT, request.field_name),
        field_value: size("header_value", &raw.header_value, USUAL, request.field_value),
        head: size("head_total", &raw.head_total, USUAL, request.head),
        chunks,
        ..request
    };
    let mut response = ResponseLimits {
        line: size("response_status_line", &raw.response_status_line, RESPONSE, response.line),
        field_line: size("response_header", &raw.response_header, RESPONSE, response.field_line),
        cookie_line: size("response_cookie", &raw.response_cookie, RESPONSE, response.cookie_line),
        head: size("response_head_total", &raw.response_head_total, RESPONSE, response.head),
        chunks,
        ..response
    };
    for (key, written, fields) in [
        ("header_count", &raw.header_count, &mut request.fields),
        ("response_header_count", &raw.response_header_count, &mut response.fields),
    ] {
        let written = written.as_ref().and_then(|n| count(key, n, MOST_HEADERS, complaints));
        *fields = written.unwrap_or(*fields);
    }
    parts_fit_their_head(raw, &request, &response, complaints);
    (request, response)
}

/// A part that is longer than the whole could never come.
fn parts_fit_their_head(
    raw: &RawLimits,
    request: &RequestLimits,
    response: &ResponseLimits,
    complaints: &mut Complaints<'_>,
) {
    let place = |keys: [&Option<At<String>>; 3]| -> Range<usize> {
        keys.into_iter().flatten().map(|size| size.at.clone()).next().unwrap_or_default()
    };
    if request.head < request.line.max(request.field_value) {
        let text = "`head_total` is smaller than `request_line` or `header_value`; make it at least as large";
        complaints.add(&place([&raw.head_total, &raw.request_line, &raw.header_value]), text);
    }
    if response.head < response.line.max(response.field_line) {
        let text = "`response_head_total` is smaller than `response_status_line` or `response_header`; make it at least \
                    as large";
        let keys = [&raw.response_head_total, &raw.response_status_line, &raw.response_header];
        complaints.add(&place(keys), text);
    }
}

pub(super) fn byte_size(
    key: &str,
    written: &At<String>,
    bounds: RangeInclusive<usize>,
    complaints: &mut Complaints<'_>,
) -> Option<usize> {
    let size = parsed::<Size>(key, written, complaints)?.0;
    let fits = bounds.contains(&size);
    if !fits {
        let (least, most) = (spelled(*bounds.start()), spelled(*bounds.end()));
        complaints.add(&written.at, format!("`{key}` is {:?}; write {least} to {most}", written.value));
    }
    fits.then_some(size)
}

/// As it would be written.
fn spelled(size: usize) -> String {
    match size {
        size if size >= MIB => format!("{}MiB", size / MIB),
        size if size >= KIB => format!("{}KiB", size / KIB),
        size => format!("{size}B"),
    }
}
