//! Which of our three forms an `Accept` header prefers.

use super::Format;

/// How well a range fits one form: how precisely it names it, then its weight in thousandths.
/// Of several ranges the most precise one counts (RFC 9110 section 12.5.1).
type Fit = (u8, u16);

/// In the order that decides ties.
const FORMS: [Format; 3] = [Format::Html, Format::Json, Format::Text];

pub(super) fn preferred<'a>(accept: impl IntoIterator<Item = &'a [u8]>) -> Format {
    let mut fits: [Fit; 3] = [(0, 0); 3];
    for range in accept.into_iter().flat_map(ranges) {
        for (fit, form) in fits.iter_mut().zip(FORMS) {
            *fit = (*fit).max((precision(range.media, form), range.weight));
        }
    }
    let mut best = (Format::Html, 0, 0);
    for ((precision, weight), form) in fits.into_iter().zip(FORMS) {
        if precision > 0 && (weight, precision) > (best.1, best.2) {
            best = (form, weight, precision);
        }
    }
    if best.1 == 0 { Format::Html } else { best.0 }
}

struct Range<'a> {
    media: &'a [u8],
    weight: u16,
}

/// The ranges of one header. A comma within a quoted parameter cuts off something that is no media type and fits
/// nothing, so quotes need no care.
fn ranges(header: &[u8]) -> impl Iterator<Item = Range<'_>> {
    header.split(|b| *b == b',').filter_map(|range| {
        let mut parts = range.split(|b| *b == b';').map(<[u8]>::trim_ascii);
        let media = parts.next()?;
        let weight = parts.find_map(|part| {
            let value = part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q="))?;
            Some(thousandths(value))
        });
        Some(Range { media, weight: weight.unwrap_or(Some(1000))? })
    })
}

/// `0`, `1`, `0.5`, `1.000`: at most three decimals, at most 1 (RFC 9110 section 12.4.2).
fn thousandths(value: &[u8]) -> Option<u16> {
    let (whole, decimals) = match value {
        [whole @ (b'0' | b'1')] => (*whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', decimals @ ..] if decimals.len() <= 3 => (*whole, decimals),
        _ => return None,
    };
    let mut sum = u16::from(whole - b'0') * 1000;
    for (digit, unit) in decimals.iter().zip([100, 10, 1]) {
        sum += u16::from(digit.is_ascii_digit().then(|| digit - b'0')?) * unit;
    }
    (sum <= 1000).then_some(sum)
}

/// 3: the type itself, 2: its family, 1: anything, 0: something else.
fn precision(media: &[u8], form: Format) -> u8 {
    let is = |name: &str| media.eq_ignore_ascii_case(name.as_bytes());
    let (exact, family) = match form {
        Format::Html => (is("text/html") || is("application/xhtml+xml"), is("text/*")),
        Format::Json => (is("application/json") || is_json_suffixed(media), is("application/*")),
        Format::Text => (is("text/plain"), is("text/*")),
    };
    match (exact, family) {
        (true, _) => 3,
        (_, true) => 2,
        _ => u8::from(is("*/*")),
    }
}

/// `application/problem+json` and its like: who reads that reads JSON.
fn is_json_suffixed(media: &[u8]) -> bool {
    let starts = media.get(..12).is_some_and(|start| start.eq_ignore_ascii_case(b"application/"));
    starts && media.last_chunk::<5>().is_some_and(|end| end.eq_ignore_ascii_case(b"+json"))
}
