//! What the client reads when a fault ended its request.
//!
//! - [`Format`]: HTML, JSON or plain text, chosen by the `Accept` header.
//! - [`render`]: the body. [`custom`]: the app's own page in its place. [`CACHE_CONTROL`]: keeps it out of caches.

mod accept;

use busbar_registry::Routing;

use super::{Fault, RequestId, fault::Blame};

/// The value of `Cache-Control` for every page.
pub const CACHE_CONTROL: &str = "no-cache, no-store";

/// The form of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people with a browser. The default.
    #[default]
    Html,
    /// For programs that speak JSON.
    Json,
    /// For people with a terminal.
    Text,
}

impl Format {
    /// What the `Accept` headers of a request prefer (RFC 9110 section 12.5.1): the greatest weight, then the more
    /// precise range, then HTML before JSON before text. HTML if there is no such header or nothing fits.
    ///
    /// ```
    /// use router_core::route::page::Format;
    /// assert_eq!(Format::preferred([b"application/json, text/plain, */*".as_slice()]), Format::Json);
    /// assert_eq!(Format::preferred([b"*/*".as_slice()]), Format::Html);
    /// ```
    pub fn preferred<'a>(accept: impl IntoIterator<Item = &'a [u8]>) -> Self {
        accept::preferred(accept)
    }

    /// The value of `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/json",
            Self::Text => "text/plain; charset=utf-8",
        }
    }
}

/// The page the app itself has for such a fault: for maintenance its maintenance page, for 5xx with a code its
/// error page. A bad request is shown by ours: the app's page would say that the app failed.
pub fn custom(fault: Fault, routing: &Routing) -> Option<&str> {
    let facts = fault.facts();
    if fault == Fault::Maintenance {
        return routing.maintenance_page_url.as_deref();
    }
    let failed = facts.code.is_some() && facts.status >= 500;
    routing.error_page_url.as_deref().filter(|_| failed)
}

/// Appends the whole body to `out`. `page_url` is shown in a frame that fills the page, as Heroku does; JSON and
/// text have no use for it. Without it a page is under 1 KiB plus the request id.
pub fn render(
    fault: Fault,
    format: Format,
    request_id: &RequestId,
    page_url: Option<&str>,
    out: &mut Vec<u8>,
) {
    match (format, page_url) {
        (Format::Html, Some(url)) => framed(fault, url, out),
        (Format::Html, None) => html(fault, request_id, out),
        (Format::Json, _) => json(fault, request_id, out),
        (Format::Text, _) => text(fault, request_id, out),
    }
}

const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>";
const FRAME_STYLE: &str = "</title>\n<style>html,body,iframe{margin:0;padding:0}html,body{height:100%;overflow:hidden}\
    iframe{width:100%;height:100%;border:0}</style>\n</head>\n<body>\n<iframe title=\"";
const STYLE: &str = "</title>\n<style>:root{color-scheme:light dark}\
    body{margin:0;min-height:100vh;display:grid;place-items:center;font:1.1rem/1.5 system-ui,sans-serif}\
    main{max-width:34rem;padding:2rem}h1{font-size:1.6rem;margin:0}small{opacity:.7;overflow-wrap:anywhere}</style>\n\
    </head>\n<body>\n<main>\n<h1>";

fn framed(fault: Fault, url: &str, out: &mut Vec<u8>) {
    let title = fault.visitor().title;
    push(out, &[HEAD, title, FRAME_STYLE, title, "\" src=\""]);
    escape(url, out);
    push(out, &["\"></iframe>\n</body>\n</html>\n"]);
}

fn html(fault: Fault, request_id: &RequestId, out: &mut Vec<u8>) {
    let visitor = fault.visitor();
    push(
        out,
        &[HEAD, visitor.title, STYLE, visitor.title, "</h1>\n<p>", visitor.message, "</p>\n<p><small>"],
    );
    details(fault, request_id, out);
    push(out, &["</small></p>\n</main>\n</body>\n</html>\n"]);
}

fn text(fault: Fault, request_id: &RequestId, out: &mut Vec<u8>) {
    let visitor = fault.visitor();
    push(out, &[visitor.title, "\n", visitor.message, "\n"]);
    details(fault, request_id, out);
    push(out, &["\n"]);
}

/// `503 H12, request 01234567-…`: what a visitor tells whoever runs the app.
fn details(fault: Fault, request_id: &RequestId, out: &mut Vec<u8>) {
    push(out, &[itoa::Buffer::new().format(fault.facts().status)]);
    if let Some(code) = fault.facts().code {
        push(out, &[" ", code.as_str()]);
    }
    if let Some(cause) = cause(fault) {
        push(out, &[" ", cause]);
    }
    push(out, &[", request ", request_id.as_str()]);
}

fn json(fault: Fault, request_id: &RequestId, out: &mut Vec<u8>) {
    let facts = fault.facts();
    push(out, &["{\"id\":\"", facts.id, "\",\"code\":"]);
    match facts.code {
        Some(code) => push(out, &["\"", code.as_str(), "\""]),
        None => push(out, &["null"]),
    }
    push(out, &[",\"status\":", itoa::Buffer::new().format(facts.status)]);
    push(out, &[",\"message\":\"", fault.visitor().message]);
    if let Some(cause) = cause(fault) {
        push(out, &[" Cause: ", cause, "."]);
    }
    push(out, &["\",\"request_id\":\"", request_id.as_str(), "\"}\n"]);
}

/// The precise cause, told only to whoever caused it.
fn cause(fault: Fault) -> Option<&'static str> {
    let facts = fault.facts();
    facts.cause.filter(|_| facts.blame == Blame::Client)
}

fn push(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

/// `url` for a quoted HTML attribute.
fn escape(url: &str, out: &mut Vec<u8>) {
    for byte in url.bytes() {
        match byte {
            b'&' => push(out, &["&amp;"]),
            b'<' => push(out, &["&lt;"]),
            b'>' => push(out, &["&gt;"]),
            b'"' => push(out, &["&quot;"]),
            b'\'' => push(out, &["&#39;"]),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests;
