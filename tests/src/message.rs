//! HTTP/1.1 messages, read so strictly that no two readings are possible. A violation fails the test.

/// A start line and its fields; bytes are taken for characters of the same number (Latin-1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The first line.
    pub start: String,
    /// Names and values in their order, names as they were spelled.
    pub fields: Vec<(String, String)>,
}

/// How the end of a body was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framing {
    /// There was none to look for.
    Empty,
    /// `Content-Length`.
    Length,
    /// `Transfer-Encoding: chunked`: its chunks, its trailers.
    Chunked(Vec<Vec<u8>>, Vec<(String, String)>),
    /// The end of the connection.
    Close,
}

/// A head and its body, without the framing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The head.
    pub head: Head,
    /// The body's data.
    pub body: Vec<u8>,
    /// How its end was found.
    pub framing: Framing,
}

impl std::ops::Deref for Message {
    type Target = Head;
    fn deref(&self) -> &Head {
        &self.head
    }
}

impl Message {
    /// The body as text.
    pub fn text(&self) -> String {
        latin1(&self.body)
    }
    /// The fields behind the last chunk.
    pub fn trailers(&self) -> &[(String, String)] {
        match &self.framing {
            Framing::Chunked(_, trailers) => trailers,
            _ => &[],
        }
    }
}

impl Head {
    /// Reads `raw`, which ends with its empty line.
    pub fn parse(raw: &[u8]) -> Self {
        let text = latin1(raw);
        let lines = text.strip_suffix("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
        let mut lines = lines.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        Self { start, fields: lines.map(field).collect() }
    }

    /// The status in a status line.
    pub fn status(&self) -> u16 {
        let status = self.start.strip_prefix("HTTP/1.1 ").and_then(|rest| {
            let (status, reason) = rest.split_once(' ')?;
            let sound = status.len() == 3 && !reason.bytes().any(|b| b.is_ascii_control());
            status.parse().ok().filter(|_| sound)
        });
        status.unwrap_or_else(|| panic!("no status line: {:?}", self.start))
    }

    /// The method in a request line.
    pub fn method(&self) -> &str {
        self.request_line()[0]
    }

    /// The target in a request line.
    pub fn target(&self) -> &str {
        self.request_line()[1]
    }

    fn request_line(&self) -> [&str; 3] {
        let parts: Vec<_> = self.start.split(' ').collect();
        let line =
            <[&str; 3]>::try_from(parts).unwrap_or_else(|_| panic!("no request line: {:?}", self.start));
        assert_eq!(line[2], "HTTP/1.1", "{:?}", self.start);
        line
    }

    /// The value of the one field of this name, if there is one.
    pub fn get(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "several {name}: {all:?}");
        all.first().copied()
    }

    /// The values of all fields of this name, in their order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = |(other, _): &&(String, String)| other.eq_ignore_ascii_case(name);
        self.fields.iter().filter(named).map(|(_, value)| value.as_str()).collect()
    }

    /// Whether `Connection` has this option.
    pub fn connection_has(&self, option: &str) -> bool {
        self.all("Connection")
            .iter()
            .flat_map(|v| v.split(','))
            .any(|o| o.trim().eq_ignore_ascii_case(option))
    }

    /// The body's length, if `Content-Length` says it.
    pub fn content_length(&self) -> Option<usize> {
        self.get("Content-Length").map(|length| {
            assert!(length.bytes().all(|b| b.is_ascii_digit()), "Content-Length: {length:?}");
            length.parse().unwrap_or_else(|_| panic!("Content-Length: {length:?}"))
        })
    }

    /// Whether the body is chunked.
    pub fn is_chunked(&self) -> bool {
        let chunked = self.get("Transfer-Encoding").map(|coding| assert_eq!(coding, "chunked")).is_some();
        assert!(!(chunked && self.content_length().is_some()), "two framings: {self:?}");
        chunked
    }
}

/// One field line.
pub fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no colon: {line:?}"));
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    assert!(!name.is_empty() && name.bytes().all(token), "no name: {line:?}");
    let value = value.trim_matches([' ', '\t']);
    assert!(!value.contains(['\r', '\n', '\0']), "a control byte: {line:?}");
    (name.to_owned(), value.to_owned())
}

/// Each byte as the character of its number.
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}
