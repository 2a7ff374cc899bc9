//! What is kept of a head.

use httparse::{EMPTY_HEADER, Header, Status};

use super::{Body, NotHttp};

/// Most fields in a head.
const FIELDS: usize = 64;

/// A head that can be read from bytes.
pub(crate) trait Head: Sized {
    /// What is kept, how long the head was, and what body follows; nothing as long as bytes are missing.
    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize, Body)>, NotHttp>;
}

/// The head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Whether the connection may carry another request.
    pub(crate) keep_alive: bool,
}

/// The head of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) target: Target,
    pub(crate) keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub(crate) expects_continue: bool,
}

/// What a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// `/`: by far the commonest, so it costs no allocation.
    Root,
    /// Another path.
    Path(String),
    /// An upgrade to WebSocket, with its key.
    WebSocket(String),
    /// `/__head`: the names of the fields that came, each between commas.
    Head(String),
}

impl Head for Answer {
    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize, Body)>, NotHttp> {
        let mut start = 0;
        loop {
            let mut fields = [EMPTY_HEADER; FIELDS];
            let mut answer = httparse::Response::new(&mut fields);
            let rest = bytes.get(start..).unwrap_or_default();
            let Status::Complete(length) =
                answer.parse(rest).map_err(|_| NotHttp("the head of the answer is malformed"))?
            else {
                return Ok(None);
            };
            start += length;
            let status = answer.code.unwrap_or(0);
            if (100..200).contains(&status) && status != 101 {
                continue; // interim: the answer follows
            }
            let facts = Facts::of(answer.headers, answer.version)?;
            let body = match (status, facts.chunked, facts.length) {
                (101 | 204 | 304, _, _) => Body::Sized(0),
                (_, true, _) => Body::CHUNKED,
                (_, false, Some(length)) => Body::Sized(length),
                (_, false, None) => Body::UntilClose,
            };
            let keep_alive = facts.keep_alive && body != Body::UntilClose;
            return Ok(Some((Self { status, keep_alive }, start, body)));
        }
    }
}

impl Head for Request {
    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize, Body)>, NotHttp> {
        let mut fields = [EMPTY_HEADER; FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        let Status::Complete(length) =
            request.parse(bytes).map_err(|_| NotHttp("the head of the request is malformed"))?
        else {
            return Ok(None);
        };
        let facts = Facts::of(request.headers, request.version)?;
        let path = request.path.unwrap_or_default();
        let target = match (facts.websocket_key, path) {
            (Some(key), _) => Target::WebSocket(key),
            (None, "/") => Target::Root,
            (None, "/__head") => Target::Head(names(request.headers)),
            (None, path) => Target::Path(path.to_owned()),
        };
        let body = if facts.chunked { Body::CHUNKED } else { Body::Sized(facts.length.unwrap_or(0)) };
        let keep_alive = facts.keep_alive;
        Ok(Some((Self { target, keep_alive, expects_continue: facts.expects_continue }, length, body)))
    }
}

fn names(fields: &[Header<'_>]) -> String {
    let names = fields.iter().map(|field| format!("{},", field.name.to_ascii_lowercase()));
    std::iter::once(",".to_owned()).chain(names).collect()
}

/// What the fields say.
struct Facts {
    length: Option<u64>,
    chunked: bool,
    keep_alive: bool,
    expects_continue: bool,
    websocket_key: Option<String>,
}

impl Facts {
    fn of(fields: &[Header<'_>], version: Option<u8>) -> Result<Self, NotHttp> {
        let mut facts = Self {
            length: None,
            chunked: false,
            keep_alive: version == Some(1),
            expects_continue: false,
            websocket_key: None,
        };
        for field in fields {
            facts.note(field)?;
        }
        Ok(facts)
    }

    fn note(&mut self, field: &Header<'_>) -> Result<(), NotHttp> {
        match field.name.len() {
            14 if field.name.eq_ignore_ascii_case("content-length") => {
                let length = std::str::from_utf8(field.value).ok().and_then(|text| text.trim().parse().ok());
                self.length = Some(length.ok_or(NotHttp("Content-Length is not a number"))?);
            }
            17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                self.chunked = field.value.trim_ascii().eq_ignore_ascii_case(b"chunked");
            }
            10 if field.name.eq_ignore_ascii_case("connection") => {
                if field.value.eq_ignore_ascii_case(b"close") {
                    self.keep_alive = false;
                } else if field.value.eq_ignore_ascii_case(b"keep-alive") {
                    self.keep_alive = true;
                }
            }
            6 if field.name.eq_ignore_ascii_case("expect") => self.expects_continue = true,
            17 if field.name.eq_ignore_ascii_case("sec-websocket-key") => {
                self.websocket_key = Some(String::from_utf8_lossy(field.value).into_owned());
            }
            _ => {}
        }
        Ok(())
    }
}
