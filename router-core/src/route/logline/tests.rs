use proptest::prelude::*;

use super::*;
use crate::route::fault::{RequestError, RequestFlaw};

fn line() -> LogLine<'static> {
    LogLine {
        fault: None,
        method: b"GET",
        path: b"/x?q=1",
        host: b"shop.example.com",
        request_id: b"01234567-89ab-4def-8123-456789abcdef",
        forwarded_for: b"",
        client: Some([203, 0, 113, 7].into()),
        dyno: "web.1",
        queue: None,
        connect: Some(Duration::from_millis(1)),
        service: Some(Duration::from_micros(18_900)),
        status: Some(200),
        bytes: Some(13),
        protocol: Protocol::Http11,
        tls: Tls::Plain,
    }
}

fn written(line: &LogLine<'_>) -> String {
    let mut out = Vec::new();
    line.write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn an_answered_request_reads_as_herokus() {
    assert_eq!(
        written(&line()),
        "at=info method=GET path=\"/x?q=1\" host=shop.example.com request_id=01234567-89ab-4def-8123-456789abcdef \
         fwd=\"203.0.113.7\" dyno=web.1 connect=1ms service=18ms status=200 bytes=13 protocol=http1.1 tls=false \
         tls_version=unknown"
    );
}

#[test]
fn the_time_in_the_queue_stands_where_herokus_queue_stood() {
    let queued = LogLine { queue: Some(Duration::from_micros(7_900)), ..line() };
    assert!(written(&queued).contains(" dyno=web.1 queue=7ms connect=1ms service=18ms "));
    assert!(!written(&line()).contains("queue"));
}

#[test]
fn a_fault_comes_first_and_what_is_unknown_prints_as_nothing() {
    let crashed = LogLine {
        fault: Some(Fault::AppCrashed),
        forwarded_for: b"10.0.0.1",
        dyno: "",
        connect: None,
        service: None,
        status: Some(503),
        bytes: None,
        tls: Tls::V13,
        ..line()
    };
    assert_eq!(
        written(&crashed),
        "at=error code=H10 desc=\"App crashed\" method=GET path=\"/x?q=1\" host=shop.example.com \
         request_id=01234567-89ab-4def-8123-456789abcdef fwd=\"10.0.0.1, 203.0.113.7\" dyno= connect= service= \
         status=503 bytes= protocol=http1.1 tls=true tls_version=tls1.3"
    );
}

#[test]
fn the_beginning_depends_on_the_fault() {
    for (fault, beginning) in [
        (
            Fault::ClientInterrupted,
            "sock=client at=warning code=H27 desc=\"Client Request Interrupted\" method",
        ),
        (
            Fault::ServerRequestInterrupted,
            "sock=backend at=error code=H18 desc=\"Server Request Interrupted\" method",
        ),
        (Fault::Maintenance, "at=info code=H80 desc=\"Maintenance mode\" method"),
        (
            RequestError::BadChunk.into(),
            "at=error code=H26 desc=\"Request Error\" cause=\"bad chunk\" method",
        ),
        (RequestFlaw::BareLf.into(), "at=warning desc=\"Bad request\" cause=\"bare LF\" method"),
        (Fault::UnknownHost, "at=warning desc=\"No such app\" method"),
    ] {
        let line = written(&LogLine { fault: Some(fault), ..line() });
        assert!(line.starts_with(beginning), "{line}");
    }
}

#[test]
fn hostile_bytes_are_escaped_and_ordinary_ones_are_not() {
    let hostile = LogLine {
        method: b"GE T=\"\\",
        path: b"/a b\" status=200\\\r\n\x1b[31m\x00\x7f\xff\xc3\xa9#$%&'()*+,;<>?@[]^`{|}~=",
        host: b"h\nat=error code=H10",
        ..line()
    };
    let line = written(&hostile);
    assert!(line.starts_with("at=info method=GE\\x20T\\x3d\\x22\\x5c path="), "{line}");
    let path = "path=\"/a b\\\" status=200\\\\\\x0d\\x0a\\x1b[31m\\x00\\x7f\\xff\\xc3\\xa9#$%&'()*+,;<>?@[]^`{|}~=\" ";
    assert!(line.contains(path), "{line}");
    assert!(line.contains(" host=h\\x0aat\\x3derror\\x20code\\x3dH10 request_id="), "{line}");
}

#[test]
fn an_honest_path_is_whole_and_a_huge_one_is_cut() {
    let honest = vec![b'a'; PATH];
    assert!(written(&LogLine { path: &honest, ..line() }).contains(&"a".repeat(PATH)));
    let huge = vec![b'a'; 1 << 20];
    assert!(written(&LogLine { path: &huge, ..line() }).contains("aaaa\\...\" host="));
}

#[test]
fn no_line_is_longer_than_herokus_log_allows() {
    let huge = vec![0xff; 1 << 16];
    for fault in Fault::ALL {
        let line = written(&LogLine {
            fault: Some(fault),
            method: &huge,
            path: &huge,
            host: &huge,
            request_id: &huge,
            forwarded_for: &huge,
            client: Some([0xffff; 8].into()),
            dyno: &"x".repeat(1 << 16),
            queue: Some(Duration::MAX),
            connect: Some(Duration::MAX),
            service: Some(Duration::MAX),
            status: Some(u16::MAX),
            bytes: Some(u64::MAX),
            protocol: Protocol::Http11,
            tls: Tls::Elsewhere,
        });
        assert!(line.len() <= LONGEST, "{}", line.len());
    }
}

/// logfmt as log drains read it: `key=value` or `key="value"`, parted by single spaces.
fn parsed(mut line: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let mut fields = vec![];
    while !line.is_empty() {
        let (key, rest) = line.split_once('=')?;
        let quoted = rest.strip_prefix('"');
        let mut value = vec![];
        let mut bytes = quoted.unwrap_or(rest).bytes().enumerate();
        let end = loop {
            match bytes.next() {
                None => break rest.len(),
                Some((at, b'"')) if quoted.is_some() => break at + 2,
                Some((at, b' ')) if quoted.is_none() => break at,
                Some((_, b'\\')) => match bytes.next()?.1 {
                    b'x' => {
                        let hex = [bytes.next()?.1, bytes.next()?.1];
                        value.push(u8::from_str_radix(str::from_utf8(&hex).ok()?, 16).ok()?);
                    }
                    literal => value.push(literal),
                },
                Some((_, byte)) => value.push(byte),
            }
        };
        fields.push((key.to_owned(), value));
        let rest = rest.get(end..)?;
        line = rest.strip_prefix(' ').unwrap_or(rest);
    }
    Some(fields)
}

/// Bytes a client might choose, those that could break out of a field more often than others: so many pieces at most, each
/// printed with at most 48 bytes.
fn hostile(most: usize) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        proptest::sample::select(vec![
            b"\"".as_slice(),
            b"\\",
            b" ",
            b"=",
            b"\n",
            b"\r\n",
            b"\\\"",
            b"\" at=info"
        ])
        .prop_map(<[u8]>::to_vec),
        proptest::collection::vec(any::<u8>(), 1..8),
        "[a-z/?=&]{1,12}".prop_map(String::into_bytes),
    ];
    proptest::collection::vec(piece, 0..=most).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_line_is_one_line_and_parses_back_to_its_fields(
        // None is so long that it would be cut.
        (method, path, host, forwarded_for) in (hostile(METHOD / 48), hostile(8), hostile(HOST / 48), hostile(8)),
        fault in proptest::option::of(proptest::sample::select(Fault::ALL.to_vec())),
        bytes in any::<Option<u64>>(),
    ) {
        let line = LogLine { fault, method: &method, path: &path, host: &host, forwarded_for: &forwarded_for, bytes, ..line() };
        let text = written(&line);
        prop_assert!(text.bytes().all(|b| (b' '..=b'~').contains(&b)), "{}", text);
        let fields = parsed(&text).unwrap();
        let keys: Vec<_> = fields.iter().map(|(key, _)| key.as_str()).collect();
        let tail = ["method", "path", "host", "request_id", "fwd", "dyno", "connect", "service", "status", "bytes",
            "protocol", "tls", "tls_version"];
        prop_assert!(keys.ends_with(&tail), "{:?}", keys);
        prop_assert!(keys.iter().filter(|key| **key == "at").count() == 1);
        let value = |key: &str| fields.iter().find(|field| field.0 == key).map(|field| field.1.clone()).unwrap();
        prop_assert_eq!(value("method"), method);
        prop_assert_eq!(value("path"), path);
        prop_assert_eq!(value("host"), host);
        let comma = if forwarded_for.is_empty() { b"".as_slice() } else { b", " };
        prop_assert_eq!(value("fwd"), [&forwarded_for, comma, b"203.0.113.7"].concat());
        prop_assert_eq!(value("bytes"), bytes.map_or(vec![], |bytes| bytes.to_string().into_bytes()));
        if let Some(fault) = fault {
            prop_assert_eq!(value("desc"), fault.facts().desc.as_bytes());
        }
    }

    #[test]
    fn a_cut_value_stays_in_its_bounds_and_ends_in_the_mark(path in proptest::collection::vec(any::<u8>(), 0..100), limit in 4usize..50) {
        for escape in [escape_quoted, escape_bare] {
            let mut whole = vec![];
            escape(&path, usize::MAX / 2, &mut whole);
            let mut out = vec![];
            escape(&path, limit, &mut out);
            if whole.len() <= limit {
                prop_assert_eq!(out, whole);
            } else {
                prop_assert!(out.len() <= limit);
                let kept = out.strip_suffix(b"\\...".as_slice()).unwrap();
                prop_assert!(whole.starts_with(kept));
                prop_assert!(whole.len() - kept.len() > 4 || kept.len() + 8 > limit);
            }
        }
    }
}
