//! The answers, ready to be sent in one piece.

use std::rc::Rc;

use bytes::Bytes;

use crate::{units, wire::head::Target};

/// Largest body.
const LARGEST: u64 = 64 << 20;
/// Bytes in the body of `/chunked` and `/trailers`, and in each of its chunks.
const CHUNKED: (usize, usize) = (1024, 256);

/// An answer and where its head ends.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) bytes: Bytes,
    pub(super) head: usize,
}

/// The answers that are asked for often.
pub(super) struct Answers {
    root: Answer,
    sizes: [(u64, Answer); 3],
    chunked: Answer,
    trailers: Answer,
    unknown: Answer,
    filler: Rc<[u8]>,
}

impl Answers {
    pub(super) fn new() -> Self {
        let filler: Rc<[u8]> = (0..1 << 20).map(|n: u32| b'a' + (n % 26) as u8).collect();
        let sized = |size: u64| (size, answer("200 OK", body(&filler, size).as_ref()));
        Self {
            root: answer("200 OK", b"Hello, world!"),
            sizes: [sized(1 << 10), sized(64 << 10), sized(1 << 20)],
            chunked: chunked("", "\r\n"),
            trailers: chunked("Trailer: X-Checksum\r\n", "X-Checksum: 4711\r\n\r\n"),
            unknown: answer("404 Not Found", b"no such path here\n"),
            filler,
        }
    }

    /// The answer for a path.
    pub(super) fn find(&self, target: &Target) -> Answer {
        match target {
            Target::Root | Target::WebSocket(_) => self.root.clone(),
            Target::Path(path) => self.path(path),
            Target::Head(names) => Self::text(names),
        }
    }

    /// The body for a path, without a head; HTTP/2 frames it itself. None: there is no such path.
    pub(super) fn body(&self, path: &str) -> Option<Bytes> {
        let answer = if path == "/" { &self.root } else { &self.path(path) };
        (answer.bytes != self.unknown.bytes).then(|| answer.bytes.slice(answer.head..))
    }

    fn path(&self, path: &str) -> Answer {
        let path = path.split('?').next().unwrap_or_default();
        match path {
            "/" => return self.root.clone(),
            "/chunked" => return self.chunked.clone(),
            "/trailers" => return self.trailers.clone(),
            _ if path.starts_with("/as/") => return self.root.clone(),
            _ => {}
        }
        let size = units::size(path.trim_start_matches('/')).ok().filter(|size| *size <= LARGEST);
        let ready = |size| self.sizes.iter().find(|(of, _)| *of == size).map(|(_, answer)| answer.clone());
        match size {
            None => self.unknown.clone(),
            Some(size) => ready(size).unwrap_or_else(|| answer("200 OK", &body(&self.filler, size))),
        }
    }

    /// An answer that says something.
    pub(super) fn text(text: &str) -> Answer {
        answer("200 OK", text.as_bytes())
    }
}

fn body(filler: &[u8], size: u64) -> Vec<u8> {
    let size = usize::try_from(size).unwrap_or(0);
    filler.iter().copied().cycle().take(size).collect()
}

fn answer(status: &str, body: &[u8]) -> Answer {
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
    Answer { head: head.len(), bytes: [head.as_bytes(), body].concat().into() }
}

fn chunked(fields: &str, end: &str) -> Answer {
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{fields}Transfer-Encoding: chunked\r\n\r\n");
    let (size, chunk) = CHUNKED;
    let one = format!("{chunk:x}\r\n{}\r\n", "c".repeat(chunk));
    let bytes = format!("{head}{}0\r\n{end}", one.repeat(size / chunk));
    Answer { head: head.len(), bytes: bytes.into() }
}
