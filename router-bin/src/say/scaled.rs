//! `busbar scale`: what is written there, and what is told about it.

use std::{fmt, str::FromStr};

use busbar_registry::{NameError, ProcessType};
use serde::{Deserialize, Serialize};

/// Most dynos of one process type that can be asked for.
pub(crate) const MOST_DYNOS: u32 = 1000;

/// `web=3`, `worker+1`, `web-1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scale {
    /// Which process type.
    pub(crate) process_type: ProcessType,
    /// How many.
    pub(crate) to: Quantity,
}

/// How many dynos: a number, or a difference from what is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quantity {
    /// So many.
    Exactly(u32),
    /// So many more, or fewer.
    By(i64),
}

impl Quantity {
    /// The number, when there are `now`; never below 0.
    pub(crate) fn from(self, now: u32) -> u32 {
        match self {
            Self::Exactly(n) => n,
            Self::By(difference) => {
                u32::try_from(i64::from(now).saturating_add(difference).max(0)).unwrap_or(u32::MAX)
            }
        }
    }
}

/// Not spelled as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadScale {
    /// No `=`, `+` or `-` and number.
    #[error("write a process type and a number, like web=3, web+1 or worker-1")]
    Form,
    /// Too many.
    #[error("at most {MOST_DYNOS} dynos of a process type")]
    TooMany,
    /// Not a process type.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl FromStr for Scale {
    type Err = BadScale;
    fn from_str(text: &str) -> Result<Self, BadScale> {
        let digits = text.len().saturating_sub(text.bytes().rev().take_while(u8::is_ascii_digit).count());
        let (head, number) =
            text.split_at_checked(digits).filter(|(_, n)| !n.is_empty()).ok_or(BadScale::Form)?;
        let number: u32 = number.parse().ok().filter(|n| *n <= MOST_DYNOS).ok_or(BadScale::TooMany)?;
        let sign = head.chars().next_back().ok_or(BadScale::Form)?;
        let to = match sign {
            '=' => Quantity::Exactly(number),
            '+' => Quantity::By(i64::from(number)),
            '-' => Quantity::By(-i64::from(number)),
            _ => return Err(BadScale::Form),
        };
        let process_type = head.strip_suffix(sign).unwrap_or_default().parse()?;
        Ok(Self { process_type, to })
    }
}

/// How many dynos of a process type there should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scaled {
    /// Which.
    pub(crate) process_type: ProcessType,
    /// How many.
    pub(crate) quantity: u32,
}

impl fmt::Display for Scaled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.process_type, self.quantity)
    }
}

/// `Scaling dynos... done, now running web at 3, worker at 1`
pub(crate) fn scaled(now: &[Scaled]) -> String {
    let list: Vec<String> = now.iter().map(Scaled::to_string).collect();
    format!("Scaling dynos... done, now running {}\n", list.join(", "))
}

/// `web=3 worker=1`
pub(crate) fn formation(now: &[Scaled]) -> String {
    let list: Vec<String> = now.iter().map(|s| format!("{}={}", s.process_type, s.quantity)).collect();
    format!("{}\n", list.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn herokus_spellings_are_understood() {
        for (text, process_type, now, then) in [
            ("web=3", "web", 1, 3),
            ("web+2", "web", 1, 3),
            ("my-worker-1", "my-worker", 1, 0),
            ("w2-5", "w2", 3, 0),
        ] {
            let scale: Scale = text.parse().unwrap();
            assert_eq!((scale.process_type.as_str(), scale.to.from(now)), (process_type, then), "{text}");
        }
        for text in ["", "web", "web=", "=3", "web=x", "web=1001", "web:3", "web=-1", "3", "web=99999999999"]
        {
            assert!(text.parse::<Scale>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_answer_is_herokus() {
        let now = [("web", 3), ("worker", 1)];
        let now = now.map(|(name, quantity)| Scaled { process_type: name.parse().unwrap(), quantity });
        assert_eq!(scaled(&now), "Scaling dynos... done, now running web at 3, worker at 1\n");
        assert_eq!(formation(&now), "web=3 worker=1\n");
    }
}
