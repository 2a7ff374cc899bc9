//! What is done about requests that HTTP allows, or that Heroku repairs, but that not every app reads alike.
//!
//! - [`RequestPolicy`]: all of it; the default is the strictest that honest clients never notice.

/// What is done about requests that not every app reads alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestPolicy {
    /// Header names with `_`.
    pub underscores: Underscores,
    /// `Content-Length` beside `Transfer-Encoding: chunked`.
    pub content_length_with_chunked: ContentLengthWithChunked,
}

/// What is done about header names with `_`, which CGI, WSGI and their kin cannot tell from `-`.
///
/// A name that, read with `-`, frames the message or is one the router writes (`Transfer_Encoding`,
/// `X_Forwarded_For`) is never passed on, whatever this says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Underscores {
    /// The harmless ones are passed on, as Heroku does.
    #[default]
    Keep,
    /// All are dropped.
    Drop,
    /// The request is refused (400).
    Refuse,
}

/// What is done about `Content-Length` beside `Transfer-Encoding: chunked` (RFC 9112 §6.1, §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContentLengthWithChunked {
    /// The request is refused (400).
    #[default]
    Refuse,
    /// As Heroku does: the chunks count, the length is not passed on. The client's connection is closed afterwards.
    ChunkedWins,
}
