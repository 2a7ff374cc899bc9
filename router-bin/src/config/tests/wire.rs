//! `[limits]` of heads and chunks, and `[edge]`.

use router_core::server::{
    ContentLengthWithChunked, Http2Limits, RequestLimits, ResponseLimits, Underscores,
};

use super::{complaints, good};
use crate::config::EdgeRules;

#[test]
fn every_limit_of_heads_and_chunks_is_understood() {
    let limits = good(
        r#"
        [limits]
        request_line = "4KiB"
        method = "32B"
        header_name = "100B"
        header_value = "2KiB"
        header_count = 100
        head_total = "16KiB"
        chunk_line = "64B"
        trailers = "1KiB"
        response_status_line = "1KiB"
        response_header = "64KiB"
        response_cookie = "4KiB"
        response_header_count = 50
        response_head_total = "128KiB"
        "#,
    )
    .limits;
    let (request, response) = (limits.request, limits.response);
    assert_eq!((request.line, request.method, request.field_name), (4096, 32, 100));
    assert_eq!((request.field_value, request.fields, request.head), (2048, 100, 16384));
    assert_eq!((request.chunks.line, request.chunks.trailers, response.chunks), (64, 1024, request.chunks));
    assert_eq!((response.line, response.field_line, response.cookie_line), (1024, 65536, 4096));
    assert_eq!((response.fields, response.head), (50, 131_072));
}

#[test]
fn every_key_of_http2_is_understood() {
    let http2 = good(
        r#"
        [http2]
        streams = 50
        stream_window = "64KiB"
        connection_window = "128KiB"
        frame = "32KiB"
        send_buffer = "512KiB"
        heads = "2MiB"
        held = "8MiB"
        stream_errors = 9
        "#,
    )
    .http2;
    assert_eq!((http2.streams, http2.stream_window, http2.connection_window), (50, 65536, 131_072));
    assert_eq!(
        (http2.frame, http2.send_buffer, http2.heads, http2.stream_errors),
        (32768, 524_288, 2 << 20, 9)
    );
    for (line, expected) in [
        ("streams = 0", "2:11: `streams` is 0; write 1 to 10000"),
        ("frame = \"8KiB\"", "2:9: `frame` is \"8KiB\"; write 16KiB to 1MiB"),
        ("heads = \"1KiB\"", "2:9: `heads` is \"1KiB\"; write 64KiB to 64MiB"),
    ] {
        let told = complaints(&format!("[http2]\n{line}"));
        assert!(told[0].starts_with(expected), "{line}\n got {}\nwant {expected}", told[0]);
    }
}

#[test]
fn http2_is_usual_over_tls_and_must_be_asked_for_without() {
    let http2 = |keys: &str| {
        let listeners = good(&format!("[[listener]]\naddress = \"127.0.0.1:1\"\n{keys}")).listen;
        listeners[0].http2
    };
    assert!(!http2("") && http2("h2c = true"));
    for (keys, expected) in [
        ("http2 = true", "3:9: `http2` is for listeners with `tls`"),
        ("tls = \"modern\"\nh2c = true", "4:7: `h2c` is HTTP/2 without TLS"),
    ] {
        let told = complaints(&format!("[[listener]]\naddress = \"127.0.0.1:1\"\n{keys}"));
        assert!(told.iter().any(|told| told.starts_with(expected)), "{keys}\n got {told:?}\nwant {expected}");
    }
}

#[test]
fn without_these_keys_everything_is_as_the_library_has_it() {
    let config = good("");
    assert_eq!(config.limits.request, RequestLimits::default());
    assert_eq!(config.limits.response, ResponseLimits::default());
    assert_eq!(config.edge, EdgeRules::default());
    assert_eq!(config.http2, Http2Limits::default());
}

#[test]
fn every_key_of_edge_is_understood() {
    let edge = good(
        r#"
        [edge]
        underscores = "drop"
        content_length_with_chunked = "chunked_wins"
        trusted_proxies = ["10.0.0.0/8", "::1"]
        forwarded = true
        "#,
    )
    .edge;
    assert_eq!(edge.policy.underscores, Underscores::Drop);
    assert_eq!(edge.policy.content_length_with_chunked, ContentLengthWithChunked::ChunkedWins);
    assert!(edge.forwarded);
    for (address, trusted) in [("10.9.9.9", true), ("11.0.0.1", false), ("::1", true), ("::2", false)] {
        assert_eq!(edge.trusted_proxies.contains(address.parse().unwrap()), trusted, "{address}");
    }
}

#[test]
fn a_limit_that_makes_no_sense_is_refused_in_words_that_help() {
    for (line, expected) in [
        ("method = \"1B\"", "2:10: `method` is \"1B\"; write 16B to 8KiB"),
        ("header_name = \"9KiB\"", "2:15: `header_name` is \"9KiB\"; write 16B to 8KiB"),
        ("header_count = 0", "2:16: `header_count` is 0; write 1 to 10000"),
        ("chunk_line = \"1MiB\"", "2:14: `chunk_line` is \"1MiB\"; write 16B to 8KiB"),
        ("trailers = \"big\"", "2:12: `trailers` is \"big\"; write a whole number and a unit"),
        ("response_status_line = \"0B\"", "2:24: `response_status_line` is \"0B\"; write 256B to 4MiB"),
        ("response_header = \"5MiB\"", "2:19: `response_header` is \"5MiB\"; write 256B to 4MiB"),
        ("response_cookie = 1", "2:19: `response_cookie` must be text in quotes"),
        ("response_header_count = 20000", "2:25: `response_header_count` is 20000; write 1 to 10000"),
        ("response_head_total = \"1KiB\"", "2:23: `response_head_total` is smaller"),
    ] {
        let told = complaints(&format!("[limits]\n{line}"));
        assert!(told[0].starts_with(expected), "{line}\n got {}\nwant {expected}", told[0]);
    }
}

#[test]
fn a_rule_of_edge_that_makes_no_sense_is_refused_in_words_that_help() {
    for (line, expected) in [
        (
            "underscores = \"allow\"",
            "2:15: `underscores` is \"allow\"; write \"keep\" or \"drop\" or \"refuse\"",
        ),
        (
            "content_length_with_chunked = \"length_wins\"",
            "2:31: `content_length_with_chunked` is \"length_wins\"; write \"refuse\" or \"chunked_wins\"",
        ),
        (
            "trusted_proxies = [\"10.0.0.1/8\"]",
            "2:20: trusted proxy \"10.0.0.1/8\": the network is 10.0.0.0/8; write that",
        ),
        ("trusted_proxies = [\"lb.example\"]", "2:20: trusted proxy \"lb.example\": write a network like"),
        ("trusted_proxies = [\"::1\", \"::1\"]", "2:27: trusted proxy \"::1\" is already on line 2"),
        ("trusted_proxies = \"::1\"", "2:19: `trusted_proxies` must be a list"),
        ("forwarded = \"yes\"", "2:13: `forwarded` must be true or false"),
        ("underscore = \"drop\"", "2:1: unknown key `underscore` in [edge]; did you mean `underscores`?"),
    ] {
        let told = complaints(&format!("[edge]\n{line}"));
        assert!(told[0].starts_with(expected), "{line}\n got {}\nwant {expected}", told[0]);
    }
    let many: Vec<String> = (0..=256).map(|n| format!("\"10.0.{}.{}\"", n / 256, n % 256)).collect();
    let told = complaints(&format!("[edge]\ntrusted_proxies = [{}]", many.join(",")));
    assert!(told[0].ends_with("`trusted_proxies` has more than 256 networks; join them"), "{told:?}");
}

#[test]
fn edge_and_limits_cannot_change_while_it_runs() {
    let differ = |text: &str| good("").fixed_keys_that_differ(&good(text));
    assert_eq!(differ("[edge]\nforwarded = true").as_deref(), Some("[edge]"));
    assert_eq!(differ("[limits]\nchunk_line = \"2KiB\"").as_deref(), Some("[limits]"));
}
