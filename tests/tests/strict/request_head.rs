//! The request line, the header lines, the host, and how long each may be.

use it::{fakes::ok, filler, message::latin1};

use super::{Refused, get, seen_by_dyno, sent};

/// A request with this request line.
fn line(line: &str) -> String {
    format!("{line}\r\nHost: app.test\r\n\r\n")
}

/// A GET with this value for `Host`.
fn host(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

fn long(len: usize) -> String {
    latin1(&filler(len))
}

#[test]
fn a_request_line_that_is_not_method_target_version_is_400() {
    let lines = [
        "GET",
        "GET /",
        "GET HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/\tHTTP/1.1",
        "GET / a HTTP/1.1",
        "GET /\x0b HTTP/1.1",
        "/ GET HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP /1.1",
        "GET / HTTP/ 1.1",
        "GET / HTTPS/1.1",
        "GET / FTP/1.1",
        "GET / HTTP/1.1\x00",
        "GET / HTTP/1.10",
        "GET / HTTP/1.1.1",
        "G(T / HTTP/1.1",
        "G\"T / HTTP/1.1",
        "G\u{e9}T / HTTP/1.1",
        "GET: / HTTP/1.1",
        "GET /\x01 HTTP/1.1",
        "GET /\x7f HTTP/1.1",
        "GET /a b HTTP/1.1",
        "HTTP/1.1 200 OK",
        "\x16\x03\x01\x02\x00\x01\x00\x01\x7c",
        "{\"a\": 1}",
    ];
    Refused::default()
        .with(400, "bad request line", lines.map(|text| (text, line(text))))
        .with(
            400,
            "bad request line",
            [
                ("HTTP/0.9", "GET /\r\n"),
                ("HTTP/0.9, a target", "GET /index.html\r\n\r\n"),
                ("a bare CR in it", "GET /a\rb HTTP/1.1\r\nHost: app.test\r\n\r\n"),
                (
                    "six empty lines before it",
                    "\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: app.test\r\n\r\n",
                ),
            ],
        )
        .check();
}

#[test]
fn a_version_other_than_1_0_and_1_1_is_505() {
    let versions = [
        "HTTP/0.9", "HTTP/1.2", "HTTP/1.9", "HTTP/2.0", "HTTP/2", "HTTP/3.0", "HTTP/9.9", "HTTP/1", "HTTP/1.",
    ];
    Refused::default()
        .with(505, "HTTP version not supported", versions.map(|v| (v, line(&format!("GET / {v}")))))
        .with(
            505,
            "HTTP version not supported",
            [(
                "the preface of HTTP/2 in the clear",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".as_slice(),
            )],
        )
        .check();
}

#[test]
fn connect_and_a_method_of_128_characters_are_400() {
    Refused::default()
        .with(
            400,
            "CONNECT is not supported",
            [
                ("authority form", line("CONNECT app.test:80 HTTP/1.1")),
                ("origin form", line("CONNECT / HTTP/1.1")),
            ],
        )
        .with(400, "bad method", [("128", line(&format!("{} / HTTP/1.1", "M".repeat(128))))])
        .check();
    let method = "M".repeat(127);
    assert_eq!(seen_by_dyno(line(&format!("{method} / HTTP/1.1"))).method(), method);
    assert_eq!(seen_by_dyno(line("get / HTTP/1.1")).method(), "get");
}

#[test]
fn a_target_in_no_form_for_servers_is_400() {
    let targets = [
        "*",
        "a",
        "a/b",
        "?a",
        "#",
        "#/a",
        "app.test",
        "app.test:80",
        "app.test/",
        "ftp://app.test/",
        "http:/a",
        "http:///a",
        "http://",
        "http://app.test",
        "https://app.test?a",
        "http:app.test/",
        "\\",
        "javascript:/a",
        ":/a",
        "..",
        "%2f",
    ];
    let bad_host = [
        "http:///a",
        "http://app.test?a=/",
        "http://user@app.test/",
        "http://a:b@app.test/",
        "http://app.test:x/",
        "http://app..test/",
        "http://[::1/",
        "http://app.test%00/",
        "http://\u{e4}pp.test/",
    ];
    let other = ["http://other.test/", "http://app.test:81/", "http://app.test.evil/", "https://probe.test/"];
    let targets = targets.into_iter().filter(|target| !bad_host.contains(target));
    let get = |target: &str| line(&format!("GET {target} HTTP/1.1"));
    Refused::default()
        .with(400, "bad request target", targets.map(|t| (t, get(t))))
        .with(400, "bad host", bad_host.map(|t| (t, get(t))))
        .with(400, "host mismatch", other.map(|t| (t, get(t))))
        .with(400, "bad request target", [("* without OPTIONS", line("POST * HTTP/1.1"))])
        .check();
}

#[test]
fn targets_reach_the_dyno_in_origin_form_and_otherwise_unchanged() {
    for (target, seen) in [
        ("/", "/"),
        ("//a//b", "//a//b"),
        ("/a/../b/./c", "/a/../b/./c"),
        ("/%2e%2E/%zz", "/%2e%2E/%zz"),
        ("/a?b=c&d?e//f", "/a?b=c&d?e//f"),
        ("/a#b", "/a"),
        ("http://app.test/a?b", "/a?b"),
        ("HTTP://APP.test/a", "/a"),
        ("https://app.test/", "/"),
        ("/http://other.test/", "/http://other.test/"),
        ("/a|{}\\^`<>", "/a|{}\\^`<>"),
    ] {
        assert_eq!(seen_by_dyno(line(&format!("GET {target} HTTP/1.1"))).target(), seen, "{target}");
    }
    assert_eq!(seen_by_dyno(line("OPTIONS * HTTP/1.1")).target(), "*");
}

#[test]
fn no_host_several_hosts_and_a_host_that_is_none_are_400() {
    let hosts = [
        "",
        "a b",
        "app.test, app.test",
        "app.test app.test",
        "user@app.test",
        "app.test/",
        "http://app.test",
        "app.test?",
        "app.test#",
        "app.test:x",
        "app.test:80x",
        "app.test:+80",
        "app.test:-1",
        "app.test:65536",
        "app.test:000080",
        "app.test:80:80",
        "app.test: 80",
        ".app.test",
        "app..test",
        "..",
        ".",
        ":80",
        "[::1",
        "::1",
        "[::1]x",
        "[app.test]",
        "[::1]:x",
        "app%2etest",
        "app.test\\evil",
        "\u{e4}pp.test",
        "app_.test\"",
        "app.test\t.b",
    ];
    Refused::default()
        .with(400, "bad host", hosts.map(|text| (text, host(text))))
        .with(400, "bad host", [("254 characters", host(&"a".repeat(254)))])
        .with(
            400,
            "missing host",
            [
                ("1.1", "GET / HTTP/1.1\r\n\r\n"),
                ("1.0", "GET / HTTP/1.0\r\n\r\n"),
                ("absolute form", "GET http://app.test/ HTTP/1.1\r\n\r\n"),
                ("only its double", "GET / HTTP/1.1\r\nX-Host: app.test\r\n\r\n"),
            ],
        )
        .with(
            400,
            "several hosts",
            [
                ("equal", get("Host: app.test\r\n")),
                ("different", get("Host: other.test\r\n")),
                ("in another case", get("hOST: app.test\r\n")),
                ("an empty one", get("Host:\r\n")),
            ],
        )
        .check();
}

#[test]
fn header_lines_with_two_readings_are_400() {
    Refused::default()
        .with(
            400,
            "bare LF",
            [
                ("behind the request line", "GET / HTTP/1.1\nHost: app.test\r\n\r\n"),
                ("behind a header", "GET / HTTP/1.1\r\nHost: app.test\nX-A: b\r\n\r\n"),
                ("behind the last header", "GET / HTTP/1.1\r\nHost: app.test\n\r\n"),
                ("for the empty line", "GET / HTTP/1.1\r\nHost: app.test\r\n\n"),
                ("everywhere", "GET / HTTP/1.1\nHost: app.test\n\n"),
                ("before the request line", "\nGET / HTTP/1.1\r\nHost: app.test\r\n\r\n"),
            ],
        )
        .with(
            400,
            "bare CR",
            [
                ("in a value", get("X-A: b\rX-C: d\r\n")),
                ("at the end of a value", get("X-A: b\r\r\n")),
                ("at the beginning of a value", get("X-A:\rb\r\n")),
                ("before the request line", "\rGET / HTTP/1.1\r\nHost: app.test\r\n\r\n".into()),
            ],
        )
        .with(
            400,
            "control byte in head",
            [
                ("NUL in a value", get("X-A: b\0c\r\n")),
                ("NUL in Host", "GET / HTTP/1.1\r\nHost: app.test\0\r\n\r\n".into()),
                ("NUL in a name", get("X\0A: b\r\n")),
                ("ESC", get("X-A: \x1b[31m\r\n")),
                ("vertical tab", get("Transfer-Encoding: chunked\x0b\r\n")),
                ("DEL", get("X-A: \x7f\r\n")),
                ("backspace", get("X-A: \x08\r\n")),
            ],
        )
        .with(
            400,
            "folded header",
            [
                ("a blank", get("X-A: b\r\n c\r\n")),
                ("a tab", get("X-A: b\r\n\tc\r\n")),
                ("a folded coding", get("Transfer-Encoding:\r\n chunked\r\n")),
                ("a blank line of blanks", get("X-A: b\r\n  \r\n")),
                ("the first line", "GET / HTTP/1.1\r\n Host: app.test\r\n\r\n".into()),
            ],
        )
        .with(
            400,
            "space before colon",
            [
                ("a blank", get("Transfer-Encoding : chunked\r\n")),
                ("a tab", get("Content-Length\t: 5\r\n")),
                ("Host", "GET / HTTP/1.1\r\nHost : app.test\r\n\r\n".into()),
            ],
        )
        .with(
            400,
            "bad header",
            [
                ("no colon", get("X-A\r\n")),
                ("no name", get(": b\r\n")),
                ("a blank in the name", get("X A: b\r\n")),
                ("a bracket", get("X(A): b\r\n")),
                ("a quote", get("\"X-A\": b\r\n")),
                ("an at", get("X@A: b\r\n")),
                ("a slash", get("X/A: b\r\n")),
                ("not ASCII", get("X-\u{e4}: b\r\n")),
                ("a comma", get("X,A: b\r\n")),
            ],
        )
        .check();
}

#[test]
fn each_part_of_a_head_has_its_bound() {
    let many = |count: usize| get(&(1..count).map(|n| format!("X-{n}: {n}\r\n")).collect::<String>());
    Refused::default()
        .with(
            414,
            "request line too long",
            [
                ("a request line", line(&format!("GET /{} HTTP/1.1", long(9000)))),
                ("one without an end", format!("GET /{}", long(9000))),
                ("a method without an end", "G".repeat(9000)),
            ],
        )
        .with(
            400,
            "header too long",
            [
                ("a name", get(&format!("{}: 1\r\n", "x".repeat(1001)))),
                ("a value", get(&format!("X-Long: {}\r\n", long(8193)))),
                ("Host", host(&long(8193))),
            ],
        )
        .with(400, "too many headers", [("1001", many(1001)), ("5000", many(5000))])
        .with(
            431,
            "request head too large",
            [
                ("many long values", get(&format!("X-Long: {}\r\n", long(8000)).repeat(20))),
                (
                    "one without an end",
                    format!(
                        "{}X: {}",
                        line("GET / HTTP/1.1").trim_end().to_owned() + "\r\n",
                        "x".repeat(200_000)
                    ),
                ),
            ],
        )
        .check();
}

#[test]
fn bounds_are_those_of_the_options() {
    Refused::default()
        .with(414, "request line too long", [("line", line(&format!("GET /{} HTTP/1.1", long(300))))])
        .with(
            400,
            "header too long",
            [
                ("name", get(&format!("{}: 1\r\n", "x".repeat(21)))),
                ("value", get(&format!("X-A: {}\r\n", long(101)))),
            ],
        )
        .with(400, "too many headers", [("headers", get("X-A: b\r\n".repeat(5).as_str()))])
        .with(400, "bad method", [("method", line("DELETE / HTTP/1.1"))])
        .with(431, "request head too large", [("head", get(&format!("X-A: {}\r\n", long(99)).repeat(4)))])
        .check_with(|options| {
            let limits = &mut options.request_limits;
            (limits.line, limits.field_name, limits.field_value) = (256, 20, 100);
            (limits.fields, limits.method, limits.head) = (5, 5, 400);
        });
}

#[test]
fn up_to_five_empty_lines_before_a_request_are_skipped() {
    let (_dyno, router, mut client, mut wire) = sent(format!("{}{}", "\r\n".repeat(5), get("")));
    wire.request();
    wire.send(ok("ok"));
    assert_eq!(client.response().text(), "ok");
    client.send("\r\n");
    router.still_serves(&mut client);
}

#[test]
fn empty_lines_without_an_end_are_400_however_they_come() {
    let dyno = it::Dyno::listening();
    let mut router = it::Router::to(dyno.address);
    let mut client = router.client();
    for _ in 0..4 {
        client.try_send("\r\n\r\n");
        router.still_serves(&mut router.client());
    }
    assert_eq!(client.response().status(), 400);
    client.is_closed();
    assert_eq!(router.line().get("cause"), "bad request line");
    dyno.nobody_else_came();
}

#[test]
fn header_order_and_the_case_of_names_stay_as_they_came() {
    let fields = "zz-LAST: 1\r\nAccept: */*\r\nx-Odd_case: a\r\nX-EMPTY:\r\nzz-last: 2\r\ncookie: a=b\r\n";
    let seen = seen_by_dyno(get(fields));
    let names: Vec<_> = seen.fields.iter().map(|(name, _)| name.as_str()).take(7).collect();
    assert_eq!(names, ["Host", "zz-LAST", "Accept", "x-Odd_case", "X-EMPTY", "zz-last", "cookie"]);
    assert_eq!(seen.all("zz-last"), ["1", "2"]);
}
