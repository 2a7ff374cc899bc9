//! Headers both ways.

use it::filler;

use super::{GET, breaks_a_limit, get, is_refused, post, seen_by_client, seen_by_dyno};

#[test]
fn s015_two_different_content_lengths_are_400() {
    is_refused(post("Content-Length: 5\r\nContent-Length: 11\r\n", "hello"), 400, "");
}

#[test]
fn s016_a_list_of_content_lengths_is_400() {
    is_refused(post("Content-Length: 10,10\r\n", "0123456789"), 400, "");
    is_refused(post("Content-Length: 15,24\r\n", "0123456789"), 400, "");
}

#[test]
fn s017_two_equal_content_lengths_become_one() {
    let request = seen_by_dyno(post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"));
    assert_eq!((request.content_length(), request.text().as_str()), (Some(5), "hello"));
}

const LENGTH: &str = "HTTP restriction: invalid content length";

#[test]
fn s018_two_different_content_lengths_of_a_response_are_502() {
    let body = "x".repeat(43);
    breaks_a_limit(
        format!("HTTP/1.1 200 OK\r\nContent-Length: 43\r\nContent-Length: 41\r\n\r\n{body}"),
        LENGTH,
    );
}

#[test]
fn s019_a_list_of_content_lengths_of_a_response_is_502() {
    let body = "x".repeat(43);
    breaks_a_limit(format!("HTTP/1.1 200 OK\r\nContent-Length: 43,41\r\n\r\n{body}"), LENGTH);
}

#[test]
fn s020_two_equal_content_lengths_of_a_response_become_one() {
    let response = seen_by_client("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!((response.content_length(), response.text().as_str()), (Some(2), "ok"));
}

const HOP_BY_HOP: &str = "TE: trailers\r\nKeep-Alive: timeout=5\r\nProxy-Authorization: Basic eDp5\r\n\
    Trailer: X-Sum\r\nProxy-Authentication: x\r\nX-Own: y\r\n";

fn has_no_hop_by_hop(head: &it::Head) {
    for gone in ["TE", "Keep-Alive", "Proxy-Authorization"] {
        assert_eq!(head.get(gone), None, "{gone}");
    }
    for (kept, value) in [("Trailer", "X-Sum"), ("Proxy-Authentication", "x"), ("X-Own", "y")] {
        assert_eq!(head.get(kept), Some(value), "{kept}");
    }
}

#[test]
fn s021_hop_by_hop_headers_stay_on_their_hop() {
    has_no_hop_by_hop(&seen_by_dyno(get(HOP_BY_HOP)));
    has_no_hop_by_hop(&seen_by_client(format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{HOP_BY_HOP}\r\n")));
}

#[test]
fn s021_headers_named_in_connection_stay_on_their_hop() {
    let named = "Connection: X-Secret, keep-alive\r\nX-Secret: 1\r\nX-Own: y\r\n";
    let request = seen_by_dyno(get(named));
    assert_eq!((request.get("X-Secret"), request.get("X-Own")), (None, Some("y")));
    let response = seen_by_client(format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{named}\r\n"));
    assert_eq!((response.get("X-Secret"), response.get("X-Own")), (None, Some("y")));
}

#[test]
fn s022_a_cookie_line_over_8192_bytes_is_502() {
    let cookie =
        [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: ", &*filler(8193), b"\r\n\r\n"].concat();
    breaks_a_limit(cookie, "HTTP restriction: oversized cookie");
}

#[test]
fn s022_a_cookie_line_of_8192_bytes_passes() {
    let value = filler(8192 - "Set-Cookie: ".len());
    let bytes = [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: ", &*value, b"\r\n\r\n"].concat();
    assert_eq!(seen_by_client(bytes).get("Set-Cookie").map(str::as_bytes), Some(&*value));
}

#[test]
fn s023_a_header_line_of_1_mib_is_502() {
    let huge = [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Huge: ", &*filler(1 << 20), b"\r\n\r\n"].concat();
    breaks_a_limit(huge, "HTTP restriction: oversized header");
}

#[test]
fn s023_a_header_line_of_half_a_mib_passes() {
    let value = filler(512 * 1024 - "X-Large: ".len());
    let bytes = [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Large: ", &*value, b"\r\n\r\n"].concat();
    assert_eq!(seen_by_client(bytes).get("X-Large").map(str::as_bytes), Some(&*value));
}

#[test]
fn s024_a_status_line_of_1_mib_is_502() {
    let huge = [b"HTTP/1.1 200 ", &*filler(1 << 20), b"\r\nContent-Length: 0\r\n\r\n"].concat();
    breaks_a_limit(huge, "HTTP restriction: oversized status line");
}

#[test]
fn s025_via_names_the_router_to_both_sides() {
    assert_eq!(seen_by_dyno(GET).get("Via"), Some("1.1 busbar"));
    assert_eq!(seen_by_client("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").get("Via"), Some("1.1 busbar"));
}

#[test]
fn s026_via_keeps_what_was_there() {
    let via = Some("1.1 proxy, 1.1 busbar");
    assert_eq!(seen_by_dyno(get("Via: 1.1 proxy\r\n")).get("Via"), via);
    let response = seen_by_client("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nVia: 1.1 proxy\r\n\r\n");
    assert_eq!(response.get("Via"), via);
}

#[test]
fn s027_any_status_and_phrase_pass() {
    let response = seen_by_client("HTTP/1.1 666 THE NUMBER OF THE BEAST\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(response.start, "HTTP/1.1 666 THE NUMBER OF THE BEAST");
}

#[test]
fn s028_names_are_passed_on_as_they_are_spelled() {
    let odd = ("x-oDD-cAse".to_owned(), "VaLue".to_owned());
    assert!(seen_by_dyno(get("x-oDD-cAse: VaLue\r\n")).fields.contains(&odd));
    let response = seen_by_client("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nx-oDD-cAse: VaLue\r\n\r\n");
    assert!(response.fields.contains(&odd));
}

#[test]
fn s029_headers_of_one_name_keep_their_order() {
    let three = "X-Test: 1\r\nX-Other: a\r\nX-Test: 2\r\nX-Test: 3\r\n";
    assert_eq!(seen_by_dyno(get(three)).all("X-Test"), ["1", "2", "3"]);
    let response = seen_by_client(format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{three}\r\n"));
    assert_eq!(response.all("X-Test"), ["1", "2", "3"]);
}

#[test]
fn s030_two_hosts_are_400_even_if_they_are_equal() {
    is_refused(get("Host: app.test\r\n"), 400, "");
    is_refused(get("Host: other.test\r\n"), 400, "");
}

#[test]
fn s031_no_host_and_an_empty_host_are_400() {
    is_refused("GET / HTTP/1.1\r\n\r\n", 400, "");
    is_refused("GET / HTTP/1.0\r\n\r\n", 400, "");
    is_refused("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "");
    is_refused("GET / HTTP/1.1\r\nHost: \r\n\r\n", 400, "");
}

#[test]
fn what_heroku_repairs_and_others_read_differently_is_400() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", // length and coding
        "X-Folded: a\r\n b\r\n",                               // a folded header
        "X-Space : a\r\n",                                     // a space before the colon
        "X-Bare: a\nX-Next: b\r\n",                            // a bare LF
        "X-Nul: a\0b\r\n",                                     // a NUL
        "Transfer-Encoding: chunked, gzip\r\n",                // another coding
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", // chunked twice
        "Content-Length: +5\r\n",                              // a sign
    ] {
        is_refused(post(fields, "0\r\n\r\n"), 400, "");
    }
}
