//! A request's head: parsed by httparse, then read strictly (RFC 9112 §2, §3; RFC 9110 §7).
//!
//! - [`parse`]: bytes → a head, `None` for "more bytes, please", or the [`Fault`].
//! - [`RequestHead`]: what the proxy must know; everything else stays in the buffer as [`Field`]s.

use std::mem::MaybeUninit;

use httparse::Status;

use super::{
    field::{Field, Kind, Span, is_token, list, options},
    framing::{ContentLength, Framing, TransferEncoding},
    limits::RequestLimits,
    policy::{ContentLengthWithChunked, RequestPolicy, Underscores},
};
use crate::route::{
    fault::{Fault, RequestError, RequestFlaw},
    host::Host,
};

/// The version in the request line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Http10,
    Http11,
    /// Read by somebody else, and written as HTTP/1.1 here.
    Http2,
    /// The same.
    Http3,
}

/// What the client may do once this request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Persistence {
    KeepAlive,
    Close,
}

/// What the proxy must know of a request. Places refer to the buffer it was parsed from.
#[derive(Debug, Clone)]
pub(crate) struct RequestHead {
    /// The length of the head, its empty line included.
    pub(crate) length: usize,
    pub(crate) method: Span,
    /// In origin-form (or `*`), without a fragment.
    pub(crate) target: Span,
    /// The value of the Host header as it was sent.
    pub(crate) host_field: Span,
    pub(crate) host: Host,
    pub(crate) version: Version,
    pub(crate) framing: Framing,
    pub(crate) persistence: Persistence,
    /// `Expect: 100-continue`.
    pub(crate) expects_continue: bool,
    /// `Connection: upgrade` with an Upgrade header that names something other than HTTP/2.
    pub(crate) upgrade: bool,
    /// Connection names further headers, which go no further either.
    pub(crate) names_in_connection: bool,
    pub(crate) is_head: bool,
    /// May be repeated without harm (RFC 9110 §9.2.2).
    pub(crate) is_idempotent: bool,
}

/// Parses a head from the front of `buf`, which begins with the request line. Its fields replace those in `fields`.
///
/// # Errors
/// The flaw, if these bytes can never become a head that has exactly one meaning.
pub(crate) fn parse(
    buf: &[u8],
    limits: &RequestLimits,
    policy: RequestPolicy,
    fields: &mut Vec<Field>,
) -> Result<Option<RequestHead>, Fault> {
    let mut few = [MaybeUninit::uninit(); 48];
    match parse_into(buf, limits, policy, fields, &mut few) {
        Err(Fault::RequestFlaw(RequestFlaw::TooManyHeaders)) if limits.fields > few.len() => {
            let mut many = vec![MaybeUninit::uninit(); limits.fields + 1];
            parse_into(buf, limits, policy, fields, &mut many)
        }
        parsed => parsed,
    }
}

fn parse_into<'b>(
    buf: &'b [u8],
    limits: &RequestLimits,
    policy: RequestPolicy,
    fields: &mut Vec<Field>,
    room: &mut [MaybeUninit<httparse::Header<'b>>],
) -> Result<Option<RequestHead>, Fault> {
    let mut request = httparse::Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(buf, room) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(too_long_already(buf, limits).map(|()| None)?),
        Err(error) => return Err(flaw(error, buf, limits).into()),
    };
    if length > limits.head {
        return Err(RequestFlaw::HeadTooLarge.into());
    }
    if request.headers.len() > limits.fields {
        return Err(RequestFlaw::TooManyHeaders.into());
    }
    fields.clear();
    fields.extend(request.headers.iter().map(|header| Field {
        name: Span::of(buf, header.name.as_bytes()),
        value: Span::of(buf, header.value),
        kind: Kind::of(header.name.as_bytes()),
    }));
    lines_are_sound(buf, length, limits, fields)?;
    let line = RequestLine {
        method: Span::of(buf, request.method.unwrap_or_default().as_bytes()),
        target: Span::of(buf, request.path.unwrap_or_default().as_bytes()),
        version: if request.version == Some(0) { Version::Http10 } else { Version::Http11 },
    };
    read(buf, length, line, (limits, policy), fields).map(Some)
}

/// A head that is not whole yet may already be beyond its bounds.
fn too_long_already(buf: &[u8], limits: &RequestLimits) -> Result<(), RequestFlaw> {
    let line = first_line(buf);
    if line.len() > limits.line {
        Err(RequestFlaw::TargetTooLong)
    } else if buf.len() >= limits.head {
        Err(RequestFlaw::HeadTooLarge)
    } else {
        Ok(())
    }
}

/// The first line without its end, as far as it is there. A CR at the end of what is there may be the beginning of that end.
pub(super) fn first_line(buf: &[u8]) -> &[u8] {
    let line = &buf[..memchr::memchr(b'\n', buf).unwrap_or(buf.len())];
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Each line ends with CRLF (httparse also takes a bare LF) and keeps its bound.
fn lines_are_sound(
    buf: &[u8],
    length: usize,
    limits: &RequestLimits,
    fields: &[Field],
) -> Result<(), RequestFlaw> {
    let mut line_starts = fields.iter().map(|field| field.name.start as usize).chain([length - 2]);
    if !buf[..length].ends_with(b"\r\n\r\n") || line_starts.any(|at| buf[at - 2] != b'\r') {
        return Err(RequestFlaw::BareLf);
    }
    let first_line = fields.first().map_or(length - 2, |field| field.name.start as usize) - 2;
    if first_line > limits.line {
        return Err(RequestFlaw::TargetTooLong);
    }
    let fits =
        |field: &Field| field.name.len() <= limits.field_name && field.value.len() <= limits.field_value;
    if fields.iter().all(fits) { Ok(()) } else { Err(RequestFlaw::HeaderTooLong) }
}

#[derive(Clone, Copy)]
struct RequestLine {
    method: Span,
    target: Span,
    version: Version,
}

/// What the header fields say together.
#[derive(Default)]
struct Facts {
    host: Option<Span>,
    length: ContentLength,
    encoding: TransferEncoding,
    close: bool,
    keep_alive: bool,
    upgrade_option: bool,
    upgrade_field: bool,
    upgrade_known: bool,
    names_in_connection: bool,
    expects_continue: bool,
}

fn read(
    buf: &[u8],
    length: usize,
    line: RequestLine,
    (limits, policy): (&RequestLimits, RequestPolicy),
    fields: &[Field],
) -> Result<RequestHead, Fault> {
    let method = line.method.of_buffer(buf);
    if method == b"CONNECT" {
        return Err(RequestFlaw::ConnectMethod.into());
    }
    if method.len() > limits.method {
        return Err(RequestFlaw::BadMethod.into());
    }
    let mut facts = Facts::default();
    for field in fields {
        facts.fold(field, buf, policy)?;
    }
    let host_field = facts.host.ok_or(RequestFlaw::MissingHost)?;
    let host = Host::parse(host_field.of_buffer(buf)).map_err(|_| RequestFlaw::BadHost)?;
    if facts.upgrade_option && !facts.upgrade_field {
        return Err(RequestError::BadHeader.into());
    }
    Ok(RequestHead {
        length,
        method: line.method,
        target: target(buf, line.target, method, &host)?,
        host_field,
        framing: facts.framing(line.version, policy)?,
        persistence: facts.persistence(line.version),
        expects_continue: facts.expects_continue && line.version == Version::Http11,
        upgrade: facts.upgrade_option && facts.upgrade_known && line.version == Version::Http11,
        names_in_connection: facts.names_in_connection,
        is_head: method == b"HEAD",
        is_idempotent: matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE" | b"TRACE"),
        version: line.version,
        host,
    })
}

impl Facts {
    fn fold(&mut self, field: &Field, buf: &[u8], policy: RequestPolicy) -> Result<(), Fault> {
        let value = field.value.of_buffer(buf);
        match field.kind {
            Kind::Host if self.host.is_some() => return Err(RequestFlaw::SeveralHosts.into()),
            Kind::Host => self.host = Some(field.value),
            Kind::ContentLength => self.length = self.length.fold(value),
            Kind::TransferEncoding => self.encoding = self.encoding.fold(value),
            Kind::Connection => self.connection(value)?,
            Kind::Upgrade => {
                self.upgrade_field = true;
                self.upgrade_known |= upgrades(value).next().is_some();
            }
            Kind::Shadow | Kind::Underscored if policy.underscores == Underscores::Refuse => {
                return Err(RequestFlaw::Underscore.into());
            }
            Kind::Expect => self.expect(value)?,
            _ => {}
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) -> Result<(), Fault> {
        for option in options(value) {
            match option {
                o if !is_token(o) => return Err(RequestError::BadHeader.into()),
                o if o.eq_ignore_ascii_case(b"close") => self.close = true,
                o if o.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                o if o.eq_ignore_ascii_case(b"upgrade") => self.upgrade_option = true,
                _ => self.names_in_connection = true,
            }
        }
        Ok(())
    }

    fn expect(&mut self, value: &[u8]) -> Result<(), Fault> {
        match value {
            b"" => Ok(()),
            v if v.eq_ignore_ascii_case(b"100-continue") => {
                self.expects_continue = true;
                Ok(())
            }
            v if is_token(v) => Err(RequestError::Expectation.into()),
            _ => Err(RequestError::BadHeader.into()),
        }
    }

    fn framing(&self, version: Version, policy: RequestPolicy) -> Result<Framing, RequestFlaw> {
        match (self.encoding, self.length) {
            (TransferEncoding::Bad | TransferEncoding::Open, _) => Err(RequestFlaw::BadTransferEncoding),
            (TransferEncoding::Chunked | TransferEncoding::Unknown, _) if version == Version::Http10 => {
                Err(RequestFlaw::BadTransferEncoding)
            }
            (TransferEncoding::Unknown, _) => Err(RequestFlaw::UnknownTransferEncoding),
            (TransferEncoding::Chunked, ContentLength::Absent) => Ok(Framing::Chunked),
            (TransferEncoding::Chunked, ContentLength::Is(_))
                if policy.content_length_with_chunked == ContentLengthWithChunked::ChunkedWins =>
            {
                Ok(Framing::Chunked)
            }
            (TransferEncoding::Chunked, _) => Err(RequestFlaw::ContentLengthAndTransferEncoding),
            (TransferEncoding::Absent, ContentLength::Bad) => Err(RequestFlaw::BadContentLength),
            (TransferEncoding::Absent, ContentLength::Different) => Err(RequestFlaw::SeveralContentLengths),
            (TransferEncoding::Absent, ContentLength::Absent | ContentLength::Is(0)) => Ok(Framing::Empty),
            (TransferEncoding::Absent, ContentLength::Is(length)) => Ok(Framing::Length(length)),
        }
    }

    fn persistence(&self, version: Version) -> Persistence {
        let two_lengths = self.encoding == TransferEncoding::Chunked && self.length != ContentLength::Absent;
        match version {
            _ if self.close || two_lengths => Persistence::Close,
            Version::Http10 if !self.keep_alive => Persistence::Close,
            _ => Persistence::KeepAlive,
        }
    }
}

/// What an Upgrade header asks for. HTTP/2 is not among it: it is spoken to the router or not at all, and a dyno that
/// switched to it would speak past the router.
pub(crate) fn upgrades(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_http2 = |token: &[u8]| {
        let (start, version) = token.split_at_checked(6).unwrap_or((token, b""));
        token.eq_ignore_ascii_case(b"h2c")
            || token.eq_ignore_ascii_case(b"h2")
            || (start.eq_ignore_ascii_case(b"http/2") && (version.is_empty() || version.starts_with(b".")))
    };
    list(value).filter(move |token| !is_http2(token))
}

/// The target in origin-form. An absolute-form's authority must name the same host as the Host header.
fn target(buf: &[u8], span: Span, method: &[u8], host: &Host) -> Result<Span, RequestFlaw> {
    let whole = span.of_buffer(buf);
    let whole = &whole[..memchr::memchr(b'#', whole).unwrap_or(whole.len())];
    match whole {
        [b'/', ..] => Ok(Span::of(buf, whole)),
        b"*" if method == b"OPTIONS" => Ok(Span::of(buf, whole)),
        _ => absolute_form(whole, host).map(|path| Span::of(buf, path)),
    }
}

fn absolute_form<'b>(whole: &'b [u8], host: &Host) -> Result<&'b [u8], RequestFlaw> {
    let scheme = |scheme: &str| {
        let (start, rest) = whole.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)
    };
    let rest = scheme("http://").or_else(|| scheme("https://")).ok_or(RequestFlaw::BadTarget)?;
    let slash = memchr::memchr(b'/', rest).ok_or(RequestFlaw::BadTarget)?;
    let authority = Host::parse(&rest[..slash]).map_err(|_| RequestFlaw::BadHost)?;
    let same = authority.as_str() == host.as_str() && authority.port() == host.port();
    if same { Ok(&rest[slash..]) } else { Err(RequestFlaw::HostMismatch) }
}

/// What httparse stumbled over, told more exactly. Only for heads that are refused anyway.
fn flaw(error: httparse::Error, buf: &[u8], limits: &RequestLimits) -> RequestFlaw {
    let mut lines = buf.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next().unwrap_or_default();
    let has_version = first.ends_with(b" HTTP/1.1") || first.ends_with(b" HTTP/1.0");
    match error {
        httparse::Error::TooManyHeaders => RequestFlaw::TooManyHeaders,
        _ if first.len() > limits.line => RequestFlaw::TargetTooLong,
        httparse::Error::Version if is_other_version(first) => RequestFlaw::VersionNotSupported,
        httparse::Error::Version | httparse::Error::Token | httparse::Error::Status => {
            RequestFlaw::BadRequestLine
        }
        httparse::Error::NewLine if !has_version => RequestFlaw::BadRequestLine,
        httparse::Error::HeaderName | httparse::Error::HeaderValue | httparse::Error::NewLine => {
            header_flaw(lines)
        }
    }
}

/// Whether a request line is sound but for the number of its version.
fn is_other_version(line: &[u8]) -> bool {
    let mut parts = line.split(|b| *b == b' ');
    let (method, target, version) = (parts.next(), parts.next(), parts.next());
    let number = version.and_then(|version| version.strip_prefix(b"HTTP/")).unwrap_or_default();
    method.is_some_and(is_token)
        && target.is_some_and(|target| !target.is_empty())
        && parts.next().is_none()
        && number.first().is_some_and(u8::is_ascii_digit)
        && number.iter().all(|b| b.is_ascii_digit() || *b == b'.')
}

fn header_flaw<'b>(lines: impl Iterator<Item = &'b [u8]>) -> RequestFlaw {
    for line in lines {
        let name = memchr::memchr(b':', line).map(|colon| &line[..colon]);
        match (line.first(), name) {
            (None, _) => break,
            (Some(b' ' | b'\t'), _) => return RequestFlaw::ObsFold,
            (_, Some(name)) if name.ends_with(b" ") || name.ends_with(b"\t") => {
                return RequestFlaw::SpaceBeforeColon;
            }
            _ if line.contains(&b'\r') => return RequestFlaw::BareCr,
            _ if line.iter().any(|b| b.is_ascii_control() && *b != b'\t') => return RequestFlaw::ControlByte,
            _ => {}
        }
    }
    RequestFlaw::BadHeader
}
