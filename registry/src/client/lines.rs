//! An answer without an end, read line by line.

use std::time::Duration;

use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::{Refusal, wire::Line};

/// The most bytes of a line: an app with all the domains it may have is a quarter of it.
const LINE: usize = 4 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Lines {
    body: Incoming,
    buffer: BytesMut,
    /// This much of the buffer has no line end in it.
    searched: usize,
    at: String,
}

impl Lines {
    pub(super) fn new(body: Incoming, at: String) -> Self {
        Self { body, buffer: BytesMut::new(), searched: 0, at }
    }

    /// The next line; [`Line::Refused`] is an error. It is an error too when nothing comes for as long as `silence`,
    /// or when the connection ends.
    pub(super) async fn next(&mut self, silence: Duration) -> Result<Line, Refusal> {
        loop {
            if let Some(line) = self.buffered() {
                return match serde_json::from_slice(&line) {
                    Ok(Line::Refused(refusal)) => Err(refusal),
                    Ok(line) => Ok(line),
                    Err(error) => Err(self.unreachable(format!("it sent a wrong line: {error}"))),
                };
            }
            if self.buffer.len() > LINE {
                return Err(self.unreachable(format!("it sent a line of more than {LINE} bytes")));
            }
            let frame = tokio::time::timeout(silence, self.body.frame()).await;
            match frame.map_err(|_| self.unreachable(format!("it said nothing for {silence:?}")))? {
                Some(Ok(frame)) => self.buffer.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(error)) => return Err(self.unreachable(error.to_string())),
                None => return Err(self.unreachable("it ended the connection".into())),
            }
        }
    }

    /// The other side sent a line that has no place here.
    pub(super) fn unexpected(&self, line: &Line) -> Refusal {
        self.unreachable(format!("it sent a line that does not belong here: {line:?}"))
    }

    fn buffered(&mut self) -> Option<BytesMut> {
        let mut unsearched = self.buffer.iter().skip(self.searched);
        let Some(end) = unsearched.position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.searched + end + 1);
        self.searched = 0;
        Some(line)
    }

    fn unreachable(&self, why: String) -> Refusal {
        Refusal::Unreachable { at: self.at.clone(), why }
    }
}
