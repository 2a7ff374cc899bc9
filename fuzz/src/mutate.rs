//! Attacks without a memory: a seed, changed a little in a few places. For the short test; libFuzzer does this better.

use fastrand::Rng;

/// What parsers trip over.
const BYTES: &[u8] = b"\r\n\0 \t:,;=_-+.#/*@[]\"'\\0159afxAFZ\x7f\x80\xff{}";
/// The same in longer words.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\r\n\r\n",
    b"\n\n",
    b"\r",
    b"\r\n ",
    b": ",
    b", ",
    b"chunked",
    b"identity",
    b"close",
    b"keep-alive",
    b"upgrade",
    b"Host: a.example\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Content_Length: 9\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer_Encoding: chunked\r\n",
    b"Connection: host, x-a\r\n",
    b"Connection: content-length\r\n",
    b"Upgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"Via: 1.0 a\r\n",
    b"X-Forwarded-For: 1.2.3.4\r\n",
    b"x_forwarded_for: 5.6.7.8\r\n",
    b"X-A: b\r\n",
    b"Set-Cookie: a=b\r\n",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"http://a.example",
    b"0\r\n",
    b"5\r\nhello\r\n",
    b";a=b",
    b"ffffffffffffffff",
    b"9223372036854775807",
    b"18446744073709551616",
    b"65536",
    b"-1",
    b"0x5",
    b"null",
    b"[]",
    b"{}",
    b"\"\\u0000\"",
    b"[::1]",
    b"127.0.0.1",
    b"xn--",
    b"PROXY TCP4 ",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
];

/// A descendant of one of `seeds`, of which there must be one.
pub fn descendant(seeds: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = seeds[rng.usize(..seeds.len())].clone();
    for _ in 0..=rng.usize(..4) {
        change(&mut bytes, seeds, rng);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], rng: &mut Rng) {
    let at = rng.usize(..=bytes.len());
    let end = rng.usize(at..=bytes.len().min(at + 24));
    match rng.u8(..9) {
        0 if at < bytes.len() => bytes[at] = BYTES[rng.usize(..BYTES.len())],
        1 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
        2 => bytes.insert(at, BYTES[rng.usize(..BYTES.len())]),
        3 => drop(bytes.drain(at..end)),
        4 => bytes.truncate(at),
        5 => {
            let again = bytes[at..end].to_vec();
            bytes.splice(end..end, again);
        }
        6 => {
            let other = &seeds[rng.usize(..seeds.len())];
            let from = rng.usize(..=other.len());
            bytes.splice(at..end, other[from..].iter().copied());
        }
        _ => drop(bytes.splice(at..at, WORDS[rng.usize(..WORDS.len())].iter().copied())),
    }
}
