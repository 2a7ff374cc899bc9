//! Spans of time and sizes as people write them: `250ms`, `1.5s`, `64k`, `1m`.
//!
//! - [`duration`], [`size`]: text to value, for clap and scenario files.
//! - [`span`], [`bytes()`]: value to text, for tables.

use std::time::Duration;

/// Reads `250ms`, `90us`, `1.5s`, `2m`, `1h`; a unit is required, except for `0`.
///
/// # Errors
/// What is wrong with the text, in a sentence.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let seconds_per_unit = match unit {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "" if number == "0" => 1.0,
        _ => return Err(format!("`{text}` is not a span of time; write 250ms, 1.5s or 2m")),
    };
    let number: f64 = number.parse().map_err(|_| format!("`{text}` does not begin with a number"))?;
    Duration::try_from_secs_f64(number * seconds_per_unit).map_err(|error| format!("`{text}`: {error}"))
}

/// Reads `512`, `64k`, `1m`: bytes, in steps of 1024.
///
/// # Errors
/// What is wrong with the text, in a sentence.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return Err(format!("`{text}` is not a size; write 512, 64k or 1m")),
    };
    let number: u64 = number.parse().map_err(|_| format!("`{text}` does not begin with a whole number"))?;
    number.checked_mul(factor).ok_or_else(|| format!("`{text}` is too large"))
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

/// A span with three digits that count: `812 ns`, `15.6 µs`, `2.26 ms`, `30.0 s`.
#[must_use]
pub fn span(duration: Duration) -> String {
    let nanos = duration.as_nanos() as f64;
    match nanos {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{} µs", three_digits(n / 1e3)),
        n if n < 1e9 => format!("{} ms", three_digits(n / 1e6)),
        n => format!("{} s", three_digits(n / 1e9)),
    }
}

/// A size with three digits that count: `13 B`, `2.40 KiB`, `1.00 MiB`.
#[must_use]
pub fn bytes(bytes: f64) -> String {
    match bytes {
        b if b < 1024.0 => format!("{b:.0} B"),
        b if b < 1024.0 * 1024.0 => format!("{} KiB", three_digits(b / 1024.0)),
        b if b < 1024.0 * 1024.0 * 1024.0 => format!("{} MiB", three_digits(b / 1024.0 / 1024.0)),
        b => format!("{} GiB", three_digits(b / 1024.0 / 1024.0 / 1024.0)),
    }
}

/// The number with as many decimals as make three digits.
#[must_use]
pub fn three_digits(number: f64) -> String {
    let decimals = match number.abs() {
        n if n >= 99.95 => 0,
        n if n >= 9.995 => 1,
        _ => 2,
    };
    format!("{number:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_written() {
        for (text, millis) in [("250ms", 250), ("1.5s", 1500), ("2m", 120_000), ("0", 0), ("3000us", 3)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn a_span_without_unit_is_refused() {
        for text in ["10", "", "s", "-1s", "1.2.3s", "5 parsecs"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_go_in_steps_of_1024() {
        assert_eq!(size("64k"), Ok(65_536));
        assert_eq!(size("1M"), Ok(1_048_576));
        assert_eq!(size("13"), Ok(13));
        assert!(size("99999999999g").is_err());
        assert!(size("1.5k").is_err());
    }

    #[test]
    fn spans_are_shown_with_three_digits() {
        let shown = [812, 15_640, 2_263_000, 30_000_000_000].map(|n| span(Duration::from_nanos(n)));
        assert_eq!(shown, ["812 ns", "15.6 µs", "2.26 ms", "30.0 s"]);
    }
}
