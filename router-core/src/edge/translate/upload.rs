//! A request's body that comes in pieces, in the form HTTP/1.1 gives it: as long as was said, or in chunks.
//!
//! - [`Upload`]: how much of it is still to come, and the piece at hand.

use std::{io::Write as _, mem, rc::Rc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    h1::{chunked::may_pass, framing::Framing},
    route::{
        Fault,
        fault::{RequestError, RequestFlaw},
        forward,
    },
    worker::buffers::{Buffer, Buffers, SMALL},
};

/// A chunk's size line and the CRLF behind its data, at most.
const CHUNK: usize = 20;

/// What is still to come of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Bytes(u64),
    Chunks,
}

const DONE: Left = Left::Bytes(0);

/// A request's body on its way.
#[derive(Debug)]
pub(crate) struct Upload {
    left: Left,
    /// Taken from the client, and not handed out yet.
    piece: Bytes,
}

impl Upload {
    /// The body of a request with this framing.
    pub(crate) fn new(framing: Framing) -> Self {
        let left = match framing {
            Framing::Length(length) => Left::Bytes(length),
            Framing::Chunked => Left::Chunks,
            Framing::Empty | Framing::UntilClose => DONE,
        };
        Self { left, piece: Bytes::new() }
    }

    /// Whether all of it was handed out.
    pub(crate) fn is_done(&self) -> bool {
        self.left == DONE
    }

    /// Whether the piece at hand was handed out.
    pub(crate) fn wants_piece(&self) -> bool {
        self.piece.is_empty()
    }

    /// The next piece.
    ///
    /// # Errors
    /// The body is longer than it was said to be.
    pub(crate) fn put(&mut self, piece: Bytes) -> Result<(), Fault> {
        self.piece = piece;
        match self.left {
            Left::Bytes(left) if left < self.piece.len() as u64 => Err(RequestFlaw::BadContentLength.into()),
            Left::Bytes(_) | Left::Chunks => Ok(()),
        }
    }

    /// Some of the piece at hand.
    pub(crate) fn take(&mut self, buffers: &Rc<Buffers>) -> Buffer {
        let mut buffer = if self.piece.len() <= SMALL - CHUNK { buffers.small() } else { buffers.passage() };
        let room = buffer.spare().len() - CHUNK;
        let data = self.piece.split_to(self.piece.len().min(room));
        match &mut self.left {
            Left::Bytes(left) => {
                *left -= data.len() as u64;
                buffer.append(&data);
            }
            Left::Chunks => {
                let mut line = [0; CHUNK];
                let mut end = &mut line[..];
                write!(end, "{:x}\r\n", data.len()).unwrap_or_default(); // at most 18 bytes
                let unused = end.len();
                buffer.append(line.get(..CHUNK - unused).unwrap_or_default());
                buffer.append(&data);
                buffer.append(b"\r\n");
            }
        }
        buffer
    }

    /// The body has ended; what follows its last piece. A trailer section is at most `most` bytes long.
    ///
    /// # Errors
    /// It is shorter than it was said to be, or a trailer is none.
    pub(crate) fn end(
        &mut self,
        trailers: Option<&HeaderMap>,
        most: usize,
        buffers: &Rc<Buffers>,
    ) -> Result<Buffer, Fault> {
        if mem::replace(&mut self.left, DONE) != Left::Chunks {
            return Err(RequestFlaw::BadContentLength.into());
        }
        let mut section = Vec::new();
        for (name, value) in trailers.into_iter().flatten() {
            trailer(name, value, &mut section)?;
        }
        if section.len() > most {
            return Err(RequestError::BadTrailer.into());
        }
        let mut buffer = buffers.small();
        buffer.append(b"0\r\n");
        buffer.append(&section);
        buffer.append(b"\r\n");
        Ok(buffer)
    }
}

/// Appends a trailer, if it may be one.
fn trailer(name: &HeaderName, value: &HeaderValue, out: &mut Vec<u8>) -> Result<(), Fault> {
    let start = out.len();
    forward::line(out, name.as_str().as_bytes(), value.as_bytes());
    let line = out.get(start..out.len() - 2).unwrap_or_default();
    if !may_pass(line).map_err(|_| RequestError::BadTrailer)? {
        out.truncate(start);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(
        framing: Framing,
        pieces: &[&'static [u8]],
        trailers: Option<&HeaderMap>,
    ) -> Result<Vec<u8>, Fault> {
        let buffers = Rc::new(Buffers::default());
        let (mut upload, mut all) = (Upload::new(framing), Vec::new());
        for piece in pieces {
            upload.put(Bytes::from_static(piece))?;
            while !upload.wants_piece() {
                all.extend_from_slice(upload.take(&buffers).filled());
            }
        }
        if !upload.is_done() {
            all.extend_from_slice(upload.end(trailers, 100, &buffers)?.filled());
        }
        Ok(all)
    }

    #[test]
    fn a_body_is_as_long_as_was_said_or_in_chunks() {
        assert_eq!(sent(Framing::Length(5), &[b"he", b"llo"], None), Ok(b"hello".to_vec()));
        let chunks = b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n".to_vec();
        assert_eq!(sent(Framing::Chunked, &[b"he", b"llo"], None), Ok(chunks));
        assert_eq!(sent(Framing::Empty, &[], None), Ok(vec![]));
        let wrong = Err(RequestFlaw::BadContentLength.into());
        assert_eq!(sent(Framing::Length(5), &[b"hell"], None), wrong);
        assert_eq!(sent(Framing::Length(5), &[b"hello!"], None), wrong);
    }

    #[test]
    fn trailers_that_frame_are_dropped_and_too_many_refused() {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("1"));
        trailers.insert("content-length", HeaderValue::from_static("9"));
        let all = sent(Framing::Chunked, &[], Some(&trailers));
        assert_eq!(all, Ok(b"0\r\nx-sum: 1\r\n\r\n".to_vec()));
        trailers.insert("x-long", HeaderValue::from_str(&"x".repeat(100)).unwrap());
        assert_eq!(sent(Framing::Chunked, &[], Some(&trailers)), Err(RequestError::BadTrailer.into()));
    }
}
