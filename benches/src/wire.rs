//! HTTP/1.1 as a measuring instrument needs it: both ends, without I/O, nothing kept that is not counted.
//!
//! - [`Reader`]: eats bytes until a message is complete; of the head only what [`Head`] keeps survives.
//! - [`body`]: where a body ends. [`head`]: what is kept of a request and of an answer.
//! - [`read_with`], [`Scratch`]: reading through one buffer per thread, so that an idle connection holds none.

pub(crate) mod body;
pub(crate) mod head;

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

pub(crate) use self::{body::Body, head::Head};

/// Longest head that is accepted.
const HEAD_LIMIT: usize = 64 << 10;
/// Size of the shared buffer: what a mebibyte needs to flow in few reads.
const SCRATCH: usize = 256 << 10;

/// The bytes are not HTTP/1.1, or too much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not HTTP/1.1: {0}")]
pub(crate) struct NotHttp(pub(crate) &'static str);

/// The read buffer all connections of a thread share.
#[derive(Clone)]
pub(crate) struct Scratch(Rc<RefCell<Vec<u8>>>);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(Rc::new(RefCell::new(vec![0; SCRATCH])))
    }
}

/// Reads once, at most `limit` bytes, and gives what came to `eat`: nothing, when the peer has closed. Cancel safe.
pub(crate) async fn read_with<S: AsyncRead + Unpin, T>(
    stream: &mut S,
    scratch: &Scratch,
    limit: usize,
    mut eat: impl FnMut(&[u8]) -> T,
) -> io::Result<T> {
    std::future::poll_fn(|context| {
        let mut space = scratch.0.borrow_mut();
        let end = limit.min(space.len());
        let mut read = ReadBuf::new(space.get_mut(..end).unwrap_or_default());
        ready!(Pin::new(&mut *stream).poll_read(context, &mut read))?;
        Poll::Ready(Ok(eat(read.filled())))
    })
    .await
}

/// Eats the bytes of one message after another.
pub(crate) struct Reader<H> {
    carry: Vec<u8>,
    state: State<H>,
}

enum State<H> {
    Head,
    Body(H, Body),
}

/// What became of the bytes given to [`Reader::eat`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Eaten<H> {
    /// How many of them belong to this message.
    pub(crate) used: usize,
    /// How many of those belong to its body, framing included.
    pub(crate) body: usize,
    /// The message, when its last byte was among them.
    pub(crate) complete: Option<H>,
}

impl<H: Head> Reader<H> {
    pub(crate) const fn new() -> Self {
        Self { carry: Vec::new(), state: State::Head }
    }

    /// Eats bytes up to the end of the message.
    ///
    /// # Errors
    /// They are not HTTP/1.1; the connection is then of no use any more.
    pub(crate) fn eat(&mut self, bytes: &[u8]) -> Result<Eaten<H>, NotHttp> {
        let mut used = 0;
        if matches!(self.state, State::Head) {
            match self.eat_head(bytes)? {
                None => return Ok(Eaten { used: bytes.len(), body: 0, complete: None }),
                Some(length) => used = length,
            }
        }
        let State::Body(_, body) = &mut self.state else {
            return Ok(Eaten { used, body: 0, complete: None });
        };
        let (eaten, done) = body.eat(bytes.get(used..).unwrap_or_default())?;
        used += eaten;
        let complete = if done { self.take() } else { None };
        Ok(Eaten { used, body: eaten, complete })
    }

    /// The peer has closed: the message, if that is how it ends.
    pub(crate) fn close(&mut self) -> Option<H> {
        matches!(self.state, State::Body(_, Body::UntilClose)).then(|| self.take()).flatten()
    }

    /// The number of bytes of `bytes` that belong to the head, when it is complete.
    fn eat_head(&mut self, bytes: &[u8]) -> Result<Option<usize>, NotHttp> {
        let carried = self.carry.len();
        let parsed = if carried == 0 {
            H::parse(bytes)?
        } else {
            self.carry.extend_from_slice(bytes);
            H::parse(&self.carry)?
        };
        if let Some((head, length, body)) = parsed {
            self.carry = Vec::new();
            self.state = State::Body(head, body);
            return Ok(Some(length.saturating_sub(carried)));
        }
        if carried == 0 {
            self.carry.extend_from_slice(bytes);
        }
        if self.carry.len() > HEAD_LIMIT { Err(NotHttp("the head is too long")) } else { Ok(None) }
    }

    fn take(&mut self) -> Option<H> {
        match std::mem::replace(&mut self.state, State::Head) {
            State::Body(head, _) => Some(head),
            State::Head => None,
        }
    }
}

impl Reader<head::Request> {
    /// Whether the client waits to be told to send its body; says so once.
    pub(crate) fn expects_continue(&mut self) -> bool {
        match &mut self.state {
            State::Body(head, _) => std::mem::take(&mut head.expects_continue),
            State::Head => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{head::Answer, *};

    fn answers(pieces: &[&[u8]]) -> Result<Vec<u16>, NotHttp> {
        let mut reader = Reader::<Answer>::new();
        let mut statuses = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let eaten = reader.eat(rest)?;
                rest = &rest[eaten.used..];
                statuses.extend(eaten.complete.map(|answer| answer.status));
            }
        }
        Ok(statuses)
    }

    const MIXED: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\
        HTTP/1.1 503 Busy\r\ntransfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1f\r\n0123456789012345678901234567890\r\n\
        0\r\nDigest: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";

    #[test]
    fn answers_end_where_they_end_wherever_the_bytes_are_cut() {
        assert_eq!(answers(&[MIXED]), Ok(vec![200, 503, 204]));
        for first in 1..MIXED.len() {
            for second in first..(first + 40).min(MIXED.len()) {
                let pieces = [&MIXED[..first], &MIXED[first..second], &MIXED[second..]];
                assert_eq!(answers(&pieces), Ok(vec![200, 503, 204]), "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn an_answer_without_length_ends_when_the_peer_closes() {
        let mut reader = Reader::<Answer>::new();
        assert_eq!(
            reader.eat(b"HTTP/1.1 200 OK\r\n\r\nsome").map(|eaten| eaten.complete.is_some()),
            Ok(false)
        );
        assert_eq!(reader.close().map(|answer| answer.status), Some(200));
    }

    #[test]
    fn a_short_answer_is_not_completed_by_closing() {
        let mut reader = Reader::<Answer>::new();
        reader.eat(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell").unwrap();
        assert!(reader.close().is_none());
    }

    #[test]
    fn a_head_without_end_is_refused() {
        let mut reader = Reader::<Answer>::new();
        let refused = (0..1000).any(|_| reader.eat(&[b'H'; 100]).is_err());
        assert!(refused);
    }
}
