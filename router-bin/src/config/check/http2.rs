//! `[http2]`: bounds on connections that speak HTTP/2.

use std::ops::RangeInclusive;

use router_core::server::Http2Limits;

use super::{bounded, heads::byte_size};
use crate::config::{complaint::Complaints, raw::RawHttp2, table::At};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// What a window can be; less than the usual one would make clients wait for each piece.
const WINDOW: RangeInclusive<usize> = 64 * KIB..=64 * MIB;
/// What HTTP/2 allows (RFC 9113 §4.2), up to what a router should hold at a time.
const FRAME: RangeInclusive<usize> = 16 * KIB..=MIB;
const HELD: RangeInclusive<usize> = 64 * KIB..=64 * MIB;

/// What `[http2]` means.
pub(super) fn check(raw: &RawHttp2, complaints: &mut Complaints<'_>) -> Http2Limits {
    let usual = Http2Limits::default();
    let mut size = |key, written: &Option<At<String>>, bounds| {
        written.as_ref().and_then(|size| byte_size(key, size, bounds, complaints))
    };
    let u32 = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
    let sizes = Http2Limits {
        stream_window: size("stream_window", &raw.stream_window, WINDOW).map_or(usual.stream_window, u32),
        connection_window: size("connection_window", &raw.connection_window, WINDOW)
            .map_or(usual.connection_window, u32),
        frame: size("frame", &raw.frame, FRAME).map_or(usual.frame, u32),
        send_buffer: size("send_buffer", &raw.send_buffer, HELD).unwrap_or(usual.send_buffer),
        heads: size("heads", &raw.heads, HELD).unwrap_or(usual.heads),
        held: size("held", &raw.held, HELD).unwrap_or(usual.held),
        ..usual
    };
    let streams =
        raw.streams.as_ref().and_then(|n| bounded("streams", n, 1..=10_000, "write 1 to 10000", complaints));
    let errors = raw.stream_errors.as_ref();
    let errors =
        errors.and_then(|n| bounded("stream_errors", n, 1..=1_000_000, "write 1 to 1000000", complaints));
    Http2Limits {
        streams: streams.unwrap_or(usual.streams),
        stream_errors: errors.unwrap_or(usual.stream_errors),
        ..sizes
    }
}
