//! An encrypted connection as the proxy sees it: a [`Transport`] over the socket.
//!
//! - [`Session`]: rustls without buffers of its own. Bytes lie in the worker's lent buffers, and only while there are
//!   some: what came and is not read, what is read and not taken, what is to be sent.
//!
//! What was taken by [`Transport::poll_send`] may still be here; [`Transport::poll_flush`] sends it, and so does whoever
//! waits to receive. A connection that ends without a `close_notify` was cut, and says so by an error.

use std::{
    io::{self, IoSlice},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use rustls::{
    ProtocolVersion,
    server::{ServerConnectionData, UnbufferedServerConnection},
    unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic},
};

use super::{
    CertificateStore, Terminator,
    certificates::{set_came_to, take_asked_for},
    challenges::ACME_TLS,
    client_certificates::{self, validity},
    terminator::{Asks, HTTP2},
};
use crate::{
    io::{Socket, Transport},
    observe::counters::Closed,
    route::logline::Tls,
    worker::buffers::{Buffer, Buffers, SMALL},
};

/// The most that one record carries.
const RECORD: usize = 16 * 1024;
/// What a record needs besides: its header, a nonce, a tag, the hidden type.
const OVERHEAD: usize = 64;
/// How much is taken to be encrypted at once: more would hide from the clock how slow a client takes it.
const AT_ONCE: usize = 4 * RECORD;

/// An encrypted connection.
pub(crate) struct Session {
    socket: Socket,
    tls: UnbufferedServerConnection,
    buffers: Rc<Buffers>,
    store: Arc<CertificateStore>,
    /// The name the client asked for.
    name: Option<Box<str>>,
    /// The client is asked for a certificate.
    asks: Option<Asks>,
    /// Until when it may be resumed.
    until: validity::Until,
    /// What dynos are told about the client; known after the handshake, if it was asked.
    identity: Option<Rc<Vec<u8>>>,
    /// Came and is not decrypted.
    incoming: Option<Buffer>,
    /// Is decrypted and was not taken.
    plain: Option<Buffer>,
    /// Is encrypted and not sent.
    outgoing: Option<Buffer>,
    /// The client has said that nothing more comes.
    ended: bool,
    /// We have.
    said_goodbye: bool,
    /// rustls has found something wrong. It must not be asked again: it does not expect that.
    failed: Option<rustls::Error>,
}

/// What reading what has come led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// So many bytes for the caller, or, if there were more, behind those in `plain`.
    Plain(usize),
    /// Nothing is whole.
    NeedsMore,
    /// The client will send nothing more.
    Ended,
}

impl Session {
    /// Before the handshake. `came` was received already.
    pub(super) fn new(
        terminator: &Terminator,
        socket: Socket,
        came: Option<Buffer>,
        buffers: &Rc<Buffers>,
    ) -> Result<Box<Self>, rustls::Error> {
        let spoken = terminator.spoken.load();
        Ok(Box::new(Self {
            tls: UnbufferedServerConnection::new(Arc::clone(&spoken.config))?,
            asks: spoken.asks,
            until: validity::ALWAYS,
            identity: None,
            socket,
            buffers: Rc::clone(buffers),
            store: Arc::clone(&terminator.store),
            name: None,
            incoming: came,
            plain: None,
            outgoing: None,
            ended: false,
            said_goodbye: false,
            failed: None,
        }))
    }

    /// For the log.
    pub(crate) fn version(&self) -> Tls {
        match self.tls.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => Tls::V13,
            Some(ProtocolVersion::TLSv1_2) => Tls::V12,
            _ => Tls::Elsewhere,
        }
    }

    /// Whether client and router agreed on HTTP/2 (RFC 7301).
    pub(crate) fn is_http2(&self) -> bool {
        self.tls.alpn_protocol() == Some(HTTP2)
    }

    /// Whether the client is an ACME server that has seen now what it wanted to see (RFC 8737 §3).
    pub(super) fn is_validation(&self) -> bool {
        self.tls.alpn_protocol() == Some(ACME_TLS)
    }

    pub(super) fn is_resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// Goes on with the handshake; ready when it is done, with what was wrong if that was TLS.
    pub(super) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let by_address = self.name.is_none() && self.store.has_addresses();
        set_came_to(if by_address { self.socket.local_ip() } else { None });
        loop {
            validity::set_until(self.until);
            let step = self.step(&mut []);
            self.until = validity::until();
            match step {
                Ok(Step::Plain(_) | Step::NeedsMore) => {}
                Ok(Step::Ended) => return Poll::Ready(Err(Broken::Left)),
                Err(error) => return Poll::Ready(Err(Broken::Tls(error))),
            }
            if self.name.is_none() {
                self.name = take_asked_for();
            }
            let sent = self.poll_flush(cx).map_err(|_| Broken::Left)?;
            if !self.tls.is_handshaking() {
                let chain = self.tls.peer_certificates();
                self.identity = self.asks.map(|asks| client_certificates::lines(chain, asks.passed_on));
                return Poll::Ready(Ok(()));
            }
            ready!(sent);
            match ready!(self.poll_receive(cx)) {
                Ok(n) if n > 0 => {}
                Ok(_) | Err(_) => return Poll::Ready(Err(Broken::Left)),
            }
        }
    }

    /// Sends the alert that says what was wrong, if that can be done without waiting; `instead` of rustls's, if given.
    pub(super) fn last_words(&mut self, instead: Option<[u8; 7]>) {
        let mut cx = Context::from_waker(Waker::noop());
        if let Some(alert) = instead {
            self.outgoing = None;
            self.out().append(&alert);
        }
        let _nobody_waits = self.poll_flush(&mut cx);
        let _nobody_waits = self.socket.poll_close_send(&mut cx);
    }

    /// Receives behind what has come; 0 at the end of the stream.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.incoming.is_none() {
            ready!(self.socket.poll_recv_ready(cx))?;
        }
        let buffers = &self.buffers;
        let incoming = self.incoming.get_or_insert_with(|| buffers.passage());
        if incoming.is_full() {
            incoming.make_room();
        }
        let received = self.socket.poll_recv(cx, incoming.spare());
        if let Poll::Ready(Ok(n)) = received {
            incoming.fill(n);
        } else {
            incoming.shrink();
        }
        self.incoming.take_if(|incoming| incoming.is_empty());
        received
    }

    /// Reads what has come until there is something for the caller, or nothing is whole any more.
    fn step(&mut self, into: &mut [u8]) -> Result<Step, rustls::Error> {
        loop {
            if let Some(error) = &self.failed {
                return Err(error.clone());
            }
            if self.ended {
                return Ok(Step::Ended);
            }
            match self.step_with(into) {
                Ok(Some(step)) => return Ok(step),
                Ok(None) => {}
                Err(error) => {
                    self.failed = Some(error);
                    // The alert that says so, if there is one, comes first.
                    let _none = self.step_with(&mut []);
                }
            }
        }
    }

    /// One step; `None`: it led to nothing, take another one.
    fn step_with(&mut self, into: &mut [u8]) -> Result<Option<Step>, rustls::Error> {
        let Self { tls, incoming, plain, outgoing, buffers, ended, .. } = self;
        let came = incoming.as_mut().map_or(&mut [][..], |incoming| incoming.filled_mut());
        let UnbufferedStatus { discard, state } = tls.process_tls_records(came);
        let step = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                let mut taken = 0;
                while let Some(record) = traffic.next_record() {
                    taken += hand_out(record?.payload, into.get_mut(taken..), plain, buffers);
                }
                Ok(Some(Step::Plain(taken)))
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                let out = outgoing.get_or_insert_with(|| buffers.small());
                encode(out, |room| data.encode(room)).map(|()| None)
            }
            // It is in `outgoing`, and everything else is sent behind that.
            Ok(ConnectionState::TransmitTlsData(sent)) => {
                sent.done();
                Ok(None)
            }
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                *ended = true;
                Ok(Some(Step::Ended))
            }
            Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => {
                Ok(Some(Step::NeedsMore))
            }
            Ok(_) => Err(rustls::Error::General("rustls has a state that is not known here".into())),
            Err(error) => Err(error),
        };
        if let Some(incoming) = incoming {
            incoming.consume(discard);
        }
        self.incoming.take_if(|incoming| incoming.is_empty());
        step
    }

    /// Lets rustls write behind what is to be sent. What has come meanwhile is decrypted first and kept.
    fn write(
        &mut self,
        n: usize,
        deed: impl FnOnce(&mut Writing<'_>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> io::Result<()> {
        while self.step(&mut []).map_err(broken)? != Step::NeedsMore {
            if self.ended {
                break;
            }
        }
        self.out();
        let Self { tls, incoming, outgoing, .. } = self;
        let came = incoming.as_mut().map_or(&mut [][..], |incoming| incoming.filled_mut());
        let UnbufferedStatus { discard, state } = tls.process_tls_records(came);
        let (Ok(ConnectionState::WriteTraffic(mut traffic)), Some(out)) = (state, outgoing) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let wanted = n + OVERHEAD * (n / RECORD + 1);
        while out.room() < wanted {
            out.make_room();
        }
        let written = deed(&mut traffic, out.spare()).map_err(|_| io::ErrorKind::BrokenPipe)?;
        out.fill(written);
        if let Some(incoming) = incoming {
            incoming.consume(discard);
        }
        Ok(())
    }

    fn out(&mut self) -> &mut Buffer {
        let buffers = &self.buffers;
        self.outgoing.get_or_insert_with(|| buffers.small())
    }

    fn encrypt(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() + OVERHEAD > SMALL && self.outgoing.is_none() {
            self.outgoing = Some(self.buffers.passage());
        }
        self.write(bytes.len(), |traffic, room| traffic.encrypt(bytes, room))?;
        Ok(bytes.len())
    }
}

type Writing<'c> = WriteTraffic<'c, ServerConnectionData>;

/// Copies a decrypted piece to the caller as far as it fits; the rest is kept. How much the caller got.
fn hand_out(
    payload: &[u8],
    into: Option<&mut [u8]>,
    plain: &mut Option<Buffer>,
    buffers: &Rc<Buffers>,
) -> usize {
    let into = into.unwrap_or_default();
    // What is kept comes first.
    let fits = if plain.is_none() { into.len().min(payload.len()) } else { 0 };
    let (now, later) = payload.split_at(fits);
    if let Some(into) = into.get_mut(..fits) {
        into.copy_from_slice(now);
    }
    if !later.is_empty() {
        plain.get_or_insert_with(|| buffers.small()).append(later);
    }
    fits
}

/// Lets rustls write into a buffer, which grows until that fits.
fn encode(
    out: &mut Buffer,
    mut deed: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), rustls::Error> {
    loop {
        match deed(out.spare()) {
            Ok(n) => {
                out.fill(n);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(size)) => {
                while out.room() < size.required_size {
                    out.make_room();
                }
            }
            Err(EncodeError::AlreadyEncoded) => return Ok(()),
        }
    }
}

fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// How a handshake failed.
pub(super) enum Broken {
    /// The client closed or reset the connection.
    Left,
    Tls(rustls::Error),
}

impl Transport for Session {
    fn poll_recv_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.plain.is_some() || self.ended {
            return Poll::Ready(Ok(()));
        }
        // The socket may be silent for ever about what it has delivered already.
        if self.incoming.is_some() && self.step(&mut []).map_err(broken)? != Step::NeedsMore {
            return Poll::Ready(Ok(()));
        }
        let _what_waits_to_be_sent = self.poll_flush(cx)?;
        self.socket.poll_recv_ready(cx)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Some(plain) = &mut self.plain {
            let n = plain.filled().len().min(buf.len());
            let taken = plain.filled().get(..n).zip(buf.get_mut(..n));
            taken.into_iter().for_each(|(from, to)| to.copy_from_slice(from));
            plain.consume(n);
            self.plain.take_if(|plain| plain.is_empty());
            return Poll::Ready(Ok(n));
        }
        let mut taken = 0;
        loop {
            match self.step(buf.get_mut(taken..).unwrap_or_default()) {
                Ok(Step::Plain(n)) => taken += n,
                Ok(Step::Ended) => return Poll::Ready(Ok(taken)),
                Err(_) if taken > 0 => return Poll::Ready(Ok(taken)), // the error comes again
                Err(error) => return Poll::Ready(Err(broken(error))),
                Ok(Step::NeedsMore) if taken > 0 => return Poll::Ready(Ok(taken)),
                Ok(Step::NeedsMore) => {
                    let _what_waits_to_be_sent = self.poll_flush(cx)?;
                    if ready!(self.poll_receive(cx))? == 0 {
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                }
            }
            if self.plain.is_some() || (taken > 0 && buf.len() - taken < RECORD) {
                return Poll::Ready(Ok(taken));
            }
        }
    }

    /// What is in several pieces goes into one record, if it fits.
    fn poll_send(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(cx))?;
        let mut full = slices.iter().filter(|slice| !slice.is_empty());
        let n = match (full.next(), full.next()) {
            (None, _) => 0,
            (Some(one), None) => self.encrypt(one.get(..one.len().min(AT_ONCE)).unwrap_or(one))?,
            (Some(one), Some(_)) if one.len() >= RECORD => {
                self.encrypt(one.get(..one.len().min(AT_ONCE)).unwrap_or(one))?
            }
            (Some(_), Some(_)) => {
                let mut joined = self.buffers.small();
                for slice in slices {
                    let fits = slice.len().min(SMALL - joined.filled().len());
                    joined.append(slice.get(..fits).unwrap_or_default());
                }
                self.encrypt(joined.filled())?
            }
        };
        let _what_is_left_waits = self.poll_flush(cx)?;
        Poll::Ready(Ok(n))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(outgoing) = &mut self.outgoing {
            if outgoing.is_empty() {
                self.outgoing = None;
                break;
            }
            match self.socket.poll_send(cx, &[IoSlice::new(outgoing.filled())]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => outgoing.consume(n),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    outgoing.shrink();
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.said_goodbye {
            self.said_goodbye = true;
            // A session that is broken has nobody to say goodbye to.
            let _broken = self.write(0, |traffic, room| traffic.queue_close_notify(room));
        }
        ready!(self.poll_flush(cx))?;
        self.socket.poll_close_send(cx)
    }

    fn farewell(&mut self) {
        let _nobody_waits = self.poll_close_send(&mut Context::from_waker(Waker::noop()));
    }

    fn broken_by(&self) -> Option<Closed> {
        self.failed.as_ref().map(|_| Closed::TlsBroken)
    }

    fn identity(&self) -> Option<Rc<Vec<u8>>> {
        self.identity.clone()
    }

    /// A client that asked for one name may use the connection for another one only if a certificate is for both.
    fn serves(&self, host: &str) -> bool {
        self.name.as_deref().is_none_or(|name| name == host || self.store.cover_both(name, host))
    }
}
