//! The chunked coding (RFC 9112 §7.1), checked and cleaned in place.
//!
//! - [`Chunked`]: a filter over the bytes of one chunked body. It validates every byte, drops chunk extensions
//!   and forbidden trailers, and keeps or removes the framing, within the buffer the bytes arrived in.
//! - [`Step`]: how far one call got.
//!
//! Size lines and the trailer section are only read when they are there whole, so a cut anywhere gives the same
//! result; what is held back meanwhile is bounded by [`ChunkLimits`].

use super::{
    field::{Kind, is_token, is_x_forwarded},
    framing::LONGEST_BODY,
    limits::ChunkLimits,
};

/// How much longer all size lines together may be than the data: an extension for each byte makes a small body an
/// expensive one.
const MOST_OVERHEAD: u32 = 16 * 1024;
/// A size line and its CRLFs as short as they usually are; what goes beyond is overhead.
const USUAL_LINE: usize = 16;

/// The bytes are not a chunked body; nothing after this point can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadChunk;

/// How far one call got. `read` bytes at the front of the buffer are used up; the first `kept` of them are now
/// what is to be passed on. The rest must be shown again, with more bytes behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) read: usize,
    pub(crate) kept: usize,
    pub(crate) done: bool,
    /// More bytes are needed before the rest can be read.
    pub(crate) starved: bool,
}

/// The state of one chunked body.
#[derive(Debug, Clone)]
pub(crate) struct Chunked {
    state: State,
    /// Pass on chunk by chunk, or (for a client that knows no chunks) the data alone.
    framing: KeepFraming,
    line: u16,
    trailers: u16,
    /// What the size lines so far had too much, less the data.
    overhead: u32,
}

/// Whether the framing itself is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeepFraming {
    Yes,
    No,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    SizeLine,
    Data(u64),
    /// The CRLF behind a chunk's data.
    DataEnd,
    Trailers,
    Done,
}

/// Appends what is kept at the front of the buffer it reads from; it can never overtake the reader.
struct Cursor<'a> {
    buf: &'a mut [u8],
    read: usize,
    kept: usize,
}

impl Cursor<'_> {
    fn rest(&self) -> &[u8] {
        &self.buf[self.read..]
    }
    fn keep(&mut self, n: usize) {
        if self.read != self.kept {
            self.buf.copy_within(self.read..self.read + n, self.kept);
        }
        self.kept += n;
        self.read += n;
    }
    fn drop(&mut self, n: usize) {
        self.read += n;
    }
    /// The length of the next line without its CRLF, if it is there whole.
    fn line(&self, max: usize) -> Result<Option<usize>, BadChunk> {
        let rest = self.rest();
        match memchr::memchr(b'\n', rest) {
            Some(at) if at > max.saturating_add(1) => Err(BadChunk),
            Some(at) if at > 0 && rest[at - 1] == b'\r' => Ok(Some(at - 1)),
            Some(_) => Err(BadChunk), // a bare LF
            None if rest.len() > max.saturating_add(1) => Err(BadChunk),
            None => Ok(None),
        }
    }
}

impl Chunked {
    pub(crate) fn new(framing: KeepFraming) -> Self {
        Self { state: State::SizeLine, framing, line: 0, trailers: 0, overhead: 0 }
            .within(ChunkLimits::default())
    }

    /// The same body with other bounds.
    #[expect(clippy::cast_possible_truncation, reason = "both are at most MOST, which fits")]
    pub(crate) fn within(self, limits: ChunkLimits) -> Self {
        let bounded = |limit: usize| limit.min(ChunkLimits::MOST) as u16;
        Self { line: bounded(limits.line), trailers: bounded(limits.trailers), ..self }
    }

    /// Whether the last byte of the body was read.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether all data was read and only the trailer section is to come.
    pub(crate) fn is_in_trailers(&self) -> bool {
        self.state == State::Trailers
    }

    /// Reads on in `buf`, which begins with whatever the last call did not read.
    ///
    /// # Errors
    /// [`BadChunk`] where the bytes have no single reading. `buf` is then of no further use.
    pub(crate) fn step(&mut self, buf: &mut [u8]) -> Result<Step, BadChunk> {
        let mut cursor = Cursor { buf, read: 0, kept: 0 };
        loop {
            match self.advance(&mut cursor) {
                Ok(true) => {}
                // What came before the fault is passed on; the next call meets it again.
                Err(bad) if cursor.kept == 0 => return Err(bad),
                Err(_) => {
                    return Ok(Step { read: cursor.read, kept: cursor.kept, done: false, starved: false });
                }
                Ok(false) => break,
            }
        }
        let (done, starved) = (self.is_done(), !self.is_done() && cursor.read < cursor.buf.len());
        Ok(Step { read: cursor.read, kept: cursor.kept, done, starved })
    }

    /// One element; false when more bytes are needed first, or the body is done.
    fn advance(&mut self, cursor: &mut Cursor<'_>) -> Result<bool, BadChunk> {
        match self.state {
            State::SizeLine => self.size_line(cursor),
            State::Data(left) => Ok(self.data(cursor, left)),
            State::DataEnd => self.data_end(cursor),
            State::Trailers => self.trailers(cursor),
            State::Done => Ok(false),
        }
    }

    fn size_line(&mut self, cursor: &mut Cursor<'_>) -> Result<bool, BadChunk> {
        let Some(line) = cursor.line(self.line.into())? else { return Ok(false) };
        let (digits, size) = size(&cursor.rest()[..line])?;
        self.account(line, size)?;
        if self.framing == KeepFraming::Yes {
            cursor.keep(digits);
            cursor.drop(line - digits);
            cursor.keep(2);
        } else {
            cursor.drop(line + 2);
        }
        self.state = if size == 0 { State::Trailers } else { State::Data(size) };
        Ok(true)
    }

    /// Extensions may not outgrow the data.
    fn account(&mut self, line: usize, size: u64) -> Result<(), BadChunk> {
        let more = u32::try_from(line.saturating_sub(USUAL_LINE)).unwrap_or(u32::MAX);
        let less = u32::try_from(size).unwrap_or(u32::MAX);
        self.overhead = self.overhead.saturating_add(more).saturating_sub(less);
        if self.overhead > MOST_OVERHEAD { Err(BadChunk) } else { Ok(()) }
    }

    fn data(&mut self, cursor: &mut Cursor<'_>, left: u64) -> bool {
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(cursor.rest().len());
        cursor.keep(here);
        let left = left - here as u64;
        self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
        left == 0
    }

    fn data_end(&mut self, cursor: &mut Cursor<'_>) -> Result<bool, BadChunk> {
        match cursor.rest() {
            [b'\r', b'\n', ..] => {}
            [] | [b'\r'] => return Ok(false),
            _ => return Err(BadChunk),
        }
        if self.framing == KeepFraming::Yes {
            cursor.keep(2);
        } else {
            cursor.drop(2);
        }
        self.state = State::SizeLine;
        Ok(true)
    }

    fn trailers(&mut self, cursor: &mut Cursor<'_>) -> Result<bool, BadChunk> {
        if !has_whole_trailers(cursor.rest(), self.trailers.into())? {
            return Ok(false);
        }
        loop {
            let line = cursor.line(usize::MAX)?.ok_or(BadChunk)?;
            let keep = line == 0 || may_pass(&cursor.rest()[..line])?;
            if keep && self.framing == KeepFraming::Yes {
                cursor.keep(line + 2);
            } else {
                cursor.drop(line + 2);
            }
            if line == 0 {
                self.state = State::Done;
                return Ok(false);
            }
        }
    }
}

/// The hex digits at the front of a size line and their value; extensions behind them are checked for form only.
fn size(line: &[u8]) -> Result<(usize, u64), BadChunk> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    if digits == 0 || digits > 16 {
        return Err(BadChunk);
    }
    let value = line[..digits].iter().fold(0u64, |sum, b| (sum << 4) | u64::from(hex(*b)));
    let extension = line[digits..].trim_ascii_start();
    if value > LONGEST_BODY {
        return Err(BadChunk);
    }
    let well_formed = extension.is_empty() && digits == line.len()
        || extension.first() == Some(&b';')
            && extension.iter().all(|b| *b == b'\t' || (*b >= b' ' && *b != 0x7f));
    if well_formed { Ok((digits, value)) } else { Err(BadChunk) }
}

const fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Whether the section's empty line is there.
fn has_whole_trailers(rest: &[u8], most: usize) -> Result<bool, BadChunk> {
    const END: &[u8] = b"\r\n\r\n";
    let end = if rest.starts_with(b"\r\n") { Some(0) } else { memchr::memmem::find(rest, END) };
    // Without it, the last bytes may be its beginning.
    let begun = || (1..END.len()).rev().find_map(|n| rest.strip_suffix(&END[..n]));
    let section = end.map(|end| &rest[..end]).or_else(begun).unwrap_or(rest);
    if section.len() > most || memchr::memchr_iter(b'\n', section).any(|at| at == 0 || rest[at - 1] != b'\r')
    {
        return Err(BadChunk); // too long, or a bare LF
    }
    Ok(end.is_some())
}

/// Whether a trailer may be passed on: it must be a field, and none that frames, routes or authenticates
/// (RFC 9110 §6.5.1).
pub(crate) fn may_pass(line: &[u8]) -> Result<bool, BadChunk> {
    let colon = memchr::memchr(b':', line).ok_or(BadChunk)?;
    let (name, value) = line.split_at(colon);
    let printable = |b: &u8| *b == b'\t' || (*b >= b' ' && *b != 0x7f);
    if !is_token(name) || !value.iter().all(printable) {
        return Err(BadChunk);
    }
    let may = matches!(Kind::of(name), Kind::Other | Kind::Underscored)
        && !is_x_forwarded(name)
        && !FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden.as_bytes()));
    Ok(may)
}

/// Fields whose meaning must be known before the body, besides those a proxy acts on.
const FORBIDDEN: [&str; 25] = [
    "age",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-range",
    "content-type",
    "cookie",
    "expires",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "range",
    "retry-after",
    "set-cookie2",
    "strict-transport-security",
    "trailer",
    "vary",
    "warning",
    "www-authenticate",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `pieces` one after the other; what was kept, whether it ended, and what was left unread.
    fn run(pieces: &[&[u8]], framing: KeepFraming) -> Result<(Vec<u8>, bool, Vec<u8>), BadChunk> {
        let mut chunked = Chunked::new(framing);
        let (mut held, mut out) = (Vec::new(), Vec::new());
        for piece in pieces {
            held.extend_from_slice(piece);
            let step = chunked.step(&mut held)?;
            out.extend_from_slice(&held[..step.kept]);
            held.drain(..step.read);
            if !step.done && !step.starved && !held.is_empty() {
                return chunked.step(&mut held).map(|_| unreachable!("a fault is met again"));
            }
        }
        Ok((out, chunked.is_done(), held))
    }

    #[test]
    fn framing_is_kept_or_removed() {
        let body = b"5\r\nhello\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n";
        assert_eq!(run(&[body], KeepFraming::Yes).unwrap(), (body.to_vec(), true, vec![]));
        let data = b"helloabcdefghijklmnopqrstuvwxyz".to_vec();
        assert_eq!(run(&[body], KeepFraming::No).unwrap(), (data, true, vec![]));
    }

    #[test]
    fn extensions_and_forbidden_trailers_are_dropped() {
        let body =
            b"3;a=\"b\" ;c\r\nabc\r\n0;x\r\nX-Sum: 1\r\nContent-Length: 9\r\nTransfer_Encoding: x\r\n\r\n";
        let clean = b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n".to_vec();
        assert_eq!(run(&[body], KeepFraming::Yes).unwrap(), (clean, true, vec![]));
    }

    #[test]
    fn what_follows_the_body_is_left_alone() {
        let (_, done, rest) = run(&[b"0\r\n\r\nGET / HTTP/1.1\r\n"], KeepFraming::Yes).unwrap();
        assert!(done);
        assert_eq!(rest, b"GET / HTTP/1.1\r\n");
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for bad in [
            "\r\n",
            "g\r\n",
            "+5\r\nhello\r\n",
            "-1\r\n",
            "0x5\r\nhello\r\n",
            "5_0\r\n",
            " 5\r\nhello\r\n",
            "5 \r\nhello\r\n",
            "5\nhello\r\n",
            "5\r\nhelloX\r\n",
            "5\r\nhello\n",
            "5\r\nhello\r0",
            "11111111111111111\r\n",
            "5\r\r\nhello",
            "5;\u{0}\r\nhello",
            "0\r\nbad trailer\r\n\r\n",
            "0\r\nname : x\r\n\r\n",
            "0\r\n: x\r\n\r\n",
            "0\r\na: b\n\r\n",
            "0\r\na: b\r\n c\r\n\r\n",
            "5 5\r\nhello",
        ] {
            assert_eq!(run(&[bad.as_bytes()], KeepFraming::Yes), Err(BadChunk), "{bad:?}");
        }
    }

    #[test]
    fn a_size_line_and_trailers_have_bounds() {
        let ChunkLimits { line, trailers } = ChunkLimits::default();
        let line = format!("5;{}", "x".repeat(line));
        assert_eq!(run(&[line.as_bytes()], KeepFraming::Yes), Err(BadChunk));
        let trailers = format!("0\r\na: {}", "x".repeat(trailers));
        assert_eq!(run(&[trailers.as_bytes()], KeepFraming::Yes), Err(BadChunk));
    }

    #[test]
    fn bounds_can_be_set_but_not_beyond_what_a_buffer_holds() {
        let small = Chunked::new(KeepFraming::Yes).within(ChunkLimits { line: 4, trailers: 10 });
        assert_eq!(small.clone().step(&mut b"5;abc\r\n".to_vec()), Err(BadChunk));
        assert!(small.clone().step(&mut b"5;ab\r\n".to_vec()).is_ok_and(|step| step.read == 6));
        assert!(small.clone().step(&mut b"0\r\nab: cdefgh\r\n\r\n".to_vec()).is_ok_and(|step| step.done));
        let mut too_long = small;
        let mut bytes = b"0\r\nab: cdefghi\r\n\r\n".to_vec();
        let first = too_long.step(&mut bytes).unwrap();
        assert_eq!(too_long.step(&mut bytes.split_off(first.read)), Err(BadChunk));
        let huge =
            Chunked::new(KeepFraming::Yes).within(ChunkLimits { line: usize::MAX, trailers: usize::MAX });
        assert_eq!(
            (usize::from(huge.line), usize::from(huge.trailers)),
            (ChunkLimits::MOST, ChunkLimits::MOST)
        );
    }

    #[test]
    fn extensions_may_not_outgrow_the_data() {
        let many = format!("1;{}\r\nx\r\n", "a".repeat(1000)).repeat(20) + "0\r\n\r\n";
        assert_eq!(run(&[many.as_bytes()], KeepFraming::Yes), Err(BadChunk));
        let few = format!("400;{}\r\n{}\r\n", "a".repeat(1000), "x".repeat(1024)).repeat(20) + "0\r\n\r\n";
        assert!(run(&[few.as_bytes()], KeepFraming::Yes).is_ok_and(|(_, done, _)| done));
    }

    proptest! {
        #[test]
        fn every_cut_gives_the_same(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
            ext in "(;[a-z=]{0,8})?",
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend_from_slice(format!("{:X}{ext}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\nX-T: 1\r\n\r\nREST");
            let mut cuts: Vec<usize> = cuts.iter().map(|i| i.index(body.len() + 1)).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &body[w[0]..w[1]]).collect();
            for framing in [KeepFraming::Yes, KeepFraming::No] {
                prop_assert_eq!(run(&pieces, framing), run(&[&body], framing));
            }
            let (data, done, rest) = run(&pieces, KeepFraming::No).unwrap();
            prop_assert_eq!(data, chunks.concat());
            prop_assert!(done);
            prop_assert_eq!(rest, b"REST");
        }
    }
}
