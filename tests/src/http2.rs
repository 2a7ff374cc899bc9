//! A dyno that speaks HTTP/2 and is played by hand, frame by frame (RFC 9113 §4).

use crate::{Dyno, Wire};

/// What every client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames.
pub mod kind {
    #![allow(missing_docs, reason = "RFC 9113 §6 has them")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
}

/// Why a stream or a connection ends.
pub mod code {
    #![allow(missing_docs, reason = "RFC 9113 §7 has them")]
    pub const NO_ERROR: u32 = 0;
    pub const INTERNAL_ERROR: u32 = 2;
    pub const REFUSED_STREAM: u32 = 7;
    pub const CANCEL: u32 = 8;
}

/// The most streams at a time that the other side may begin: a setting.
pub const MAX_CONCURRENT_STREAMS: u16 = 3;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// One frame.
#[derive(Debug)]
pub struct Frame {
    /// One of [`kind`].
    pub kind: u8,
    flags: u8,
    /// Which stream; 0 is the connection.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Whether it is the last one of its stream.
    pub fn ends(&self) -> bool {
        self.flags & END_STREAM != 0
    }

    /// The number at the front: the reason of a reset.
    pub fn code(&self) -> u32 {
        u32::from_be_bytes(self.payload[..4].try_into().expect("four bytes"))
    }
}

/// A connection of the router's.
#[derive(Debug)]
pub struct Http2 {
    wire: Wire,
}

impl Http2 {
    /// The next connection the router makes; the dyno says that it speaks HTTP/2.
    pub fn accept(dyno: &Dyno) -> Self {
        Self::accept_with(dyno, &[])
    }

    /// The same with these settings.
    pub fn accept_with(dyno: &Dyno, settings: &[(u16, u32)]) -> Self {
        let mut wire = dyno.accept();
        assert_eq!(wire.exactly(PREFACE.len()), PREFACE);
        let mut this = Self { wire };
        let pairs =
            settings.iter().map(|(key, value)| [&key.to_be_bytes()[..], &value.to_be_bytes()].concat());
        this.send(kind::SETTINGS, 0, 0, &pairs.collect::<Vec<_>>().concat());
        this
    }

    /// The next frame that is about a stream, or the end.
    pub fn frame(&mut self) -> Frame {
        loop {
            let head = self.wire.exactly(9);
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let stream = u32::from_be_bytes(head[5..9].try_into().expect("four bytes"));
            let frame = Frame { kind: head[3], flags: head[4], stream, payload: self.wire.exactly(length) };
            match frame.kind {
                kind::SETTINGS if frame.flags & ACK == 0 => self.send(kind::SETTINGS, ACK, 0, b""),
                kind::PING if frame.flags & ACK == 0 => self.send(kind::PING, ACK, 0, &frame.payload),
                kind::SETTINGS | kind::PING | kind::WINDOW_UPDATE => {}
                _ => return frame,
            }
        }
    }

    /// The head of the next request: its stream, and whether that is all.
    pub fn request(&mut self) -> (u32, bool) {
        let frame = self.frame();
        assert_eq!((frame.kind, frame.flags & END_HEADERS), (kind::HEADERS, END_HEADERS), "{frame:?}");
        (frame.stream, frame.ends())
    }

    /// The body of a request, up to its end.
    pub fn body(&mut self, stream: u32) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let frame = self.frame();
            assert_eq!((frame.kind, frame.stream), (kind::DATA, stream), "{frame:?}");
            body.extend_from_slice(&frame.payload);
            if frame.ends() {
                return body;
            }
        }
    }

    /// Waits for the end of a stream by reset; its reason.
    pub fn reset_of(&mut self, stream: u32) -> u32 {
        loop {
            let frame = self.frame();
            if (frame.kind, frame.stream) == (kind::RST_STREAM, stream) {
                return frame.code();
            }
        }
    }

    /// Waits for the end of the connection.
    pub fn ends(&mut self) {
        let frame = self.frame();
        assert_eq!((frame.kind, frame.stream), (kind::GOAWAY, 0), "{frame:?}");
        self.wire.is_closed();
    }

    /// Sends a frame.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("it is short").to_be_bytes();
        self.wire.send([&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat());
    }

    /// Sends a head or trailers, spelled out.
    pub fn fields(&mut self, stream: u32, fields: &[(&str, &str)], ends: bool) {
        let mut block = Vec::new();
        for (name, value) in fields {
            block.push(0); // a literal that is not indexed (RFC 7541 §6.2.2)
            text(name, &mut block);
            text(value, &mut block);
        }
        let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
        self.send(kind::HEADERS, flags, stream, &block);
    }

    /// Sends some of a body.
    pub fn data(&mut self, stream: u32, data: &[u8], ends: bool) {
        self.send(kind::DATA, u8::from(ends), stream, data);
    }

    /// Answers with a 200 and this body.
    pub fn answer(&mut self, stream: u32, body: &str) {
        self.fields(stream, &[(":status", "200"), ("content-length", &body.len().to_string())], false);
        self.data(stream, body.as_bytes(), true);
    }

    /// Resets a stream.
    pub fn reset(&mut self, stream: u32, code: u32) {
        self.send(kind::RST_STREAM, 0, stream, &code.to_be_bytes());
    }

    /// Says that streams after `last` are not looked at, and no new ones.
    pub fn go_away(&mut self, last: u32, code: u32) {
        self.send(kind::GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat());
    }
}

/// A text without Huffman's code (RFC 7541 §5.2), its length with a prefix of seven bits (§5.1).
fn text(text: &str, out: &mut Vec<u8>) {
    let mut length = text.len();
    if length < 127 {
        out.push(u8::try_from(length).expect("it is short"));
    } else {
        out.push(127);
        length -= 127;
        while length >= 128 {
            out.push(u8::try_from(length % 128).expect("it is short") | 128);
            length /= 128;
        }
        out.push(u8::try_from(length).expect("it is short"));
    }
    out.extend_from_slice(text.as_bytes());
}
