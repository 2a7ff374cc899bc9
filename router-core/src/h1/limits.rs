//! How long a head and its parts may be. The defaults are Heroku's (HTTP Routing, "Request/Response limits").
//!
//! - [`RequestLimits`], [`ResponseLimits`]: heads.
//! - [`ChunkLimits`]: what a chunked body has besides its data.

/// Bounds on a request's head, in bytes unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// The request line (414 beyond).
    pub line: usize,
    /// The value of a header (400 beyond).
    pub field_value: usize,
    /// The name of a header (400 beyond).
    pub field_name: usize,
    /// How many headers, Host included (400 beyond).
    pub fields: usize,
    /// The method (400 beyond).
    pub method: usize,
    /// The whole head (431 beyond). It is held in memory while a request waits for its dyno.
    pub head: usize,
    /// What a chunked body has besides its data (H26 beyond).
    pub chunks: ChunkLimits,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            line: 8192,
            field_value: 8192,
            field_name: 1000,
            fields: 1000,
            method: 127,
            head: 128 * 1024,
            chunks: ChunkLimits::default(),
        }
    }
}

/// Bounds on a response's head, in bytes unless said otherwise (H25 beyond).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseLimits {
    /// The status line.
    pub line: usize,
    /// One header line.
    pub field_line: usize,
    /// One Set-Cookie line, its name included.
    pub cookie_line: usize,
    /// How many headers.
    pub fields: usize,
    /// The whole head.
    pub head: usize,
    /// What a chunked body has besides its data (H17 beyond).
    pub chunks: ChunkLimits,
}

impl Default for ResponseLimits {
    fn default() -> Self {
        Self {
            line: 8192,
            field_line: 512 * 1024,
            cookie_line: 8192,
            fields: 1000,
            head: 1024 * 1024,
            chunks: ChunkLimits::default(),
        }
    }
}

/// Bounds on what a chunked body has besides its data, in bytes. More than [`ChunkLimits::MOST`] counts as that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkLimits {
    /// A size line, its extensions included. All lines together may not have much more than the data, either.
    pub line: usize,
    /// The trailer section.
    pub trailers: usize,
}

impl ChunkLimits {
    /// Size lines and trailer sections are held back until they are there whole; this fits every buffer.
    pub const MOST: usize = 8192;
}

impl Default for ChunkLimits {
    fn default() -> Self {
        Self { line: 1024, trailers: 8192 }
    }
}
