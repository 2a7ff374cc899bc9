//! A client's bytes as printable ASCII of bounded length that ends where it seems to end.

/// Marks a value that was cut. A backslash of the client's own is never followed by a dot.
const CUT: &[u8] = b"\\...";

/// For between quotes: at most `limit` bytes.
pub(super) fn escape_quoted(bytes: &[u8], limit: usize, out: &mut Vec<u8>) {
    escape(bytes, limit, is_plain_in_quotes, out);
}

/// For a value without quotes: at most `limit` bytes, none of them a space or quote.
pub(super) fn escape_bare(bytes: &[u8], limit: usize, out: &mut Vec<u8>) {
    escape(bytes, limit, is_plain_bare, out);
}

fn is_plain_in_quotes(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte) & (byte != b'"') & (byte != b'\\')
}

fn is_plain_bare(byte: u8) -> bool {
    is_plain_in_quotes(byte) & (byte != b' ') & (byte != b'=')
}

fn escape(bytes: &[u8], limit: usize, is_plain: impl Fn(u8) -> bool, out: &mut Vec<u8>) {
    // Without an early exit the compiler looks at many bytes at a time.
    if bytes.len() <= limit && bytes.iter().fold(true, |plain, byte| plain & is_plain(*byte)) {
        return out.extend_from_slice(bytes);
    }
    let end = out.len() + limit;
    let mut cut_here = out.len();
    for byte in bytes {
        if is_plain(*byte) {
            out.push(*byte);
        } else {
            push_escaped(*byte, is_plain(b' '), out);
        }
        if out.len() > end {
            out.truncate(cut_here);
            return out.extend_from_slice(CUT);
        }
        if out.len() + CUT.len() <= end {
            cut_here = out.len();
        }
    }
}

fn push_escaped(byte: u8, in_quotes: bool, out: &mut Vec<u8>) {
    if in_quotes && matches!(byte, b'"' | b'\\') {
        return out.extend([b'\\', byte]);
    }
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    out.extend([b'\\', b'x', digit(byte >> 4), digit(byte & 0xf)]);
}
