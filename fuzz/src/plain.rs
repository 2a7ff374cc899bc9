//! A head read as simply as can be: lines at CRLF, a name, a colon, a value. What goes out of Busbar must be readable like
//! this, and by an app that takes `_` for `-`.

/// A head's first line and its fields, their names in lower case and with `-` for `_`.
#[derive(Debug)]
pub struct Plain {
    /// Without its CRLF.
    pub first_line: String,
    /// In their order.
    pub fields: Vec<(String, String)>,
}

impl Plain {
    /// Reads a head that must be whole and simple. Bytes beyond ASCII become `?`.
    pub fn read(head: &[u8]) -> Self {
        let text: String = head.iter().map(|b| if b.is_ascii() { char::from(*b) } else { '?' }).collect();
        let body = text.strip_suffix("\r\n\r\n").expect("it ends with an empty line");
        let mut lines = body.split("\r\n");
        let first_line = lines.next().expect("a first line").to_owned();
        let stray = |c: char| c.is_ascii_control() && c != '\t';
        assert!(!first_line.contains(stray), "a control byte in the first line of {text:?}");
        let fields = lines
            .map(|line| {
                assert!(!line.contains(stray), "a control byte in {line:?}");
                let (name, value) = line.split_once(':').expect("a name, a colon, a value");
                assert!(!name.is_empty() && !name.contains([' ', '\t', ':']), "no name: {line:?}");
                (name.to_ascii_lowercase().replace('_', "-"), value.trim().to_owned())
            })
            .collect();
        Self { first_line, fields }
    }

    /// The values of all fields of that name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |field| field.0 == name).map(|field| field.1.as_str())
    }

    /// The value of the only field of that name.
    pub fn only<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        let mut values = self.all(name);
        let first = values.next();
        assert_eq!(values.next(), None, "{name} stands there twice: {:?}", self.fields);
        first
    }
}

/// The options of all `Connection` fields, in lower case, as generously as anybody reads them.
pub fn connection_options(head: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let values = text.split("\r\n").filter_map(|line| line.strip_prefix("connection:"));
    values
        .flat_map(|value| value.split([',', ' ', '\t']))
        .filter(|o| !o.is_empty())
        .map(str::to_owned)
        .collect()
}
