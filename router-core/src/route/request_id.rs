//! The name of one request, in every log line and header it leaves behind.
//!
//! - [`RequestId`]: 20 to 200 bytes of `A-Z a-z 0-9 + / = -`, held inline.
//! - [`RequestIds`]: takes the client's or makes a new one; each worker has its own.
//!
//! An id is not a secret: whoever sees some can compute the next. Nothing may be granted for knowing one.

use std::fmt;

/// The longest id that is taken from a client.
const LONGEST: usize = 200;
/// The shortest.
const SHORTEST: usize = 20;

/// The name of one request (Dev Center, HTTP Request IDs). It has no quote, space or control byte, so it needs no
/// escaping in headers, logs, HTML or JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId {
    len: u8,
    bytes: [u8; LONGEST],
}

impl RequestId {
    /// The id a client sent, if it is 20 to 200 bytes of `A-Z a-z 0-9 + / = -`.
    ///
    /// ```
    /// use router_core::route::RequestId;
    /// assert!(RequestId::accept(b"01234567-89ab-cdef-0123").is_some());
    /// assert!(RequestId::accept(b"too-short").is_none());
    /// ```
    pub fn accept(sent: &[u8]) -> Option<Self> {
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'-');
        if sent.len() < SHORTEST || !sent.iter().all(allowed) {
            return None;
        }
        let mut bytes = [0; LONGEST];
        bytes.get_mut(..sent.len())?.copy_from_slice(sent);
        Some(Self { len: u8::try_from(sent.len()).ok()?, bytes })
    }

    /// 128 bits in the form of a random UUID (RFC 9562 version 4): 36 characters, 122 of the bits count.
    fn from_bits(bits: u128) -> Self {
        const VERSION_4: u128 = 4 << 76;
        const VARIANT: u128 = 0b10 << 62;
        let bits = bits & !(0xf << 76) & !(0b11 << 62) | VERSION_4 | VARIANT;
        let [a, b, c, d] = [96, 64, 32, 0].map(|shift| eight_digits((bits >> shift) as u32));
        let [b0, b1, b2, b3, b4, b5, b6, b7] = b;
        let [c0, c1, c2, c3, c4, c5, c6, c7] = c;
        let middle = [b'-', b0, b1, b2, b3, b'-', b4, b5, b6, b7, b'-', c0, c1, c2, c3, b'-', c4, c5, c6, c7];
        let mut bytes = [0; LONGEST];
        let digits = a.into_iter().chain(middle).chain(d);
        bytes.iter_mut().zip(digits).for_each(|(place, digit)| *place = digit);
        Self { len: 36, bytes }
    }

    /// Its bytes, all of them printable ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The same as text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

/// Eight hexadecimal digits at once: each nibble goes to a byte of its own; those beyond nine are moved on to `a`.
const fn eight_digits(bits: u32) -> [u8; 8] {
    const LOW: u64 = 0x0f0f_0f0f_0f0f_0f0f;
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut spread = bits as u64;
    spread = (spread | spread << 16) & 0x0000_ffff_0000_ffff;
    spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
    spread = (spread | spread << 4) & LOW;
    let beyond_nine = ((spread + 6 * ONES) >> 4) & ONES;
    (spread + ONES * b'0' as u64 + beyond_nine * (b'a' - b'0' - 10) as u64).to_be_bytes()
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where one worker's ids come from. Two generators of 64 bits each run side by side, so that ids repeat neither
/// within a worker nor between workers that were seeded apart.
#[derive(Debug)]
pub struct RequestIds {
    high: fastrand::Rng,
    low: fastrand::Rng,
}

impl RequestIds {
    /// A source that starts from `seed`, which must be random for each worker of each router: equal seeds make
    /// equal ids.
    pub fn from_seed(seed: [u8; 16]) -> Self {
        let seed = u128::from_le_bytes(seed);
        Self {
            high: fastrand::Rng::with_seed((seed >> 64) as u64),
            low: fastrand::Rng::with_seed(seed as u64),
        }
    }

    /// The id the client sent if it is acceptable, else a new one.
    pub fn accept(&mut self, sent: Option<&[u8]>) -> RequestId {
        sent.and_then(RequestId::accept).unwrap_or_else(|| self.make())
    }

    /// A new id of 36 characters in the form of a random UUID.
    pub fn make(&mut self) -> RequestId {
        RequestId::from_bits(u128::from(self.high.u64(..)) << 64 | u128::from(self.low.u64(..)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn an_acceptable_id_is_kept_byte_for_byte() {
        for sent in ["ABCDEFGHIJKLMNOPQRSTUVWXYZ", "+/=-0123456789abcdef", &"x".repeat(200)] {
            assert_eq!(RequestIds::from_seed([7; 16]).accept(Some(sent.as_bytes())).as_str(), sent);
        }
    }

    #[test]
    fn an_unacceptable_id_is_replaced() {
        for sent in [
            "",
            "testid??",
            "1234567890123456789",
            "12345678901234567890\"",
            "12345678901234567890 ",
            &"x".repeat(201),
        ] {
            assert_eq!(RequestId::accept(sent.as_bytes()), None, "{sent}");
            assert_eq!(RequestIds::from_seed([7; 16]).accept(Some(sent.as_bytes())).as_str().len(), 36);
        }
    }

    #[test]
    fn a_new_id_is_shaped_like_a_uuid_of_version_4_and_is_itself_acceptable() {
        assert_eq!(RequestId::from_bits(0).as_str(), "00000000-0000-4000-8000-000000000000");
        assert_eq!(RequestId::from_bits(u128::MAX).as_str(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        let id = RequestId::from_bits(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(id.as_str(), "01234567-89ab-4def-8123-456789abcdef");
        assert_eq!(RequestId::accept(id.as_bytes()), Some(id));
    }

    #[test]
    fn ids_do_not_repeat_within_a_worker_or_between_two() {
        let (mut one, mut two) = (RequestIds::from_seed([1; 16]), RequestIds::from_seed([2; 16]));
        let ids: HashSet<String> =
            (0..1000).flat_map(|_| [one.make(), two.make()]).map(|id| id.to_string()).collect();
        assert_eq!(ids.len(), 2000);
    }

    proptest! {
        #[test]
        fn it_accepts_exactly_what_the_rule_says(sent in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..220),
            "[A-Za-z0-9+/=-]{15,205}".prop_map(String::into_bytes),
        ]) {
            let rule = (20..=200).contains(&sent.len())
                && sent.iter().all(|b| b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-".contains(b));
            let accepted = RequestId::accept(&sent);
            prop_assert_eq!(accepted.is_some(), rule);
            if let Some(id) = accepted {
                prop_assert_eq!(id.as_bytes(), sent);
            }
        }
    }
}
