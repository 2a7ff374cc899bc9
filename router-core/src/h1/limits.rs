//! How long a head and its parts may be. The defaults are Heroku's (HTTP Routing, "Request/Response limits").

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
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self { line: 8192, field_value: 8192, field_name: 1000, fields: 1000, method: 127, head: 128 * 1024 }
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
}

impl Default for ResponseLimits {
    fn default() -> Self {
        Self { line: 8192, field_line: 512 * 1024, cookie_line: 8192, fields: 1000, head: 1024 * 1024 }
    }
}
