//! Header fields as places in a buffer, and which ones mean something to a proxy.
//!
//! - [`Span`]: a place in the head's buffer.
//! - [`Field`]: one header: where its name and value are, and its [`Kind`].
//! - [`list`], [`options`], [`is_token`]: comma-separated lists, those of Connection, and tokens (RFC 9110 §5.6).

/// A place in the head's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    /// Where `part` lies in `whole`. `part` must be a slice of `whole`; heads are far shorter than 4 GiB.
    pub(crate) fn of(whole: &[u8], part: &[u8]) -> Self {
        let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        debug_assert!(start + part.len() <= whole.len(), "a part of another buffer");
        Self::new(start, start + part.len())
    }
    /// From `start` to `end`, the latter excluded.
    #[expect(clippy::cast_possible_truncation, reason = "heads are bounded far below 4 GiB")]
    pub(crate) const fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }
    /// The bytes there.
    pub(crate) fn of_buffer(self, buffer: &[u8]) -> &[u8] {
        &buffer[self.start as usize..self.end as usize]
    }
    pub(crate) const fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

/// One header field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) name: Span,
    pub(crate) value: Span,
    pub(crate) kind: Kind,
}

/// What a header means to a proxy; [`Kind::Other`] is only carried along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Accept,
    /// What the router says about a client's certificate: never believed of anybody else.
    ClientCertificate,
    Connection,
    ContentLength,
    Date,
    Expect,
    Forwarded,
    Host,
    Http2Settings,
    KeepAlive,
    /// What CGI takes for a setting of its own (`HTTP_PROXY`): never passed on.
    Proxy,
    ProxyAuthorization,
    ProxyConnection,
    SetCookie,
    Te,
    TransferEncoding,
    Upgrade,
    Via,
    XForwardedFor,
    XForwardedPort,
    XForwardedProto,
    XQueueTime,
    XRequestId,
    XRequestStart,
    /// A name that becomes one of the above, or another `X-Forwarded-` one, when an app reads `_` as `-` (as CGI and
    /// WSGI do): never passed on.
    Shadow,
    /// Another name with `_`.
    Underscored,
    Other,
}

impl Kind {
    /// What a header of this name means. Names are compared without regard to case.
    pub(crate) fn of(name: &[u8]) -> Self {
        match Self::exact(name) {
            Self::Other if memchr::memchr(b'_', name).is_some() => {
                if shadows(name) {
                    Self::Shadow
                } else {
                    Self::Underscored
                }
            }
            kind => kind,
        }
    }

    fn exact(name: &[u8]) -> Self {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match name.len() {
            12..=20 if matches!(name.first(), Some(b'x' | b'X')) => Self::exact_x(name),
            2 if is("te") => Self::Te,
            3 if is("via") => Self::Via,
            4 if is("host") => Self::Host,
            4 if is("date") => Self::Date,
            5 if is("proxy") => Self::Proxy,
            6 if is("accept") => Self::Accept,
            6 if is("expect") => Self::Expect,
            7 if is("upgrade") => Self::Upgrade,
            9 if is("forwarded") => Self::Forwarded,
            10 if is("connection") => Self::Connection,
            10 if is("keep-alive") => Self::KeepAlive,
            10 if is("set-cookie") => Self::SetCookie,
            11 if is("client-cert") => Self::ClientCertificate,
            14 if is("content-length") => Self::ContentLength,
            14 if is("http2-settings") => Self::Http2Settings,
            16 if is("proxy-connection") => Self::ProxyConnection,
            17 if is("client-cert-chain") => Self::ClientCertificate,
            17 if is("transfer-encoding") => Self::TransferEncoding,
            19 if is("proxy-authorization") => Self::ProxyAuthorization,
            _ => Self::Other,
        }
    }

    fn exact_x(name: &[u8]) -> Self {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match name.len() {
            12 if is("x-queue-time") => Self::XQueueTime,
            12 if is("x-request-id") => Self::XRequestId,
            15 if is("x-client-verify") => Self::ClientCertificate,
            15 if is("x-forwarded-for") => Self::XForwardedFor,
            15 if is("x-request-start") => Self::XRequestStart,
            16 if is("x-client-subject") => Self::ClientCertificate,
            16 if is("x-forwarded-port") => Self::XForwardedPort,
            17 if is("x-forwarded-proto") => Self::XForwardedProto,
            20 if is("x-client-fingerprint") => Self::ClientCertificate,
            _ => Self::Other,
        }
    }

    /// Belongs to one connection, so it never goes past it (RFC 9110 §7.6.1).
    pub(crate) const fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::ProxyAuthorization
                | Self::Te
                | Self::TransferEncoding
                | Self::Upgrade
                | Self::Http2Settings
                | Self::Shadow
        )
    }
}

/// Every name that is known, and the beginning of every other one that is reserved, fits into this.
const LONGEST: usize = 20;

fn shadows(name: &[u8]) -> bool {
    let mut dashed = [0u8; LONGEST];
    let (dashed, _) = dashed.split_at_mut(name.len().min(LONGEST));
    dashed.copy_from_slice(&name[..dashed.len()]);
    dashed.iter_mut().filter(|b| **b == b'_').for_each(|b| *b = b'-');
    is_x_forwarded(dashed) || (name.len() <= LONGEST && Kind::exact(dashed) != Kind::Other)
}

/// `X-Forwarded-`, whatever comes behind it.
pub(crate) fn is_x_forwarded(name: &[u8]) -> bool {
    name.get(..12).is_some_and(|start| start.eq_ignore_ascii_case(b"x-forwarded-"))
}

/// The elements of a comma-separated list, trimmed; empty ones are left out (RFC 9110 §5.6.1).
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// The options of a Connection header. Some write blanks between them; both are read as separators.
pub(crate) fn options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    list(value).flat_map(|option| option.split(u8::is_ascii_whitespace)).filter(|option| !option.is_empty())
}

/// Whether these bytes are a token (RFC 9110 §5.6.2).
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    !bytes.is_empty() && bytes.iter().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case() {
        assert_eq!(Kind::of(b"TRANSFER-encoding"), Kind::TransferEncoding);
        assert_eq!(Kind::of(b"Content-Lengthy"), Kind::Other);
    }

    #[test]
    fn an_underscored_framing_header_is_a_shadow() {
        assert_eq!(Kind::of(b"Transfer_Encoding"), Kind::Shadow);
        assert_eq!(Kind::of(b"x_forwarded-for"), Kind::Shadow);
        assert_eq!(Kind::of(b"X-Forwarded_A-Name-Nobody-Knows"), Kind::Shadow);
        assert_eq!(Kind::of(b"X_Client_Verify"), Kind::Shadow);
        assert_eq!(Kind::of(b"Client_Cert-Chain"), Kind::Shadow);
        assert_eq!(Kind::of(b"X-Client_Fingerprint"), Kind::Shadow);
        assert_eq!(Kind::of(b"my_header"), Kind::Underscored);
        assert_eq!(Kind::of(b"transfer_encoding_and_more"), Kind::Underscored);
    }

    #[test]
    fn lists_leave_out_empty_elements() {
        let elements: Vec<_> = list(b" close ,, keep-alive,\t").collect();
        assert_eq!(elements, [b"close".as_slice(), b"keep-alive"]);
    }
}
