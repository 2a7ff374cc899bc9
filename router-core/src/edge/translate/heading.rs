//! A response's head on its way to a library that writes it.

use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use super::unchunk::Unchunk;

/// The head that was begun, and what it says about the body.
#[derive(Debug, Default)]
pub(crate) struct Heading {
    /// `None`: none was begun, or it was sent.
    head: Option<Response<()>>,
    /// The body has chunks.
    pub(crate) chunks: Option<Unchunk>,
    /// How many bytes of it are to come, if that was said.
    pub(crate) left: Option<u64>,
}

/// A head to be sent.
pub(crate) struct Ready {
    pub(crate) head: Response<()>,
    /// There is no body.
    pub(crate) empty: bool,
    /// About as many bytes as it would have as HTTP/1.1.
    pub(crate) bytes: u64,
}

impl Heading {
    /// Begins a head.
    pub(crate) fn begin(&mut self, status: u16) {
        let mut head = Response::new(());
        *head.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        *self = Self { head: Some(head), chunks: None, left: None };
    }

    /// Adds a header.
    pub(crate) fn field(&mut self, name: &[u8], value: &[u8]) {
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) else {
            return; // the parser lets nothing pass that is none
        };
        if name == header::TRANSFER_ENCODING {
            self.chunks = Some(Unchunk::default());
            return;
        }
        if name == header::CONTENT_LENGTH {
            self.left = value.to_str().ok().and_then(|length| length.parse().ok());
        }
        if let Some(head) = &mut self.head {
            head.headers_mut().append(name, value);
        }
    }

    /// Whether one was begun and not sent.
    pub(crate) fn is_begun(&self) -> bool {
        self.head.is_some()
    }

    /// The status of the one that was begun.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        self.head.as_ref().map(Response::status)
    }

    /// Forgets it; false if there was none.
    pub(crate) fn forget(&mut self) -> bool {
        self.head.take().is_some()
    }

    /// Takes it, to be sent. `only_head`: the request was HEAD.
    pub(crate) fn take(&mut self, only_head: bool) -> Option<Ready> {
        let head = self.head.take()?;
        let fields = head.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
        let bytes = (fields.sum::<usize>() + "HTTP/1.1 200 OK\r\n\r\n".len()) as u64;
        let status = head.status();
        let empty = only_head
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || self.left == Some(0);
        Some(Ready { head, empty, bytes })
    }
}
