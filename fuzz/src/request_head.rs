//! A request's head has one meaning: however it arrives, and for the dyno it is passed on to.
//!
//! 1. Every beginning of it is "not whole yet", or is refused as the whole is; behind its end nothing matters.
//! 2. The head its dyno gets means the same: method, target, host, and where the body ends.
//! 3. In it nothing that routes or frames stands twice, also for an app that takes `_` for `-`, and nothing of what belonged
//!    to the client's connection is left.

use std::{cell::RefCell, net::Ipv4Addr};

use router_core::{
    internals::{End, Heads, RequestMeaning},
    route::{Fault, RequestIds, forward::Arrival},
    server::{ContentLengthWithChunked, RequestLimits, RequestPolicy, ServerOptions, Underscores},
};

use crate::plain::{Plain, connection_options};

/// Longer ones only take longer.
const LONGEST: usize = 2048;
/// What stands at most once in a head that goes to a dyno.
const ONCE: [&str; 12] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "expect",
    "via",
    "x-forwarded-for",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-queue-time",
    "x-request-id",
    "x-request-start",
];
/// What never stands there.
const NEVER: [&str; 6] =
    ["te", "keep-alive", "proxy", "proxy-authorization", "proxy-connection", "http2-settings"];

thread_local! {
    static ROUTERS: RefCell<[Heads; 3]> = RefCell::new(routers());
}

/// One as it is by default, one that repairs what it can, one whose limits are easily reached.
fn routers() -> [Heads; 3] {
    let request_policy =
        |underscores, content_length_with_chunked| RequestPolicy { underscores, content_length_with_chunked };
    [
        Heads::default(),
        Heads::new(ServerOptions {
            request_policy: request_policy(Underscores::Keep, ContentLengthWithChunked::ChunkedWins),
            forwarded: true,
            ..ServerOptions::default()
        }),
        Heads::new(ServerOptions {
            request_policy: request_policy(Underscores::Drop, ContentLengthWithChunked::Refuse),
            request_limits: RequestLimits {
                line: 24,
                field_value: 16,
                field_name: 17,
                fields: 4,
                method: 5,
                head: 120,
                ..RequestLimits::default()
            },
            ..ServerOptions::default()
        }),
    ]
}

/// See the page.
pub fn claim(text: &[u8]) {
    // Empty lines before a request are taken away before it is parsed.
    if text.len() > LONGEST || matches!(text.first(), None | Some(b'\r' | b'\n')) {
        return;
    }
    ROUTERS.with_borrow_mut(|routers| {
        for heads in routers {
            let whole = heads.read_request(text);
            every_beginning_agrees(heads, text, &whole);
            if let Ok(Some(meaning)) = whole {
                what_is_passed_on_means_the_same(heads, text, &meaning);
            }
        }
    });
}

fn every_beginning_agrees(heads: &mut Heads, text: &[u8], whole: &Result<Option<RequestMeaning>, Fault>) {
    for cut in 0..text.len() {
        match (heads.read_request(&text[..cut]), whole) {
            (Ok(None), Ok(Some(meaning))) => assert!(cut < meaning.length, "not whole at {cut}"),
            (Ok(None), _) => {}
            (Ok(Some(early)), Ok(Some(meaning))) => assert_eq!(early, *meaning, "cut at {cut}"),
            // Of several flaws, the one is told that was seen first.
            (Err(_), Err(_)) => {}
            (early, late) => panic!("cut at {cut}: {early:?}, whole: {late:?}"),
        }
    }
}

fn what_is_passed_on_means_the_same(heads: &mut Heads, text: &[u8], meaning: &RequestMeaning) {
    let id = RequestIds::from_seed([7; 16]).accept(None);
    let arrival = Arrival::direct(std::net::IpAddr::from(Ipv4Addr::LOCALHOST), false, None);
    let out = heads.rewrite_request(text, arrival, &id).expect("it was read before").to_vec();
    // It is longer than what came, and may be longer than a head may be that comes.
    let again = Heads::default().read_request(&out).expect("it is sound").expect("it is whole");
    let expected = RequestMeaning {
        length: out.len(),
        is_old: false,
        keeps_alive: true,
        expects_continue: false,
        ..meaning.clone()
    };
    assert_eq!(again, expected, "{:?}", out.escape_ascii().to_string());

    let plain = Plain::read(&out);
    let first_line = [meaning.method.as_slice(), b" ", &meaning.target, b" HTTP/1.1\r\n"].concat();
    assert!(out.starts_with(&first_line));
    let once = ONCE.map(|name| (name, plain.only(name)));
    let value = |wanted| once.iter().find(|(name, _)| *name == wanted).and_then(|(_, value)| *value);
    let length = value("content-length").map(|length| length.parse::<u64>().expect("a number"));
    let coding = value("transfer-encoding");
    match meaning.end {
        End::Empty => assert!(coding.is_none() && length.is_none_or(|length| length == 0)),
        End::Length(expected) => assert!(coding.is_none() && length == Some(expected)),
        End::Chunked => assert!(coding == Some("chunked") && length.is_none()),
        End::Close => panic!("no request ends like this"),
    }
    assert!(value("host").is_some() && value("x-request-id").is_some() && value("via").is_some());
    assert_eq!(value("connection"), meaning.upgrade.then_some("Upgrade"));
    assert_eq!(plain.all("upgrade").next().is_some(), meaning.upgrade);
    NEVER.iter().for_each(|name| assert_eq!(plain.only(name), None, "{name}"));
    for named in connection_options(&text[..meaning.length]) {
        let is_ours = ONCE.contains(&named.as_str()) || named == "upgrade" || named == "forwarded";
        assert!(is_ours || plain.fields.iter().all(|(name, _)| *name != named), "{named} was for us only");
    }
}
