//! One end of a TCP connection, played by the test: it sends exact bytes and reads exact bytes.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::Duration,
};

use crate::{
    PATIENCE,
    message::{Framing, Head, Message, field, latin1},
};

/// One end of a connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    /// Received, not read yet.
    ahead: Vec<u8>,
    received: Vec<u8>,
}

impl Wire {
    /// Connects as a client.
    pub fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect_timeout(&address, PATIENCE).unwrap_or_else(|e| panic!("{address}: {e}")))
    }

    /// Takes over a connection over a socket file, which is a stream like any other.
    pub fn over_unix(stream: UnixStream) -> Self {
        Self::new(TcpStream::from(OwnedFd::from(stream)))
    }

    /// Takes over a connection.
    pub fn new(stream: TcpStream) -> Self {
        for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
            set(&stream, Some(PATIENCE)).expect("a timeout can be set");
        }
        let _is_a_socket_file = stream.set_nodelay(true);
        Self { stream, ahead: Vec::new(), received: Vec::new() }
    }

    /// Sends all of it.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap_or_else(|e| panic!("cannot send: {e}"));
    }

    /// Sends what the other end takes; it may close in the middle.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        match self.stream.write_all(bytes.as_ref()) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                panic!("the other end neither takes it nor closes")
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Sends it byte by byte, each in a packet of its own.
    pub fn drip(&mut self, bytes: impl AsRef<[u8]>) {
        bytes.as_ref().chunks(1).for_each(|byte| self.send(byte));
    }

    /// Every byte received so far.
    pub fn received(&self) -> &[u8] {
        &self.received
    }

    /// The next bytes up to and with `end`.
    pub fn until(&mut self, end: &[u8]) -> Vec<u8> {
        let mut from = 0;
        loop {
            if let Some(at) = self.ahead[from..].windows(end.len()).position(|window| window == end) {
                return self.take(from + at + end.len());
            }
            from = (self.ahead.len() + 1).saturating_sub(end.len());
            let (got, wanted) = (latin1(&self.ahead), latin1(end));
            assert!(self.receive(), "closed before {wanted:?}; it sent {got:?}");
        }
    }

    /// The next `n` bytes.
    pub fn exactly(&mut self, n: usize) -> Vec<u8> {
        while self.ahead.len() < n {
            let got = self.ahead.len();
            assert!(self.receive(), "closed after {got} of {n} bytes");
        }
        self.take(n)
    }

    /// Whether another byte comes before the other end closes or resets.
    pub fn has_more(&mut self) -> bool {
        !self.ahead.is_empty() || self.receive()
    }

    /// What was received and not read yet.
    pub fn available(&mut self) -> Vec<u8> {
        self.take(self.ahead.len())
    }

    /// Everything until the other end closes or resets.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.receive() {}
        self.take(self.ahead.len())
    }

    /// The next head.
    pub fn head(&mut self) -> Head {
        Head::parse(&self.until(b"\r\n\r\n"))
    }

    /// The next request, with its body.
    pub fn request(&mut self) -> Message {
        let head = self.head();
        self.body(head, Framing::Empty)
    }

    /// The next response, with its body; not one to HEAD.
    pub fn response(&mut self) -> Message {
        let head = self.head();
        let bodyless = matches!(head.status(), 100..200 | 204 | 304);
        if bodyless {
            Message { head, body: vec![], framing: Framing::Empty }
        } else {
            self.body(head, Framing::Close)
        }
    }

    fn body(&mut self, head: Head, otherwise: Framing) -> Message {
        let (body, framing) = match (head.is_chunked(), head.content_length()) {
            (true, _) => {
                let (chunks, trailers) = self.chunks();
                (chunks.concat(), Framing::Chunked(chunks, trailers))
            }
            (_, Some(length)) => (self.exactly(length), Framing::Length),
            (_, None) if otherwise == Framing::Close => (self.rest(), Framing::Close),
            (_, None) => (vec![], otherwise),
        };
        Message { head, body, framing }
    }

    /// A chunked body up to its end: chunks, trailers. No chunk extensions.
    pub fn chunks(&mut self) -> (Vec<Vec<u8>>, Vec<(String, String)>) {
        let mut chunks = vec![];
        loop {
            let chunk = self.chunk();
            if chunk.is_empty() {
                break;
            }
            chunks.push(chunk);
        }
        let mut trailers = vec![];
        loop {
            let line = latin1(&self.until(b"\r\n"));
            match line.trim_end_matches("\r\n") {
                "" => return (chunks, trailers),
                line => trailers.push(field(line)),
            }
        }
    }

    /// One chunk's data; nothing for the size line of the last one.
    pub fn chunk(&mut self) -> Vec<u8> {
        let line = latin1(&self.until(b"\r\n"));
        let size = usize::from_str_radix(line.trim_end_matches("\r\n"), 16);
        let size = size.unwrap_or_else(|_| panic!("no chunk size: {line:?}"));
        let data = self.exactly(size);
        if size > 0 {
            assert_eq!(self.exactly(2), b"\r\n", "behind a chunk");
        }
        data
    }

    /// Fails unless the other end closes or resets, without another byte.
    pub fn is_closed(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "instead of closing it sent {:?}", latin1(&rest));
    }

    /// Fails if there is anything to read now; to be asked after something that would have come later.
    pub fn is_quiet(&mut self) {
        self.stream.set_nonblocking(true).expect("it can be set");
        let read = self.stream.read(&mut [0]);
        self.stream.set_nonblocking(false).expect("it can be set");
        let quiet = self.ahead.is_empty() && read.as_ref().is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
        assert!(quiet, "not quiet: {read:?}, {:?}", latin1(&self.ahead));
    }

    /// Says that nothing more will be sent; reads on.
    pub fn close_send(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("it was open");
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        self.reset_on_close();
    }

    /// When it is dropped, the connection ends with a reset.
    pub fn reset_on_close(&self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER can be set");
    }

    /// Gives the connection away; nothing may have been read ahead.
    pub fn into_stream(self) -> TcpStream {
        assert!(self.ahead.is_empty(), "{:?} was read ahead", latin1(&self.ahead));
        self.stream
    }

    /// Another handle to the connection; nothing may have been read ahead.
    pub fn stream(&self) -> TcpStream {
        assert!(self.ahead.is_empty(), "{:?} was read ahead", latin1(&self.ahead));
        self.stream.try_clone().expect("a handle can be had")
    }

    fn take(&mut self, n: usize) -> Vec<u8> {
        self.ahead.drain(..n).collect()
    }

    /// Receives some more; false at the end.
    fn receive(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(n) => {
                self.ahead.extend_from_slice(&buffer[..n]);
                self.received.extend_from_slice(&buffer[..n]);
                true
            }
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => false,
            Err(e) => panic!("waited {PATIENCE:?} in vain ({e}); so far {:?}", latin1(&self.ahead)),
        }
    }
}
