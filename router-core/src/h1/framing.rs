//! Where a body ends (RFC 9112 §6.3). Two readings of one message are how requests are smuggled, so whatever has
//! not exactly one reading is refused.
//!
//! - [`ContentLength`], [`TransferEncoding`]: the two header families, folded field by field.
//! - [`Framing`]: the result.

use super::field::list;

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

/// Decimal digits only, without overflow.
fn digits(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return None; // 19 digits always fit into 64 bits
    }
    Some(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// All Transfer-Encoding fields of a message, folded into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum TransferEncoding {
    #[default]
    Absent,
    /// Exactly one coding, `chunked`.
    Chunked,
    /// Anything else: no other coding is understood, and chunked must come once and last.
    Bad,
}

impl TransferEncoding {
    /// Takes one more field into account.
    pub(crate) fn fold(self, value: &[u8]) -> Self {
        let mut codings = list(value);
        match (self, codings.next(), codings.next()) {
            (Self::Absent, Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Self::Chunked,
            _ => Self::Bad,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_digits_and_nothing_else() {
        for bad in ["", "+5", "-5", "0x5", "5 ", " 5", "5,5", "5;", "1e3", "18446744073709551616", "5\0"] {
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
        for bad in
            ["", ",", "gzip", "chunked, chunked", "gzip, chunked", "chunked;q=1", "xchunked", "identity"]
        {
            assert_eq!(TransferEncoding::Absent.fold(bad.as_bytes()), TransferEncoding::Bad, "{bad:?}");
        }
        assert_eq!(TransferEncoding::Absent.fold(b"Chunked"), TransferEncoding::Chunked);
        assert_eq!(TransferEncoding::Absent.fold(b"chunked").fold(b"chunked"), TransferEncoding::Bad);
    }
}
