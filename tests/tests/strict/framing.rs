//! Where a request's body ends: `Content-Length`, `Transfer-Encoding`, both, neither.

use it::message::Framing;

use super::{Refused, get, post, seen_by_dyno};

/// A POST with this header line and five bytes.
fn hello(field: &str) -> String {
    post(&format!("{field}\r\n"), "hello")
}

#[test]
fn a_length_that_is_no_plain_number_is_400() {
    let lengths = [
        "",
        "+5",
        "-5",
        "0x5",
        "5 5",
        "5, 5",
        "5,5",
        ",5",
        "5,",
        "5;",
        "5.0",
        "1e3",
        "five",
        "5_0",
        "\"5\"",
        "'5'",
        "5\u{a0}",
        "\u{ff15}",
        "5 ;a=b",
        "[5]",
        "9223372036854775808",  // 2^63
        "18446744073709551616", // 2^64: HAProxy 2.6 counts it as no body and passes it on
        "18446744073709551621", // 2^64 + 5
        "99999999999999999999",
        "00000000000000000005",
        "340282366920938463463374607431768211461", // 2^128 + 5
    ];
    Refused::default()
        .with(400, "bad content length", lengths.map(|n| (n, hello(&format!("Content-Length: {n}")))))
        .with(
            400,
            "bad content length",
            [
                ("good, then bad", hello("Content-Length: 5\r\nContent-Length: +5")),
                ("bad, then good", hello("Content-Length: x\r\nContent-Length: 5")),
                ("on a GET", get("Content-Length: +0\r\n")),
            ],
        )
        .check();
}

#[test]
fn several_lengths_that_differ_are_400() {
    Refused::default()
        .with(
            400,
            "several content lengths",
            [
                ("two", hello("Content-Length: 5\r\nContent-Length: 6")),
                ("the larger first", hello("Content-Length: 6\r\nContent-Length: 5")),
                ("zero and five", hello("Content-Length: 0\r\nContent-Length: 5")),
                ("three", hello("Content-Length: 5\r\nContent-Length: 5\r\nContent-Length: 6")),
                ("in another case", hello("Content-Length: 5\r\ncontent-LENGTH: 6")),
                ("apart", hello("Content-Length: 5\r\nX-Between: 1\r\nContent-Length: 6")),
            ],
        )
        .check();
}

#[test]
fn lengths_that_are_equal_reach_the_dyno_as_one() {
    for (label, fields) in [
        ("two", "Content-Length: 5\r\nContent-Length: 5\r\n"),
        ("three, apart", "Content-Length: 5\r\nX-A: 1\r\ncontent-length: 5\r\nContent-Length:5\r\n"),
        ("with blanks around", "Content-Length: \t 5 \t\r\n"),
        ("with leading zeros", "Content-Length: 0005\r\nContent-Length: 5\r\n"),
    ] {
        let seen = seen_by_dyno(post(fields, "hello"));
        assert_eq!((seen.all("Content-Length"), seen.text().as_str()), (vec!["5"], "hello"), "{label}");
    }
}

#[test]
fn a_length_beside_a_coding_is_400_whichever_comes_first() {
    let both = |fields: &str| post(fields, "0\r\n\r\n");
    Refused::default()
        .with(
            400,
            "content length and transfer encoding",
            [
                ("the length first", both("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")),
                ("the coding first", both("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n")),
                ("the right length", both("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n")),
                ("in odd case", both("tRANSFER-eNCODING: ChUnKeD\r\ncONTENT-lENGTH: 5\r\n")),
                ("a bad length", both("Transfer-Encoding: chunked\r\nContent-Length: +5\r\n")),
            ],
        )
        .check();
}

#[test]
fn a_coding_that_is_not_one_final_chunked_is_400() {
    let codings = [
        "",
        ",",
        "identity",
        "gzip",
        "chunked, gzip",
        "chunked, identity",
        "chunked, chunked",
        "gzip, chunked, chunked",
        "chunked;q=1",
        "chunked; a=b",
        "\"chunked\"",
        "'chunked'",
        "xchunked",
        "chunkedx",
        "chunk",
        "chunked gzip",
        "chunked\u{a0}",
        "gzip;q=1, chunked",
        "chun ked",
        "c\u{127}unked",
    ];
    let coded = |coding: &str| post(&format!("Transfer-Encoding: {coding}\r\n"), "0\r\n\r\n");
    Refused::default()
        .with(400, "bad transfer encoding", codings.map(|coding| (coding, coded(coding))))
        .with(
            400,
            "bad transfer encoding",
            [
                ("twice", coded("chunked\r\nTransfer-Encoding: chunked")),
                ("chunked, then identity", coded("chunked\r\nTransfer-Encoding: identity")),
                ("chunked, then nothing", coded("chunked\r\nTransfer-Encoding:")),
                ("in HTTP/1.0", coded("chunked").replace("HTTP/1.1", "HTTP/1.0")),
                ("gzip in HTTP/1.0", coded("gzip, chunked").replace("HTTP/1.1", "HTTP/1.0")),
                ("on a GET", get("Transfer-Encoding: identity\r\n")),
            ],
        )
        .check();
}

#[test]
fn a_coding_that_is_sound_but_unknown_is_501() {
    let coded = |coding: &str| post(&format!("Transfer-Encoding: {coding}\r\n"), "0\r\n\r\n");
    Refused::default()
        .with(
            501,
            "unknown transfer encoding",
            [
                ("gzip", coded("gzip, chunked")),
                ("two of them", coded("deflate, gzip,chunked")),
                ("in two lines", coded("gzip\r\nTransfer-Encoding: chunked")),
                ("beside a length", coded("gzip, chunked\r\nContent-Length: 5")),
            ],
        )
        .check();
}

#[test]
fn chunked_in_any_case_is_passed_on_as_one_plain_chunked() {
    for (label, coding) in
        [("odd case", "cHuNkEd"), ("blanks", "\t chunked \t"), ("an empty element", ", chunked")]
    {
        let seen = seen_by_dyno(post(&format!("Transfer-Encoding:{coding}\r\n"), "5\r\nhello\r\n0\r\n\r\n"));
        assert_eq!(seen.all("Transfer-Encoding"), ["chunked"], "{label}");
        assert_eq!(seen.text(), "hello", "{label}");
    }
}

#[test]
fn a_body_passes_with_any_method_and_without_framing_there_is_none() {
    for method in ["GET", "DELETE", "OPTIONS", "REPORT"] {
        let request = format!("{method} / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(seen_by_dyno(request).text(), "hello", "{method}");
    }
    let seen = seen_by_dyno(post("", ""));
    assert_eq!(seen.framing, Framing::Empty);
}

#[test]
fn a_length_of_zeros_is_passed_on_as_zero() {
    for length in ["0", "000"] {
        let seen = seen_by_dyno(post(&format!("Content-Length: {length}\r\n"), ""));
        assert_eq!(seen.all("Content-Length"), ["0"], "{length}");
    }
}
