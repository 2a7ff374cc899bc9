//! Messages to the kernel about networks: as much of netlink as a dyno's network needs, for one thread.
//!
//! - [`Message`]: a request under construction: a header, fixed fields, attributes, some with attributes in them.
//! - [`Netlink`]: a socket. It stays with the network namespace in which it was opened, wherever its owner goes.

use std::{io, os::fd::OwnedFd};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, netlink::SocketAddrNetlink, recv,
    send, socket_with, sockopt,
};

pub(super) const REQUEST: u16 = 0x1;
pub(super) const ACK: u16 = 0x4;
pub(super) const EXCL: u16 = 0x200;
pub(super) const CREATE: u16 = 0x400;
pub(super) const APPEND: u16 = 0x800;

const ERROR: u16 = 2;
const HEADER: usize = 16;
/// An attribute that contains attributes.
const NESTED: u16 = 0x8000;

/// A request, or several that are carried out together.
#[derive(Debug, Default)]
pub(super) struct Message {
    bytes: Vec<u8>,
    start: usize,
}

impl Message {
    /// Begins a request of this kind.
    pub(super) fn new(kind: u16, flags: u16) -> Self {
        let mut message = Self::default();
        message.next(kind, flags);
        message
    }

    /// Ends the request and begins another one in the same batch.
    pub(super) fn next(&mut self, kind: u16, flags: u16) {
        self.start = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((REQUEST | flags).to_ne_bytes());
        self.bytes.extend([0; 8]);
        self.measure();
    }

    /// Has the kernel acknowledge the request that was begun last. Of several that are carried out together only that one may
    /// be acknowledged: the answers come in their order, those for the first ones also when a later one fails and nothing is
    /// carried out. What fails is always answered.
    pub(super) fn acknowledged(&mut self) {
        let flags = self.start + 6;
        let old =
            self.bytes.get(flags..).and_then(<[u8]>::first_chunk).map_or(0, |old| u16::from_ne_bytes(*old));
        self.overwrite(flags, &(old | ACK).to_ne_bytes());
    }

    /// Appends fixed fields.
    pub(super) fn fields(mut self, fields: &[u8]) -> Self {
        self.push(fields);
        self
    }

    pub(super) fn push(&mut self, fields: &[u8]) {
        self.bytes.extend(fields);
        self.align();
    }

    /// Appends an attribute.
    pub(super) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        self.put(kind, value);
        self
    }

    pub(super) fn put(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.align();
    }

    /// Appends an attribute that contains what `fill` appends.
    pub(super) fn nest(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let at = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend((kind | NESTED).to_ne_bytes());
        let mut filled = fill(self);
        let length = u16::try_from(filled.bytes.len() - at).unwrap_or(u16::MAX);
        filled.overwrite(at, &length.to_ne_bytes());
        // What was filled in may be nothing at all.
        filled.measure();
        filled
    }

    /// Pads to four bytes, and keeps the length in the header right.
    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.measure();
    }

    fn measure(&mut self) {
        let length = u32::try_from(self.bytes.len() - self.start).unwrap_or(u32::MAX);
        self.overwrite(self.start, &length.to_ne_bytes());
    }

    fn overwrite(&mut self, at: usize, with: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + with.len()) {
            place.copy_from_slice(with);
        }
    }
}

/// A socket to the kernel.
#[derive(Debug)]
pub(super) struct Netlink(OwnedFd);

impl Netlink {
    /// For interfaces, addresses and routes of this network namespace.
    pub(super) fn route() -> io::Result<Self> {
        Self::open(libc::NETLINK_ROUTE)
    }

    /// For its packet filter.
    pub(super) fn netfilter() -> io::Result<Self> {
        Self::open(libc::NETLINK_NETFILTER)
    }

    fn open(protocol: i32) -> io::Result<Self> {
        let protocol = u32::try_from(protocol).ok().and_then(std::num::NonZeroU32::new);
        let protocol = protocol.map(rustix::net::Protocol::from_raw);
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        // The kernel answers at once or not at all.
        let limit = Some(std::time::Duration::from_secs(5));
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, limit)?;
        Ok(Self(socket))
    }

    /// The number of an interface of this socket's network namespace.
    pub(super) fn index(&self, interface: &str) -> io::Result<u32> {
        Ok(rustix::net::netdevice::name_to_index(&self.0, interface)?)
    }

    /// Sends requests, and returns at the first acknowledgement or error.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn ask(&self, message: &Message) -> io::Result<()> {
        send(&self.0, &message.bytes, SendFlags::empty())?;
        let mut buffer = vec![0; 16 << 10];
        loop {
            let (_, length) = recv(&self.0, buffer.as_mut_slice(), RecvFlags::empty())?;
            let mut rest = buffer.get(..length).unwrap_or_default();
            while let Some((kind, body, after)) = split(rest) {
                if kind == ERROR {
                    return verdict(body);
                }
                rest = after;
            }
        }
    }
}

/// The first message: its kind, its body, and what comes after it.
fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let body = bytes.get(HEADER..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn verdict(body: &[u8]) -> io::Result<()> {
    match body.first_chunk().map(|number| i32::from_ne_bytes(*number)) {
        Some(0) => Ok(()),
        Some(negative) => Err(io::Error::from_raw_os_error(-negative)),
        None => Err(io::Error::from_raw_os_error(libc::EPROTO)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The attributes in `bytes`: kind and value.
    fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
        std::iter::from_fn(move || {
            let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
            let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?) & !NESTED;
            let value = bytes.get(4..length)?;
            bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
            Some((kind, value))
        })
    }

    #[test]
    fn lengths_count_what_is_nested_and_padded() {
        let message = Message::new(16, ACK).fields(&[1; 4]).with(3, b"abc").nest(18, |m| m.with(1, b"veth"));
        let (kind, body, rest) = split(&message.bytes).unwrap();
        assert_eq!((kind, rest.len()), (16, 0));
        let seen: Vec<(u16, &[u8])> = attributes(&body[4..]).collect();
        assert_eq!(seen[0], (3, b"abc".as_slice()));
        assert_eq!(attributes(seen[1].1).collect::<Vec<_>>(), [(1, b"veth".as_slice())]);
    }

    #[test]
    fn an_attribute_without_content_counts() {
        let mut message = Message::new(16, ACK).nest(1, |m| m.with(1, b"masq").nest(2, |m| m));
        message.next(17, ACK);
        let (first, body, rest) = split(&message.bytes).unwrap();
        assert_eq!((first, body.len()), (16, 16));
        assert_eq!(split(rest).map(|(kind, body, rest)| (kind, body.len(), rest.len())), Some((17, 0, 0)));
    }

    #[test]
    fn what_the_kernel_refuses_is_an_error() {
        let nobodys = Message::new(17, ACK).fields(&[0; 16]).with(3, b"no-such-link\0");
        let error = Netlink::route().unwrap().ask(&nobodys).unwrap_err();
        assert!(error.raw_os_error().is_some(), "{error}");
    }
}
