//! A client that writes HTTP/2 frames by hand, also such as no library would.
//!
//! - [`Raw`]: a connection. [`Frame`]: one that came. [`head`]: a block of headers, without compression.

use it::{Router, Wire};

/// Kinds of frames (RFC 9113 §6).
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;

/// Codes of errors (RFC 9113 §7).
pub(super) const PROTOCOL_ERROR: u32 = 1;
pub(super) const FLOW_CONTROL_ERROR: u32 = 3;
pub(super) const STREAM_CLOSED: u32 = 5;
pub(super) const FRAME_SIZE_ERROR: u32 = 6;
pub(super) const CANCEL: u32 = 8;
pub(super) const COMPRESSION_ERROR: u32 = 9;
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    fn number(&self, at: usize) -> u32 {
        let four = self.payload.get(at..at + 4).expect("four bytes");
        u32::from_be_bytes(four.try_into().expect("four"))
    }

    /// The code of a GOAWAY or of a RST_STREAM.
    pub(super) fn code(&self) -> u32 {
        self.number(if self.kind == GOAWAY { 4 } else { 0 })
    }

    /// The status of a response that needs no Huffman decoding to be known (RFC 7541, appendix A).
    pub(super) fn status(&self) -> Option<u16> {
        const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
        // A change of the table's size may come first.
        let block = self.payload.iter().skip_while(|byte| **byte & 0xe0 == 0x20).copied().next()?;
        INDEXED.get(usize::from(block.checked_sub(0x88)?)).copied()
    }
}

/// The bytes of a frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// One header, literal and without indexing.
pub(super) fn field(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name.as_ref(), value.as_ref()] {
        let length = text.len();
        if let Some(rest) = length.checked_sub(127) {
            out.push(127);
            let mut rest = rest;
            while rest >= 128 {
                out.push(u8::try_from(rest % 128 + 128).expect("a byte"));
                rest /= 128;
            }
            out.push(u8::try_from(rest).expect("a byte"));
        } else {
            out.push(u8::try_from(length).expect("a byte"));
        }
        out.extend_from_slice(text);
    }
    out
}

/// A block of headers.
pub(super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// The block of a request for the app, with these headers besides.
pub(super) fn head(method: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "http"), (":authority", "app.test"), (":path", "/")];
    [block(&pseudo), block(more)].concat()
}

/// A whole GET.
pub(super) fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, head("GET", &[]))
}

/// A connection that has said its preface and its settings.
pub(super) struct Raw(pub(super) Wire);

impl Raw {
    pub(super) fn connect(router: &Router) -> Self {
        Self::connect_with(router, &[])
    }

    /// With these settings.
    pub(super) fn connect_with(router: &Router, settings: &[(u16, u32)]) -> Self {
        Self::over(router.client(), settings)
    }

    /// Over this connection, with these settings.
    pub(super) fn over(mut wire: Wire, settings: &[(u16, u32)]) -> Self {
        let settings: Vec<u8> = settings
            .iter()
            .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()[..]].concat())
            .collect();
        wire.send(
            [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(SETTINGS, 0, 0, settings)].concat(),
        );
        let mut raw = Self(wire);
        assert_eq!(raw.next_raw().kind, SETTINGS);
        raw.0.send(frame(SETTINGS, ACK, 0, []));
        raw
    }

    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.send(bytes);
    }

    fn next_raw(&mut self) -> Frame {
        let head = self.0.exactly(9);
        let [_, a, b, c, kind, flags, stream @ ..] =
            <[u8; 10]>::try_from([&[0][..], &head].concat()).expect("a head");
        let length = u32::from_be_bytes([0, a, b, c]);
        let payload = self.0.exactly(length.try_into().expect("it fits"));
        Frame { kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff, payload }
    }

    /// The next frame that is about a stream, or a GOAWAY.
    pub(super) fn next(&mut self) -> Frame {
        loop {
            let frame = self.next_raw();
            if !matches!(frame.kind, SETTINGS | WINDOW_UPDATE | PING) {
                return frame;
            }
        }
    }

    /// The code of the GOAWAY that comes now or later; then the connection is closed.
    pub(super) fn goaway(mut self) -> u32 {
        loop {
            let frame = self.next();
            if frame.kind == GOAWAY {
                let _late = self.0.rest();
                return frame.code();
            }
        }
    }

    /// How this stream ends: with a status that is known without Huffman decoding (or another one, 0), or a code; and the
    /// body.
    pub(super) fn answer(&mut self, stream: u32) -> (Result<u16, u32>, Vec<u8>) {
        let (mut status, mut body) = (None, Vec::new());
        loop {
            let frame = self.next();
            if frame.kind == GOAWAY {
                return (Err(frame.code()), body);
            }
            if frame.stream != stream {
                continue;
            }
            match frame.kind {
                RST_STREAM => return (Err(frame.code()), body),
                HEADERS if status.is_none() => status = Some(frame.status().unwrap_or(0)),
                _ => body.extend_from_slice(&frame.payload),
            }
            if frame.flags & END_STREAM != 0 {
                return (Ok(status.expect("a head comes first")), body);
            }
        }
    }

    /// The same without the body.
    pub(super) fn outcome(&mut self, stream: u32) -> Result<u16, u32> {
        self.answer(stream).0
    }
}
