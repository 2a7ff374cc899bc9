//! Header names with an underscore, which many app servers cannot tell from one with a dash.

use router_core::server::{ContentLengthWithChunked, ServerOptions, Underscores};

use it::{Router, fakes::ok};

use super::{Refused, get, post, seen_by_dyno_of};

fn underscores(policy: Underscores) -> impl Fn(&mut ServerOptions) {
    move |options| options.request_policy.underscores = policy
}

/// Names that, read with a dash, frame a message, belong to one connection, or are written by the router.
const SHADOWS: [&str; 24] = [
    "Content_Length",
    "CONTENT_LENGTH",
    "Transfer_Encoding",
    "Transfer-Encoding_",
    "transfer_encoding",
    "X_Forwarded_For",
    "X-Forwarded_For",
    "X_Forwarded-For",
    "X_Forwarded_Proto",
    "X_Forwarded_Port",
    "X_Forwarded_Host",
    "X_Forwarded_Prefix",
    "X_Forwarded_Ssl_And_A_Long_Tail_Behind_It",
    "X_Request_Id",
    "X-Request_Id",
    "X_Request_Start",
    "Keep_Alive",
    "Proxy_Connection",
    "Proxy_Authorization",
    "Http2_Settings",
    "Set_Cookie",
    "X_REQUEST-START",
    "x_forwarded_for",
    "X-FORWARDED_FOR",
];

#[test]
fn a_name_that_shadows_another_by_underscores_never_reaches_a_dyno() {
    let shadows = SHADOWS.into_iter().filter(|name| !name.ends_with('_'));
    let fields: String = shadows.clone().map(|name| format!("{name}: 127.0.0.9\r\n")).collect();
    for policy in [Underscores::Keep, Underscores::Drop] {
        let seen =
            seen_by_dyno_of(underscores(policy), post(&format!("{fields}Content-Length: 5\r\n"), "hello"));
        for name in shadows.clone() {
            assert_eq!(seen.all(name), [] as [&str; 0], "{name}");
        }
        assert!(!seen.fields.iter().any(|(_, value)| value.contains("127.0.0.9")), "{:?}", seen.fields);
        assert_eq!(seen.text(), "hello");
    }
}

#[test]
fn harmless_underscores_are_kept_dropped_or_refused_as_the_policy_says() {
    let request = get("my_header: 1\r\nTransfer-Encoding_: 2\r\n_: 3\r\nMy-Header: 4\r\n");
    let seen = |policy| {
        let seen = seen_by_dyno_of(underscores(policy), &request);
        ["my_header", "Transfer-Encoding_", "_", "My-Header"].map(|name| seen.get(name).map(str::to_owned))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(seen(Underscores::Keep), [some("1"), some("2"), some("3"), some("4")]);
    assert_eq!(seen(Underscores::Drop), [None, None, None, some("4")]);
    let refused = ["my_header", "_", "Transfer_Encoding", "X_Forwarded_For", "Content_Length"];
    Refused::default()
        .with(400, "underscore in header name", refused.map(|name| (name, get(&format!("{name}: 1\r\n")))))
        .check_with(underscores(Underscores::Refuse));
    assert_eq!(
        seen_by_dyno_of(underscores(Underscores::Refuse), get("my-header: a_b\r\n")).get("my-header"),
        Some("a_b")
    );
}

#[test]
fn a_dynos_underscored_framing_header_does_not_reach_a_client() {
    let (_dyno, _router, mut client, mut wire) = super::sent(get(""));
    wire.request();
    wire.send("HTTP/1.1 200 OK\r\nContent_Length: 99\r\nTransfer_Encoding: chunked\r\nmy_own: 1\r\nContent-Length: 2\r\n\r\nok");
    let response = client.response();
    assert_eq!((response.get("Content_Length"), response.get("Transfer_Encoding")), (None, None));
    assert_eq!((response.get("my_own"), response.text().as_str()), (Some("1"), "ok"));
}

fn chunked_wins(options: &mut ServerOptions) {
    options.request_policy.content_length_with_chunked = ContentLengthWithChunked::ChunkedWins;
}

#[test]
fn when_chunked_wins_the_length_is_not_passed_on_and_the_connection_closes_behind_it() {
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 500\r\nContent-Length: 500\r\n",
    ] {
        let dyno = it::Dyno::listening();
        let router = Router::start_with(it::App::new([dyno.address]), chunked_wins);
        let mut client = router.client();
        client.try_send(post(fields, "5\r\nhello\r\n0\r\n\r\n") + &get("X-Smuggled: 1\r\n"));
        let mut wire = dyno.accept();
        let seen = wire.request();
        assert_eq!((seen.text().as_str(), seen.get("Content-Length")), ("hello", None), "{fields}");
        wire.send(ok("done"));
        let response = client.response();
        assert_eq!((response.text().as_str(), response.connection_has("close")), ("done", true), "{fields}");
        client.is_closed();
        wire.is_quiet();
        dyno.nobody_else_came();
    }
}

#[test]
fn when_chunked_wins_everything_else_with_two_meanings_is_still_refused() {
    let both = |fields: &str| post(&format!("{fields}Transfer-Encoding: chunked\r\n"), "0\r\n\r\n");
    Refused::default()
        .with(
            400,
            "content length and transfer encoding",
            [
                ("a bad length", both("Content-Length: +5\r\n")),
                ("two lengths", both("Content-Length: 5\r\nContent-Length: 6\r\n")),
            ],
        )
        .with(
            400,
            "bad transfer encoding",
            [("HTTP/1.0", both("Content-Length: 5\r\n").replace("HTTP/1.1", "HTTP/1.0"))],
        )
        .with(
            501,
            "unknown transfer encoding",
            [("gzip", both("Content-Length: 5\r\nTransfer-Encoding: gzip\r\n"))],
        )
        .check_with(chunked_wins);
}
