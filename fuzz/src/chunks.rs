//! A chunked body means the same however it is cut, with its framing kept or removed.
//!
//! 1. Cut in two anywhere, or into single bytes, it is passed on alike, or refused after the same bytes.
//! 2. What is passed on with framing is a chunked body that a simple reader understands, and the data in it is what is passed on
//!    without. Passed on once more, it does not change.

use router_core::{internals::Chunks, server::ChunkLimits};

use crate::plain::Plain;

/// Longer ones only take longer.
const LONGEST: usize = 1024;
/// Bounds that are easily reached.
const TIGHT: ChunkLimits = ChunkLimits { line: 8, trailers: 20 };
/// What never stands in a trailer section.
const NEVER: [&str; 8] = [
    "authorization",
    "content-length",
    "host",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "x-forwarded-for",
];

/// What became of a body.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    sound: bool,
    done: bool,
    passed_on: Vec<u8>,
    /// What follows the body.
    rest: Vec<u8>,
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, keep_framing: bool, limits: ChunkLimits) -> Read {
    let mut chunks = Chunks::new(keep_framing, limits);
    let mut sound = true;
    let mut rest = Vec::new();
    for piece in pieces {
        if chunks.is_done() {
            rest.extend_from_slice(piece);
        } else if sound {
            sound = chunks.feed(piece);
        }
    }
    let done = chunks.is_done();
    if done {
        rest.splice(0..0, chunks.unread().iter().copied());
    }
    Read { sound, done, passed_on: chunks.passed_on().to_vec(), rest }
}

/// See the page.
pub fn claim(body: &[u8]) {
    if body.len() > LONGEST {
        return;
    }
    for limits in [ChunkLimits::default(), TIGHT] {
        let [kept, data] = [true, false].map(|keep| cut_anywhere(body, keep, limits));
        assert_eq!((kept.sound, kept.done, &kept.rest), (data.sound, data.done, &data.rest));
        if kept.done {
            assert_eq!(simple(&kept.passed_on), data.passed_on);
            let again = read([kept.passed_on.as_slice()], true, limits);
            assert_eq!((again.done, again.passed_on), (true, kept.passed_on));
        }
    }
}

fn cut_anywhere(body: &[u8], keep: bool, limits: ChunkLimits) -> Read {
    let whole = read([body], keep, limits);
    assert_eq!(read(body.chunks(1), keep, limits), whole, "byte by byte, keep {keep}, {limits:?}");
    for cut in 0..=body.len() {
        let (before, behind) = body.split_at(cut);
        assert_eq!(read([before, behind], keep, limits), whole, "cut at {cut}, keep {keep}, {limits:?}");
    }
    whole
}

/// The data of a chunked body, read as simply as can be.
fn simple(mut body: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    loop {
        let end = body.windows(2).position(|two| two == b"\r\n").expect("a size line");
        let line = std::str::from_utf8(&body[..end]).expect("digits");
        let size = usize::from_str_radix(line, 16).expect("digits only");
        body = &body[end + 2..];
        if size == 0 {
            let plain = Plain::read(&[b"\r\n", body].concat());
            NEVER.iter().for_each(|name| assert_eq!(plain.only(name), None, "{name}"));
            return data;
        }
        data.extend_from_slice(&body[..size]);
        assert_eq!(&body[size..size + 2], b"\r\n");
        body = &body[size + 2..];
    }
}
