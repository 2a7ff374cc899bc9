//! A request over HTTP/2 has one meaning: what passes the translation to HTTP/1.1 says there what it said.
//!
//! The input is lines: method, authority, path; then `name: value` for each header. A first line that begins with `+` says
//! that a body follows.
//!
//! 1. Method, path and host are those that came.
//! 2. The text has those fields that came, cookies joined, and besides only `host` and what frames the body.

use std::cell::RefCell;

use router_core::internals::{End, Heads};

use crate::plain::Plain;

thread_local! {
    static HEADS: RefCell<Heads> = RefCell::default();
}

/// See the page.
pub fn claim(input: &[u8]) {
    let (body, input) = input.strip_prefix(b"+").map_or((false, input), |rest| (true, rest));
    let mut lines = input.split(|b| *b == b'\n');
    let pseudo = [(); 3].map(|()| lines.next().unwrap_or_default());
    let fields: Vec<(&[u8], &[u8])> = lines
        .filter_map(|line| {
            let at = line.windows(2).position(|pair| pair == b": ")?;
            Some((&line[..at], &line[at + 2..]))
        })
        .collect();
    // h2 refuses these itself (RFC 9113 §8.2.2).
    let of_a_connection =
        [&b"connection"[..], b"transfer-encoding", b"upgrade", b"keep-alive", b"proxy-connection", b"te"];
    if fields.iter().any(|(name, _)| of_a_connection.contains(name)) {
        return;
    }
    // What shadows another name by underscores is in this text and not in the dyno's: `request_head` attacks that.
    if fields.iter().any(|(name, _)| name.contains(&b'_')) {
        return;
    }
    let read = HEADS.with_borrow_mut(|heads| heads.read_http2(pseudo, &fields, body));
    let Some(Ok((text, meaning))) = read else { return };
    let [method, authority, path] = pseudo;
    assert_eq!(meaning.method, method);
    // The library drops a fragment, and takes what is left of nothing but one for the root.
    let target = path.split(|b| *b == b'#').next().filter(|target| !target.is_empty());
    assert_eq!(meaning.target, target.unwrap_or(b"/"));
    assert_eq!(meaning.length, text.len());

    let plain = Plain::read(&text);
    let text_of = |bytes: &[u8]| -> String {
        bytes.iter().map(|b| if b.is_ascii() { char::from(*b) } else { '?' }).collect()
    };
    let host = plain.only("host").expect("there is one host");
    let came: Vec<_> = fields.iter().filter(|(name, _)| *name == b"host").collect();
    match came.as_slice() {
        [] => assert_eq!(host, text_of(authority)),
        [(_, value)] => assert_eq!(host, text_of(value)),
        _ => panic!("several hosts passed"),
    }
    let named = |name: &str| -> Vec<String> {
        let of_name = |field: &&(&[u8], &[u8])| text_of(field.0).replace('_', "-") == name;
        fields.iter().filter(of_name).map(|(_, value)| text_of(value)).collect()
    };
    for (name, _) in &plain.fields {
        let there: Vec<_> = plain.all(name).map(str::to_owned).collect();
        match name.as_str() {
            "host" => {}
            // A last crumb that is empty leaves a blank, which is no part of a value.
            "cookie" => assert_eq!(there, [named(name).join("; ").trim_matches([' ', '\t'])]),
            "content-length" if named(name).is_empty() => assert!(!body && there == ["0"]),
            "transfer-encoding" => assert!(body && meaning.end == End::Chunked && there == ["chunked"]),
            name => assert_eq!(there.len(), named(name).len(), "{name}: {there:?}"),
        }
    }
    let joined = fields.iter().filter(|(name, _)| *name == b"cookie").count().saturating_sub(1);
    let kept =
        plain.fields.iter().filter(|(name, _)| !["host", "transfer-encoding"].contains(&name.as_str()));
    let added = usize::from(named("content-length").is_empty() && plain.only("content-length").is_some());
    let without_host = fields.iter().filter(|(name, _)| *name != b"host").count();
    assert_eq!(kept.count(), without_host - joined + added, "nothing else is there: {text:?}");
    if !body {
        assert_eq!(meaning.end, End::Empty);
    }
}
