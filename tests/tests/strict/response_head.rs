//! What a dyno's response head may be. What is none is H17 (503), what breaks a limit is H25 (502), and the
//! connection it came over is not used again.

use it::{Dyno, Router, fakes::ok, filler, message::latin1};

use super::get;

/// Why this response was not answered with this status and code, or its connection was used again.
fn not_refused(response: &[u8], status: u16, code: &str) -> Option<String> {
    let dyno = Dyno::listening();
    let mut router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(get(""));
    let mut wire = dyno.accept();
    wire.request();
    wire.try_send(response);
    let answer = latin1(&client.rest());
    if !wire.rest().is_empty() {
        return Some("the connection was used again".into());
    }
    let line = router.line();
    let sound = answer.starts_with(&format!("HTTP/1.1 {status} "))
        && answer.matches("HTTP/1.1").count() == 1
        && (line.get("code"), line.number("status")) == (code, u64::from(status));
    // And the next request gets a new connection and its own answer.
    let mut next = router.client();
    next.send(get(""));
    let mut wire = dyno.accept();
    wire.request();
    wire.send(ok("next"));
    let next = next.response().text();
    (!sound || next != "next").then(|| format!("{answer:?}, logged {line:?}, then {next:?}"))
}

#[track_caller]
fn all_refused<R: AsRef<[u8]>>(status: u16, code: &str, cases: impl IntoIterator<Item = (&'static str, R)>) {
    let wrong: Vec<_> = cases
        .into_iter()
        .filter_map(|(label, response)| {
            Some(format!("{label}: {}", not_refused(response.as_ref(), status, code)?))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn with(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok")
}

#[test]
fn a_status_line_that_is_none_is_h17() {
    let line = |line: &str| format!("{line}\r\nContent-Length: 2\r\n\r\nok");
    all_refused(
        503,
        "H17",
        [
            ("two blanks before the status", line("HTTP/1.1  200 OK")),
            ("no status", line("HTTP/1.1 OK")),
            ("two digits", line("HTTP/1.1 20 OK")),
            ("four digits", line("HTTP/1.1 2000 OK")),
            ("a status below 100", line("HTTP/1.1 099 OK")),
            ("a sign", line("HTTP/1.1 +20 OK")),
            ("no digits", line("HTTP/1.1 2x0 OK")),
            ("HTTP/1.2", line("HTTP/1.2 200 OK")),
            ("HTTP/2.0", line("HTTP/2.0 200 OK")),
            ("HTTP/0.9", line("HTTP/0.9 200 OK")),
            ("lower case", line("http/1.1 200 OK")),
            ("a tab", line("HTTP/1.1\t200 OK")),
            ("a NUL in the phrase", line("HTTP/1.1 200 O\0K")),
            ("a bare CR in the phrase", line("HTTP/1.1 200 O\rK")),
            ("a request", line("GET / HTTP/1.1")),
            ("an empty line before it", line("\r\nHTTP/1.1 200 OK")),
            ("an LF before it", line("\nHTTP/1.1 200 OK")),
            ("a blank before it", line(" HTTP/1.1 200 OK")),
            ("a body without a head", "<html></html>\r\n\r\n".into()),
            ("TLS", "\x15\x03\x01\0\x02\x02\x28\r\n\r\n".into()),
            ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()),
        ],
    );
}

#[test]
fn header_lines_with_two_readings_are_h17() {
    all_refused(
        503,
        "H17",
        [
            ("a bare LF behind the status line", "HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok".into()),
            ("a bare LF behind a header", with("X-A: b\n")),
            ("a bare LF for the empty line", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok".into()),
            ("bare LFs", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok".into()),
            ("a bare CR", with("X-A: b\rX-C: d\r\n")),
            ("a NUL", with("X-A: \0\r\n")),
            ("a NUL in a name", with("X\0A: b\r\n")),
            ("ESC", with("X-A: \x1b\r\n")),
            ("a folded header", with("X-A: b\r\n c\r\n")),
            ("a folded first header", with(" X-A: b\r\n")),
            ("a blank before the colon", with("X-A : b\r\n")),
            ("no colon", with("X-A\r\n")),
            ("no name", with(": b\r\n")),
            ("a name that is no token", with("X(A): b\r\n")),
        ],
    );
}

#[test]
fn a_head_beyond_a_limit_is_h25() {
    let long = |len: usize| latin1(&filler(len));
    let many = (0..1100).map(|n| format!("X-{n}: {n}\r\n")).collect::<String>();
    all_refused(
        502,
        "H25",
        [
            ("a status line", format!("HTTP/1.1 200 {}\r\n\r\n", long(9000))),
            ("a status line without an end", format!("HTTP/1.1 200 {}", long(9000))),
            ("a cookie", with(&format!("Set-Cookie: {}\r\n", long(8192)))),
            ("a header line", with(&format!("X-A: {}\r\n", long(600 << 10)))),
            ("a header line without an end", format!("HTTP/1.1 200 OK\r\nX-A: {}", long(600 << 10))),
            ("too many headers", with(&many)),
            ("a head", with(&format!("X-A: {}\r\n", long(500 << 10)).repeat(3))),
        ],
    );
}

#[test]
fn limits_of_responses_are_those_of_the_options() {
    let dyno = Dyno::listening();
    let mut router = Router::start_with(it::App::new([dyno.address]), |options| {
        let limits = &mut options.response_limits;
        (limits.line, limits.field_line, limits.cookie_line) = (100, 200, 50);
        (limits.fields, limits.head) = (6, 600);
    });
    let long = |len: usize| latin1(&filler(len));
    for (label, response) in [
        ("status line", format!("HTTP/1.1 200 {}\r\nContent-Length: 0\r\n\r\n", long(100))),
        ("header", with(&format!("X-A: {}\r\n", long(200)))),
        ("cookie", with(&format!("Set-Cookie: {}\r\n", long(50)))),
        ("headers", with(&"X-A: b\r\n".repeat(6))),
        ("head", with(&format!("X-A: {}\r\n", long(190)).repeat(3))),
    ] {
        let mut client = router.client();
        client.send(get(""));
        let mut wire = dyno.accept();
        wire.request();
        wire.try_send(response);
        assert_eq!(client.response().status(), 502, "{label}");
        wire.is_closed();
        assert_eq!(router.code(), "H25", "{label}");
    }
}

#[test]
fn odd_heads_that_have_one_meaning_pass() {
    for (label, head, status) in [
        ("no phrase", "HTTP/1.1 200", 200),
        ("an empty phrase", "HTTP/1.1 200 ", 200),
        ("an unknown status", "HTTP/1.1 799 What", 799),
        ("HTTP/1.0", "HTTP/1.0 404 Not Found", 404),
    ] {
        let dyno = Dyno::listening();
        let router = Router::to(dyno.address);
        let mut client = router.client();
        client.send(get(""));
        let mut wire = dyno.accept();
        wire.request();
        wire.send(format!("{head}\r\nContent-Length: 2\r\nx-ODD:  a  b \r\n\r\nok"));
        let response = client.response();
        assert_eq!((response.status(), response.text().as_str()), (status, "ok"), "{label}");
        assert_eq!(response.get("x-odd"), Some("a  b"), "{label}");
        assert!(response.fields.iter().any(|(name, _)| name == "x-ODD"), "{label}");
    }
}
