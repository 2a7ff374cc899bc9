//! The ways an origin can be bad, by name.

use std::{fmt, str::FromStr};

/// What an origin does instead of answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misbehaviour {
    /// The port is taken, but nobody listens: connections are refused.
    Refuses,
    /// Reads the request and never answers.
    AcceptsThenSilent,
    /// Sends half a head and closes.
    HalfReply,
    /// Sends the answer a byte at a time, one every 100 ms.
    Drips,
    /// Sends half the body, then resets the connection.
    ResetsMidBody,
    /// Promises more bytes than it sends, and closes.
    LiesAboutLength,
    /// Answers, and then closes the connection without having said so.
    ClosesIdleConnections,
}

impl Misbehaviour {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Refuses,
        Self::AcceptsThenSilent,
        Self::HalfReply,
        Self::Drips,
        Self::ResetsMidBody,
        Self::LiesAboutLength,
        Self::ClosesIdleConnections,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refuses => "refuses",
            Self::AcceptsThenSilent => "accepts-then-silent",
            Self::HalfReply => "half-reply",
            Self::Drips => "drips",
            Self::ResetsMidBody => "resets-mid-body",
            Self::LiesAboutLength => "lies-about-length",
            Self::ClosesIdleConnections => "closes-idle-connections",
        }
    }
}

impl FromStr for Misbehaviour {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|known| known.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("`{name}` is no misbehaviour; there are {names}")
        })
    }
}

impl fmt::Display for Misbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
