//! Where a body ends (RFC 9112 §6.3). Two readings of one message are how requests are smuggled, so whatever has
//! not exactly one reading is refused.
//!
//! - [`ContentLength`], [`TransferEncoding`]: the two header families, folded field by field.
//! - [`Framing`]: the result.

use super::field::{is_token, list};

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    Empty,
    /// So many bytes, more than none.
    Length(u64),
    /// The chunked coding.
    Chunked,
    /// Until the connection is closed; only responses end so.
    UntilClose,
}

/// All Content-Length fields of a message, folded into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ContentLength {
    #[default]
    Absent,
    Is(u64),
    /// Not a plain number.
    Bad,
    /// Several numbers.
    Different,
}

impl ContentLength {
    /// Takes one more field into account. Repeating the same number is allowed, a list is not.
    pub(crate) fn fold(self, value: &[u8]) -> Self {
        match (self, digits(value)) {
            (Self::Bad, _) | (_, None) => Self::Bad,
            (Self::Different, _) => Self::Different,
            (Self::Absent, Some(length)) => Self::Is(length),
            (Self::Is(before), Some(length)) if before == length => self,
            (Self::Is(_), Some(_)) => Self::Different,
        }
    }
}

/// Many apps count in 63 bits; a longer body has another length for them.
pub(crate) const LONGEST_BODY: u64 = i64::MAX as u64;

/// Decimal digits only, without overflow.
fn digits(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return None; // 19 digits always fit into 64 bits
    }
    let length = value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some(length).filter(|length| *length <= LONGEST_BODY)
}

/// All Transfer-Encoding fields of a message, folded into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum TransferEncoding {
    #[default]
    Absent,
    /// Exactly one coding, `chunked`.
    Chunked,
    /// Other codings, and behind them `chunked`: the body has an end, but nobody here understands it.
    Unknown,
    /// Other codings only, so the body has no end that can be found.
    Open,
    /// No list of codings, or something behind `chunked`.
    Bad,
}

impl TransferEncoding {
    /// Takes one more field into account.
    pub(crate) fn fold(self, value: &[u8]) -> Self {
        if value.eq_ignore_ascii_case(b"chunked") {
            return self.then(b"chunked");
        }
        let folded = list(value).fold(self, Self::then);
        if list(value).next().is_some() { folded } else { Self::Bad }
    }

    fn then(self, coding: &[u8]) -> Self {
        match (self, coding.eq_ignore_ascii_case(b"chunked")) {
            (Self::Absent, true) => Self::Chunked,
            (Self::Open, true) => Self::Unknown,
            (Self::Absent | Self::Open, false) if is_token(coding) => Self::Open,
            _ => Self::Bad,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_digits_and_nothing_else() {
        for bad in [
            "",
            "+5",
            "-5",
            "0x5",
            "5 ",
            " 5",
            "5,5",
            "5;",
            "1e3",
            "9223372036854775808",
            "18446744073709551616",
            "5\0",
        ] {
            assert_eq!(ContentLength::Absent.fold(bad.as_bytes()), ContentLength::Bad, "{bad:?}");
        }
        assert_eq!(ContentLength::Absent.fold(b"0042"), ContentLength::Is(42));
    }

    #[test]
    fn equal_lengths_merge_and_different_ones_do_not() {
        let eleven = ContentLength::Absent.fold(b"11");
        assert_eq!(eleven.fold(b"11"), ContentLength::Is(11));
        assert_eq!(eleven.fold(b"5"), ContentLength::Different);
        assert_eq!(eleven.fold(b"5").fold(b"5"), ContentLength::Different);
    }

    #[test]
    fn only_a_single_chunked_is_a_transfer_encoding() {
        for (coding, read) in [
            ("", TransferEncoding::Bad),
            (",", TransferEncoding::Bad),
            ("chunked, chunked", TransferEncoding::Bad),
            ("chunked, gzip", TransferEncoding::Bad),
            ("chunked;q=1", TransferEncoding::Bad),
            ("gzip", TransferEncoding::Open),
            ("xchunked, identity", TransferEncoding::Open),
            ("gzip, Chunked", TransferEncoding::Unknown),
        ] {
            assert_eq!(TransferEncoding::Absent.fold(coding.as_bytes()), read, "{coding:?}");
        }
        assert_eq!(TransferEncoding::Open.fold(b"chunked"), TransferEncoding::Unknown);
        assert_eq!(TransferEncoding::Unknown.fold(b"chunked"), TransferEncoding::Bad);
        assert_eq!(TransferEncoding::Absent.fold(b"Chunked"), TransferEncoding::Chunked);
        assert_eq!(TransferEncoding::Absent.fold(b"chunked").fold(b"chunked"), TransferEncoding::Bad);
    }
}
