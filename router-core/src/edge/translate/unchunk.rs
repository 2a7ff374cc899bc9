//! The chunks of a body, taken apart. They were validated and cleaned on their way here, so this only looks where
//! each thing ends; a cut anywhere is fine.
//!
//! - [`Unchunk`]: where in the body it is. [`Element`]: what was found.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Where in a chunked body it is.
#[derive(Debug)]
pub(crate) enum Unchunk {
    /// In a size line: the size so far.
    Size(u64),
    /// So much of the chunk's data is to come, and its CRLF.
    Data(u64),
    /// In the CRLF behind the data.
    DataEnd,
    /// In the trailer section: what is there of it.
    Trailers(Vec<u8>),
    Done,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Element<'b> {
    Framing,
    Data(&'b [u8]),
    Trailers(HeaderMap),
}

impl Default for Unchunk {
    fn default() -> Self {
        Self::Size(0)
    }
}

impl Unchunk {
    /// Whether the body has ended.
    pub(crate) const fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Whether the next byte is data.
    pub(crate) const fn is_in_data(&self) -> bool {
        matches!(self, Self::Data(_))
    }

    /// Reads on in `body`, which is not empty, and takes at most `room` bytes of data; how many bytes are used up.
    pub(crate) fn next<'b>(&mut self, body: &'b [u8], room: usize) -> (usize, Element<'b>) {
        match self {
            Self::Data(left) => {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(body.len()).min(room);
                *left -= n as u64;
                if *left == 0 {
                    *self = Self::DataEnd;
                }
                (n, Element::Data(body.get(..n).unwrap_or_default()))
            }
            Self::Size(size) => {
                let line = line(body);
                for digit in line.iter().filter_map(|b| char::from(*b).to_digit(16)) {
                    *size = (*size << 4) | u64::from(digit);
                }
                if line.ends_with(b"\n") {
                    *self = if *size == 0 { Self::Trailers(Vec::new()) } else { Self::Data(*size) };
                }
                (line.len(), Element::Framing)
            }
            Self::DataEnd => {
                let line = line(body);
                if line.ends_with(b"\n") {
                    *self = Self::Size(0);
                }
                (line.len(), Element::Framing)
            }
            Self::Trailers(section) => {
                let line = line(body);
                section.extend_from_slice(line);
                let whole = section.as_slice() == b"\r\n" || section.ends_with(b"\r\n\r\n");
                let trailers = fields(if whole { section } else { b"" });
                if whole {
                    *self = Self::Done;
                }
                let empty = trailers.is_empty();
                (line.len(), if empty { Element::Framing } else { Element::Trailers(trailers) })
            }
            Self::Done => (body.len(), Element::Framing),
        }
    }
}

/// The next line with its end, or as much of it as is there.
fn line(body: &[u8]) -> &[u8] {
    let end = memchr::memchr(b'\n', body).map_or(body.len(), |at| at + 1);
    body.get(..end).unwrap_or_default()
}

fn fields(section: &[u8]) -> HeaderMap {
    let lines = section.split(|b| *b == b'\n').filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
    });
    lines.fold(HeaderMap::new(), |mut fields, (name, value)| {
        fields.append(name, value);
        fields
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &[u8], cut: usize, room: usize) -> (Vec<u8>, Vec<HeaderMap>) {
        let (mut unchunk, mut data, mut trailers) = (Unchunk::default(), Vec::new(), Vec::new());
        for mut piece in body.chunks(cut) {
            while !piece.is_empty() {
                let (used, element) = unchunk.next(piece, room);
                match element {
                    Element::Framing => {}
                    Element::Data(found) => data.extend_from_slice(found),
                    Element::Trailers(found) => trailers.push(found),
                }
                piece = &piece[used..];
            }
        }
        assert!(matches!(unchunk, Unchunk::Done));
        (data, trailers)
    }

    #[test]
    fn chunks_are_taken_apart_wherever_they_are_cut() {
        let body = b"5\r\nhello\r\n1a\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nsum: 1\r\nsum:  2 \r\n\r\n";
        let data = b"helloabcdefghijklmnopqrstuvwxyz";
        for (cut, room) in (1..=body.len()).flat_map(|cut| [(cut, 1), (cut, 7), (cut, 100)]) {
            let (found, trailers) = read(body, cut, room);
            assert_eq!(found, data, "cut every {cut} bytes");
            assert_eq!(trailers.len(), 1);
            let sums: Vec<_> = trailers[0].get_all("sum").iter().collect();
            assert_eq!(sums, ["1", "2"]);
        }
    }

    #[test]
    fn without_trailers_there_are_none() {
        assert_eq!(read(b"3\r\nabc\r\n0\r\n\r\n", 4, 100), (b"abc".to_vec(), vec![]));
    }
}
