//! A response's head has one meaning: however it arrives, and for the client it is passed on to.
//!
//! The same as for [requests](crate::request_head), for a client that knows chunks and one that does not.

use std::cell::RefCell;

use router_core::{
    internals::{End, Heads, ResponseMeaning},
    route::Fault,
    server::{ResponseLimits, ServerOptions},
};

use crate::plain::{Plain, connection_options};

/// Longer ones only take longer.
const LONGEST: usize = 2048;
/// What stands at most once in a head that goes to a client.
const ONCE: [&str; 4] = ["connection", "content-length", "transfer-encoding", "via"];
/// What never stands there.
const NEVER: [&str; 5] = ["te", "keep-alive", "proxy-connection", "proxy-authorization", "http2-settings"];

thread_local! {
    static ROUTERS: RefCell<[Heads; 2]> = RefCell::new([
        Heads::default(),
        Heads::new(ServerOptions {
            response_limits: ResponseLimits {
                line: 20,
                field_line: 24,
                cookie_line: 20,
                fields: 4,
                head: 120,
                ..ResponseLimits::default()
            },
            ..ServerOptions::default()
        }),
    ]);
}

/// See the page.
pub fn claim(text: &[u8]) {
    if text.len() > LONGEST {
        return;
    }
    ROUTERS.with_borrow_mut(|routers| {
        for heads in routers {
            let whole = heads.read_response(text);
            every_beginning_agrees(heads, text, &whole);
            if let Ok(Some(meaning)) = whole {
                [true, false].iter().for_each(|keeps| passed_on(heads, text, &meaning, *keeps));
            }
        }
    });
}

fn every_beginning_agrees(heads: &mut Heads, text: &[u8], whole: &Result<Option<ResponseMeaning>, Fault>) {
    for cut in 0..text.len() {
        match (heads.read_response(&text[..cut]), whole) {
            (Ok(None), Ok(Some(meaning))) => assert!(cut < meaning.length, "not whole at {cut}"),
            (Ok(None), _) => {}
            (Ok(Some(early)), Ok(Some(meaning))) => assert_eq!(early, *meaning, "cut at {cut}"),
            (Err(_), Err(_)) => {}
            // A line that is too long is noticed while it is the last one, or in the end.
            (Err(_), Ok(None)) => {
                assert!(heads.read_response(&[text, b"\r\n\r\n"].concat()).is_err(), "cut at {cut}");
            }
            (early, late) => panic!("cut at {cut}: {early:?}, whole: {late:?}"),
        }
    }
}

fn passed_on(heads: &mut Heads, text: &[u8], meaning: &ResponseMeaning, keeps_chunks: bool) {
    let out = heads.rewrite_response(text, keeps_chunks).expect("it was read before");
    let again = Heads::default().read_response(&out).expect("it is sound").expect("it is whole");
    let end = if meaning.end == End::Chunked && !keeps_chunks { End::Close } else { meaning.end };
    let expected = (out.len(), meaning.status, &meaning.reason, end);
    assert_eq!((again.length, again.status, &again.reason, again.end), expected);

    let plain = Plain::read(&out);
    let [connection, length, coding, via] = ONCE.map(|name| plain.only(name));
    let length = length.map(|length| length.parse::<u64>().expect("a number"));
    assert!(length.is_none() || coding.is_none(), "two framings");
    match meaning.end {
        End::Length(expected) => assert_eq!((length, coding), (Some(expected), None)),
        End::Chunked => assert_eq!((length, coding.is_some()), (None, keeps_chunks)),
        End::Close => assert_eq!((length, coding), (None, None)),
        // A HEAD's, a 204's or a 304's head may say how long the body would be.
        End::Empty => assert!(meaning.status >= 200 || (length, coding) == (None, None)),
    }
    assert!(via.is_some_and(|via| via.ends_with("1.1 busbar")));
    assert_eq!(connection, (meaning.status == 101).then_some("Upgrade"));
    NEVER.iter().for_each(|name| assert_eq!(plain.only(name), None, "{name}"));
    for named in connection_options(&text[..meaning.length]) {
        let is_ours = ONCE.contains(&named.as_str()) || named == "upgrade";
        assert!(is_ours || plain.fields.iter().all(|(name, _)| *name != named), "{named} was for us only");
    }
}
