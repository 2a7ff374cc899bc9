//! [`Token`]: the secret that a caller shows to the registry.

use std::fmt;

/// A capability token, as text: `bb1.app.<app>.<64 hex digits>` or `bb1.operator.<64 hex digits>`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The secret itself, to be put into a request or a file that only its owner reads.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl From<String> for Token {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}
