//! A response's head: parsed by httparse, then read strictly (RFC 9112 §4, §6; Heroku's response limits).
//!
//! - [`parse`]: bytes → a head, `None` for "more bytes, please", or the [`Fault`] (H17, H25).
//! - [`ResponseHead`]: what the proxy must know; everything else stays in the buffer as [`Field`]s.

use std::mem::MaybeUninit;

use httparse::Status;

use super::{
    field::{Field, Kind, Span, options},
    framing::{ContentLength, Framing, TransferEncoding},
    limits::ResponseLimits,
    request::{Version, first_line},
};
use crate::route::fault::{Fault, Restriction};

/// What the proxy must know of a response. Places refer to the buffer it was parsed from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResponseHead {
    /// The length of the head, its empty line included.
    pub(crate) length: usize,
    pub(crate) status: u16,
    pub(crate) reason: Span,
    /// As the fields say; [`ResponseHead::body`] takes the request and the status into account.
    framing: Framing,
    /// The dyno means to keep its connection open, and nothing in this head makes the next response doubtful.
    pub(crate) reusable: bool,
    /// Connection names further headers, which go no further either.
    pub(crate) names_in_connection: bool,
}

impl ResponseHead {
    /// Where this response's body ends (RFC 9110 §6.4.1).
    pub(crate) const fn body(&self, request_is_head: bool) -> Framing {
        if request_is_head || matches!(self.status, 100..200 | 204 | 304) {
            Framing::Empty
        } else {
            self.framing
        }
    }
}

/// Parses a head from the front of `buf`. Its fields replace those in `fields`.
///
/// # Errors
/// [`Fault::PoorlyFormattedResponse`] (H17) or [`Fault::ResponseRestriction`] (H25).
pub(crate) fn parse(
    buf: &[u8],
    limits: &ResponseLimits,
    fields: &mut Vec<Field>,
) -> Result<Option<ResponseHead>, Fault> {
    let mut few = [MaybeUninit::uninit(); 48];
    match parse_into(buf, limits, fields, &mut few) {
        Err(Unparsed::TooManyHeaders) if limits.fields > few.len() => {
            let mut many = vec![MaybeUninit::uninit(); limits.fields + 1];
            parse_into(buf, limits, fields, &mut many)
        }
        parsed => parsed,
    }
    .map_err(|unparsed| match unparsed {
        Unparsed::TooManyHeaders => Fault::ResponseRestriction(Restriction::Header),
        Unparsed::Fault(fault) => fault,
    })
}

enum Unparsed {
    TooManyHeaders,
    Fault(Fault),
}

impl From<Fault> for Unparsed {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

fn parse_into<'b>(
    buf: &'b [u8],
    limits: &ResponseLimits,
    fields: &mut Vec<Field>,
    room: &mut [MaybeUninit<httparse::Header<'b>>],
) -> Result<Option<ResponseHead>, Unparsed> {
    if let Some(b'\r' | b'\n') = buf.first() {
        return Err(Fault::PoorlyFormattedResponse.into()); // httparse would skip an empty line
    }
    let mut response = httparse::Response::new(&mut []);
    let parsed =
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, buf, room);
    let length = match parsed {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return too_long_already(buf, limits).map(|()| None).map_err(Unparsed::Fault),
        Err(httparse::Error::TooManyHeaders) => return Err(Unparsed::TooManyHeaders),
        Err(_) => return Err(Fault::PoorlyFormattedResponse.into()),
    };
    if response.headers.len() > limits.fields {
        return Err(Unparsed::TooManyHeaders);
    }
    if length > limits.head {
        return Err(Fault::ResponseRestriction(Restriction::Header).into());
    }
    fields.clear();
    fields.extend(response.headers.iter().map(|header| Field {
        name: Span::of(buf, header.name.as_bytes()),
        value: Span::of(buf, header.value),
        kind: Kind::of(header.name.as_bytes()),
    }));
    lines_are_sound(buf, length, limits, fields)?;
    let status = response.code.unwrap_or_default();
    if !(100..=999).contains(&status) {
        return Err(Fault::PoorlyFormattedResponse.into());
    }
    let reason = response.reason.unwrap_or_default();
    let reason = if reason.is_empty() { Span::default() } else { Span::of(buf, reason.as_bytes()) };
    let version = if response.version == Some(0) { Version::Http10 } else { Version::Http11 };
    Ok(Some(read(buf, length, status, reason, version, fields)?))
}

/// A head that is not whole yet may already be beyond its bounds, or no response at all.
fn too_long_already(buf: &[u8], limits: &ResponseLimits) -> Result<(), Fault> {
    if first_line(buf).len() > limits.line {
        return Err(Fault::ResponseRestriction(Restriction::StatusLine));
    }
    if buf.len() >= limits.head {
        return Err(Fault::ResponseRestriction(Restriction::Header));
    }
    // The line that is still growing, perhaps with the first byte of its end.
    let growing = memchr::memrchr(b'\n', buf).map(|at| &buf[at + 1..]).unwrap_or_default();
    if growing.strip_suffix(b"\r").unwrap_or(growing).len() > limits.field_line {
        return Err(Fault::ResponseRestriction(Restriction::Header));
    }
    Ok(())
}

fn lines_are_sound(
    buf: &[u8],
    length: usize,
    limits: &ResponseLimits,
    fields: &[Field],
) -> Result<(), Fault> {
    let mut line_starts = fields.iter().map(|field| field.name.start as usize).chain([length - 2]);
    if !buf[..length].ends_with(b"\r\n\r\n") || line_starts.any(|at| buf[at - 2] != b'\r') {
        return Err(Fault::PoorlyFormattedResponse);
    }
    let first_line = fields.first().map_or(length - 2, |field| field.name.start as usize) - 2;
    if first_line > limits.line {
        return Err(Fault::ResponseRestriction(Restriction::StatusLine));
    }
    let line_ends = fields.iter().skip(1).map(|field| field.name.start as usize).chain([length - 2]);
    for (field, end) in fields.iter().zip(line_ends) {
        // Blanks behind the value count, as they do while the line comes in.
        let line = end - 2 - field.name.start as usize;
        if field.kind == Kind::SetCookie && line > limits.cookie_line {
            return Err(Fault::ResponseRestriction(Restriction::Cookie));
        }
        if line > limits.field_line {
            return Err(Fault::ResponseRestriction(Restriction::Header));
        }
    }
    Ok(())
}

fn read(
    buf: &[u8],
    length: usize,
    status: u16,
    reason: Span,
    version: Version,
    fields: &[Field],
) -> Result<ResponseHead, Fault> {
    let (mut content_length, mut encoding) = (ContentLength::Absent, TransferEncoding::Absent);
    let (mut close, mut keep_alive, mut names_in_connection) = (false, false, false);
    for field in fields {
        let value = field.value.of_buffer(buf);
        match field.kind {
            // A blank behind the number is no number; httparse has trimmed it away, so look at the line itself.
            Kind::ContentLength if buf.get(field.value.end as usize) != Some(&b'\r') => {
                content_length = ContentLength::Bad;
            }
            Kind::ContentLength => content_length = content_length.fold(value),
            Kind::TransferEncoding => encoding = encoding.fold(value),
            Kind::Connection => {
                for option in options(value) {
                    match option {
                        o if o.eq_ignore_ascii_case(b"close") => close = true,
                        o if o.eq_ignore_ascii_case(b"keep-alive") => keep_alive = true,
                        o if o.eq_ignore_ascii_case(b"upgrade") => {}
                        _ => names_in_connection = true,
                    }
                }
            }
            _ => {}
        }
    }
    let framing = framing(encoding, content_length)?;
    let (coded, counted) = (encoding != TransferEncoding::Absent, content_length != ContentLength::Absent);
    // Both at once: the coding counts (RFC 9112 §6.3). A coding in HTTP/1.0, or a 204 that announces a body (§6.1):
    // who writes that is not trusted with another request.
    let doubtful = (coded && (counted || version == Version::Http10))
        || (status == 204
            && (coded || !matches!(content_length, ContentLength::Absent | ContentLength::Is(0))));
    let persistent = !close && (version == Version::Http11 || keep_alive);
    let reusable = persistent && !doubtful;
    Ok(ResponseHead { length, status, reason, framing, reusable, names_in_connection })
}

fn framing(encoding: TransferEncoding, length: ContentLength) -> Result<Framing, Fault> {
    match (encoding, length) {
        (TransferEncoding::Bad | TransferEncoding::Open | TransferEncoding::Unknown, _) => {
            Err(Fault::PoorlyFormattedResponse)
        }
        (TransferEncoding::Chunked, _) => Ok(Framing::Chunked),
        (TransferEncoding::Absent, ContentLength::Bad | ContentLength::Different) => {
            Err(Fault::ResponseRestriction(Restriction::ContentLength))
        }
        (TransferEncoding::Absent, ContentLength::Is(0)) => Ok(Framing::Empty),
        (TransferEncoding::Absent, ContentLength::Is(length)) => Ok(Framing::Length(length)),
        (TransferEncoding::Absent, ContentLength::Absent) => Ok(Framing::UntilClose),
    }
}
