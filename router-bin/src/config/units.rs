//! How spans of time and sizes are spelled in files and flags: `30s`, `500ms`, `8KiB`.

use std::{str::FromStr, time::Duration};

/// A span of time as written: a whole number and one of `ms`, `s`, `m`, `h`. At most 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

/// How long browsers are to remember something, as written: a whole number and one of `s`, `m`, `h`, `d`. In seconds, at
/// most ten years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Age(pub(crate) u32);

/// A number of bytes as written: a whole number and one of `B`, `KiB`, `MiB`. At most 1024 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub usize);

/// Bytes per second as written: a [`Size`] and `/s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate(pub u32);

/// Not spelled as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misspelled {
    /// See [`Span`].
    #[error("write a whole number and a unit, ms, s, m or h, up to 24h, like \"30s\" or \"500ms\"")]
    Span,
    /// See [`Age`].
    #[error("write a whole number and a unit, s, m, h or d, up to 3650d, like \"365d\"")]
    Age,
    /// See [`Size`].
    #[error("write a whole number and a unit, B, KiB or MiB, up to 1024MiB, like \"8KiB\"")]
    Size,
    /// See [`Rate`].
    #[error("write a number of bytes per second, up to 1024MiB/s, like \"500B/s\", or \"0B/s\" for none")]
    Rate,
}

impl FromStr for Span {
    type Err = Misspelled;
    fn from_str(text: &str) -> Result<Self, Misspelled> {
        let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
        let millis = scaled(text, &units).filter(|millis| *millis <= 24 * 3_600_000);
        millis.map(|millis| Self(Duration::from_millis(millis))).ok_or(Misspelled::Span)
    }
}

impl FromStr for Age {
    type Err = Misspelled;
    fn from_str(text: &str) -> Result<Self, Misspelled> {
        let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
        let seconds = scaled(text, &units).filter(|seconds| *seconds <= 3650 * 86_400);
        seconds.and_then(|seconds| u32::try_from(seconds).ok()).map(Self).ok_or(Misspelled::Age)
    }
}

impl FromStr for Size {
    type Err = Misspelled;
    fn from_str(text: &str) -> Result<Self, Misspelled> {
        let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("B", 1)];
        let bytes = scaled(text, &units).filter(|bytes| *bytes <= 1 << 30);
        bytes.and_then(|bytes| usize::try_from(bytes).ok()).map(Self).ok_or(Misspelled::Size)
    }
}

impl FromStr for Rate {
    type Err = Misspelled;
    fn from_str(text: &str) -> Result<Self, Misspelled> {
        let size = text.strip_suffix("/s").and_then(|size| size.parse::<Size>().ok());
        size.and_then(|size| u32::try_from(size.0).ok()).map(Self).ok_or(Misspelled::Rate)
    }
}

/// `12s` with `("s", 1000)` is 12 000. The units are tried in order, so one that ends another comes later.
pub(crate) fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at_checked(digits_end)?;
    let (_, scale) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    digits.parse::<u64>().ok()?.checked_mul(*scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_number_and_a_unit() {
        for (text, millis) in
            [("30s", 30_000), ("500ms", 500), ("2m", 120_000), ("24h", 86_400_000), ("0s", 0), ("5 s", 5000)]
        {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(millis))), "{text}");
        }
        for text in ["", "30", "s", "-1s", "1.5s", "25h", "30sec", "99999999999999999999s", "1s2"] {
            assert_eq!(text.parse::<Span>(), Err(Misspelled::Span), "{text}");
        }
    }

    #[test]
    fn ages_are_longer_than_spans() {
        for (text, seconds) in [("365d", 31_536_000), ("0s", 0), ("12h", 43_200), ("3650d", 315_360_000)] {
            assert_eq!(text.parse(), Ok(Age(seconds)), "{text}");
        }
        for text in ["", "365", "3651d", "1y", "-1d", "500ms"] {
            assert_eq!(text.parse::<Age>(), Err(Misspelled::Age), "{text}");
        }
    }

    #[test]
    fn rates_are_sizes_per_second() {
        for (text, bytes) in [("500B/s", 500), ("1KiB/s", 1024), ("0B/s", 0)] {
            assert_eq!(text.parse(), Ok(Rate(bytes)), "{text}");
        }
        for text in ["", "500", "500B", "500/s", "500B/m", "1KB/s"] {
            assert_eq!(text.parse::<Rate>(), Err(Misspelled::Rate), "{text}");
        }
    }

    #[test]
    fn sizes_have_a_number_and_a_unit() {
        for (text, bytes) in [("8KiB", 8192), ("100B", 100), ("1MiB", 1 << 20), ("1024MiB", 1 << 30)] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "8", "8KB", "8kib", "1025MiB", "-1B"] {
            assert_eq!(text.parse::<Size>(), Err(Misspelled::Size), "{text}");
        }
    }
}
