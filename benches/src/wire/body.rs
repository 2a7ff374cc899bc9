//! Where a body ends.
#![expect(clippy::indexing_slicing, reason = "each index is below the length the loop has checked")]

use super::NotHttp;

/// What is still to come of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// So many bytes; none is a body too.
    Sized(u64),
    /// Chunks.
    Chunked(Chunks),
    /// Everything until the peer closes.
    UntilClose,
}

/// The place within a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunks {
    /// Within the size, with its value so far and whether a digit has come.
    Size(u64, bool),
    /// Behind the size: an extension, or the end of the line.
    SizeRest(u64),
    /// Within the bytes of a chunk.
    Data(u64),
    /// At the line end behind a chunk.
    DataEnd,
    /// In the trailers, with the length of the line so far.
    Trailer(usize),
}

/// Longest trailer line.
const TRAILER_LIMIT: usize = 8 << 10;

impl Body {
    pub(crate) const CHUNKED: Self = Self::Chunked(Chunks::Size(0, false));

    /// How many of the bytes belong to the body, and whether it is complete.
    pub(crate) fn eat(&mut self, bytes: &[u8]) -> Result<(usize, bool), NotHttp> {
        match self {
            Self::Sized(left) => {
                let used = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= used as u64;
                Ok((used, *left == 0))
            }
            Self::Chunked(chunks) => chunks.eat(bytes),
            Self::UntilClose => Ok((bytes.len(), false)),
        }
    }
}

impl Chunks {
    fn eat(&mut self, bytes: &[u8]) -> Result<(usize, bool), NotHttp> {
        let mut at = 0;
        while at < bytes.len() {
            if let Self::Data(left) = self {
                let used = (bytes.len() - at).min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= used as u64;
                at += used;
                if *left == 0 {
                    *self = Self::DataEnd;
                }
                continue;
            }
            let byte = bytes[at];
            at += 1;
            match self.step(byte)? {
                Some(next) => *self = next,
                None => return Ok((at, true)),
            }
        }
        Ok((at, false))
    }

    /// The place behind one byte that is not data; none behind the last one.
    fn step(self, byte: u8) -> Result<Option<Self>, NotHttp> {
        let next = match (self, byte) {
            (Self::Size(size, _), digit) if digit.is_ascii_hexdigit() => {
                let digit = char::from(digit).to_digit(16).unwrap_or(0);
                let size = size.checked_mul(16).ok_or(NotHttp("a chunk is too large"))? | u64::from(digit);
                Self::Size(size, true)
            }
            (Self::Size(size, true), b';' | b' ' | b'\t' | b'\r') => Self::SizeRest(size),
            (Self::Size(size, true) | Self::SizeRest(size), b'\n') => match size {
                0 => Self::Trailer(0),
                size => Self::Data(size),
            },
            (Self::SizeRest(size), _) => Self::SizeRest(size),
            (Self::DataEnd, b'\r') => Self::DataEnd,
            (Self::DataEnd, b'\n') => Self::Size(0, false),
            (Self::Trailer(0), b'\n') => return Ok(None),
            (Self::Trailer(_), b'\n') => Self::Trailer(0),
            (Self::Trailer(length), b'\r') => Self::Trailer(length),
            (Self::Trailer(length), _) if length < TRAILER_LIMIT => Self::Trailer(length + 1),
            _ => return Err(NotHttp("a chunk is malformed")),
        };
        Ok(Some(next))
    }
}
