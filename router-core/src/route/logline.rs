//! The router's log line, as Heroku's Router 2.0 writes it (Dev Center, HTTP Routing).
//!
//! - [`LogLine`]: the fields; [`LogLine::write`] appends the line.
//! - [`Protocol`], [`Tls`]: the words of its tail.
//! - [`LONGEST`]: no line is longer.
//!
//! ```text
//! [sock=client|backend ]at=info|warning|error[ code=H12][ desc="Request timeout"][ cause="…"] method=GET path="/x?q=1"
//! host=h request_id=id fwd="ip[, ip]" dyno=web.1[ queue=0ms] connect=1ms service=18ms status=200 bytes=13
//! protocol=http1.1|http2.0 tls=true|false tls_version=tls1.2|tls1.3|unknown
//! ```
//!
//! **No request can forge a line or a field.** What the client chose is printed so:
//! printable ASCII is unchanged; within quotes `"` becomes `\"` and `\` becomes `\\`; any other byte (control,
//! ESC, DEL, non-ASCII) becomes `\xHH`; without quotes space, `"`, `\` and `=` become `\xHH` as well. What is longer than its field allows
//! ends in `\...`, which nothing else prints. So the bytes can be had back from an uncut field.

mod escape;

use std::{net::IpAddr, time::Duration};

use super::{Fault, forward::ip};
use escape::{escape_bare, escape_quoted};

/// No line is longer than this many bytes: Heroku's log cuts lines at 10 000.
pub const LONGEST: usize = 10_000;

/// How long the client's values may get, escaped. An honest request line (8192 bytes at most) is cut only when its
/// path is longer than this.
const PATH: usize = 8000;
const FWD: usize = 480;
const HOST: usize = 256;
const METHOD: usize = 128;
const DYNO: usize = 80;

/// The protocol the client spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
    /// HTTP/3
    Http3,
}

impl Protocol {
    /// The word in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "http1.0",
            Self::Http11 => "http1.1",
            Self::Http2 => "http2.0",
            Self::Http3 => "http3.0",
        }
    }
}

/// How the client's connection was encrypted. Plain HTTP prints `tls=false tls_version=unknown`: Heroku's field has
/// no word for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    Plain,
    /// TLS 1.2
    V12,
    /// TLS 1.3
    V13,
    /// Something before the router took the encryption off, and did not say which it was.
    Elsewhere,
}

impl From<bool> for Tls {
    /// Whether there was any, when nobody says which.
    fn from(on: bool) -> Self {
        if on { Self::Elsewhere } else { Self::Plain }
    }
}

impl Tls {
    /// Whether the client's connection was encrypted.
    pub const fn is_on(self) -> bool {
        !matches!(self, Self::Plain)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "tls=false tls_version=unknown",
            Self::V12 => "tls=true tls_version=tls1.2",
            Self::V13 => "tls=true tls_version=tls1.3",
            Self::Elsewhere => "tls=true tls_version=unknown",
        }
    }
}

/// One request, for the log. What is `None` or empty prints as nothing: `dyno= connect=`.
#[derive(Debug, Clone, Copy)]
pub struct LogLine<'a> {
    /// What ended the request, if not the dyno's own answer: it gives `sock`, `at`, `code`, `desc` and `cause`.
    pub fault: Option<Fault>,
    /// As the client sent it.
    pub method: &'a [u8],
    /// Path and query as the client sent them.
    pub path: &'a [u8],
    /// The `Host` header or `:authority`.
    pub host: &'a [u8],
    /// The id that is also in `X-Request-Id`.
    pub request_id: &'a [u8],
    /// The `X-Forwarded-For` the client sent.
    pub forwarded_for: &'a [u8],
    /// The client's address; it follows `forwarded_for`, and is never cut off.
    pub client: Option<IpAddr>,
    /// `web.1`
    pub dyno: &'a str,
    /// How long it waited in the router for a dyno. `None` prints no key at all: an app without a queue has Heroku's line.
    pub queue: Option<Duration>,
    /// How long the TCP connect took; zero on a reused connection.
    pub connect: Option<Duration>,
    /// From the connect to the end.
    pub service: Option<Duration>,
    /// The status that was sent, or the fault's.
    pub status: Option<u16>,
    /// Bytes sent to the client: status line, headers and body.
    pub bytes: Option<u64>,
    /// The client's protocol.
    pub protocol: Protocol,
    /// The client's encryption.
    pub tls: Tls,
}

impl LogLine<'_> {
    /// Appends the line without a line end; at most [`LONGEST`] bytes, all of them printable ASCII.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_fault(out);
        push(out, " method=");
        escape_bare(self.method, METHOD, out);
        push(out, " path=\"");
        escape_quoted(self.path, PATH, out);
        push(out, "\" host=");
        escape_bare(self.host, HOST, out);
        push(out, " request_id=");
        escape_bare(self.request_id, 200, out);
        self.write_fwd(out);
        push(out, " dyno=");
        escape_bare(self.dyno.as_bytes(), DYNO, out);
        if self.queue.is_some() {
            write_millis(" queue=", self.queue, out);
        }
        write_millis(" connect=", self.connect, out);
        write_millis(" service=", self.service, out);
        write_number(" status=", self.status.map(u64::from), out);
        write_number(" bytes=", self.bytes, out);
        push(out, " protocol=");
        push(out, self.protocol.as_str());
        push(out, " ");
        push(out, self.tls.as_str());
    }

    fn write_fault(&self, out: &mut Vec<u8>) {
        let Some(facts) = self.fault.map(Fault::facts) else { return push(out, "at=info") };
        if let Some(sock) = facts.sock {
            push(out, "sock=");
            push(out, sock.as_str());
            push(out, " ");
        }
        push(out, "at=");
        push(out, facts.at.as_str());
        if let Some(code) = facts.code {
            push(out, " code=");
            push(out, code.as_str());
        }
        push(out, " desc=\"");
        push(out, facts.desc);
        push(out, "\"");
        if let Some(cause) = facts.cause {
            push(out, " cause=\"");
            push(out, cause);
            push(out, "\"");
        }
    }

    fn write_fwd(&self, out: &mut Vec<u8>) {
        push(out, " fwd=\"");
        escape_quoted(self.forwarded_for, FWD, out);
        if let Some(client) = self.client {
            if !self.forwarded_for.is_empty() {
                push(out, ", ");
            }
            ip(out, client);
        }
        push(out, "\"");
    }
}

fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn write_number(key: &str, number: Option<u64>, out: &mut Vec<u8>) {
    push(out, key);
    if let Some(number) = number {
        push(out, itoa::Buffer::new().format(number));
    }
}

fn write_millis(key: &str, span: Option<Duration>, out: &mut Vec<u8>) {
    let millis =
        span.map(|span| span.as_secs().saturating_mul(1000).saturating_add(span.subsec_millis().into()));
    write_number(key, millis, out);
    if millis.is_some() {
        push(out, "ms");
    }
}

#[cfg(test)]
mod tests;
