use proptest::prelude::*;

use super::*;

fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family][..], &length, block].concat()
}

fn v4_block() -> Vec<u8> {
    [&[192, 0, 2, 7][..], &[198, 51, 100, 1], &4000u16.to_be_bytes(), &443u16.to_be_bytes()].concat()
}

fn v4() -> Source {
    let (source, destination) = ("192.0.2.7:4000".parse().unwrap(), "198.51.100.1:443".parse().unwrap());
    Source::Proxied { source, destination }
}

fn v6() -> Source {
    let (source, destination) = ("[2001:db8::7]:4000".parse().unwrap(), "[::1]:443".parse().unwrap());
    Source::Proxied { source, destination }
}

/// Whole headers and what they say.
fn good() -> Vec<(Vec<u8>, Source)> {
    let v6_block = [
        &"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets()[..],
        &Ipv6Addr::LOCALHOST.octets(),
        &4000u16.to_be_bytes(),
        &443u16.to_be_bytes(),
    ]
    .concat();
    let tlvs = [&[0x02, 0, 3][..], b"a.b", &[0x04, 0, 0], &[0xea, 1, 0], &[7; 256]].concat();
    vec![
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 443\r\n".to_vec(), v4()),
        (b"PROXY TCP6 2001:db8::7 ::1 4000 443\r\n".to_vec(), v6()),
        (b"PROXY UNKNOWN\r\n".to_vec(), Source::Itself),
        (b"PROXY UNKNOWN ffff:: whatever 1 2\r\n".to_vec(), Source::Itself),
        (v2(0x21, 0x11, &v4_block()), v4()),
        (v2(0x21, 0x11, &[v4_block(), tlvs.clone()].concat()), v4()),
        (v2(0x21, 0x21, &[v6_block, tlvs].concat()), v6()),
        (v2(0x21, 0x31, &[0; 216]), Source::ProxiedUnix),
        (v2(0x21, 0x00, b""), Source::Itself),
        (v2(0x21, 0x00, b"anything"), Source::Itself),
        (v2(0x20, 0x00, b""), Source::Itself),
        (v2(0x20, 0x11, &v4_block()), Source::Itself),
    ]
}

#[test]
fn a_header_says_for_whom_wherever_it_is_cut_and_whatever_follows() {
    for (header, source) in good() {
        for cut in 0..header.len() {
            assert_eq!(parse(&header[..cut]), Ok(Parsed::NeedsMore), "{header:?} cut at {cut}");
        }
        let whole = Ok(Parsed::Header(Header { length: header.len(), source }));
        for behind in ["", "GET / HTTP/1.1\r\n", "\r\n", "PROXY "] {
            assert_eq!(parse(&[&header, behind.as_bytes()].concat()), whole);
        }
    }
}

#[test]
fn what_is_no_header_is_refused_at_the_first_byte_that_shows_it() {
    for (text, at) in
        [("GET / HTTP/1.1\r\n", 1), ("PUT / HTTP/1.1\r\n", 2), ("\r\n\r\nGET", 5), ("\x16\x03\x01", 1)]
    {
        assert_eq!(parse(&text.as_bytes()[..at]), Err(Malformed), "{text}");
        assert_eq!(parse(&text.as_bytes()[..at - 1]), Ok(Parsed::NeedsMore), "{text}");
    }
}

#[test]
fn malformed_lines_are_refused() {
    for line in [
        "PROXY TCP4 192.0.2.7 198.51.100.1 4000 443\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 4000 443 \r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 4000\r\n",
        "PROXY TCP4  192.0.2.7 198.51.100.1 4000 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 04000 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 +400 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
        "PROXY TCP4 192.0.2.07 198.51.100.1 4000 443\r\n",
        "PROXY TCP4 ::1 ::1 4000 443\r\n",
        "PROXY TCP6 192.0.2.7 198.51.100.1 4000 443\r\n",
        "PROXY UDP4 192.0.2.7 198.51.100.1 4000 443\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\n",
        "PROXY UNKNOWN\r \r\n",
        "proxy UNKNOWN\r\n",
    ] {
        assert_eq!(parse(line.as_bytes()), Err(Malformed), "{line}");
    }
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_V1 - 16));
    assert_eq!(longest.len(), LONGEST_V1);
    assert!(matches!(parse(longest.as_bytes()), Ok(Parsed::Header(_))));
    assert_eq!(parse(longest.replacen('x', "xx", 1).as_bytes()), Err(Malformed));
    assert_eq!(parse(&longest.as_bytes()[..LONGEST_V1 - 1]), Ok(Parsed::NeedsMore));
}

#[test]
fn malformed_blocks_are_refused() {
    let tlv = |tlv: &[u8]| v2(0x21, 0x11, &[&v4_block(), tlv].concat());
    for header in [
        v2(0x11, 0x11, &v4_block()),       // version 1 in a block
        v2(0x22, 0x11, &v4_block()),       // no such command
        v2(0x21, 0x12, &v4_block()),       // datagrams
        v2(0x21, 0x41, &v4_block()),       // no such family
        v2(0x21, 0x11, &v4_block()[..11]), // addresses that do not fit
        v2(0x21, 0x21, &[0; 35]),
        v2(0x21, 0x31, &[0; 215]),
        tlv(&[4]), // TLVs that end in the middle
        tlv(&[4, 0]),
        tlv(&[4, 0, 1]),
        tlv(&[4, 0, 0, 4, 0xff, 0xff, 0]),
        v2(0x21, 0x11, &vec![0; 4097]),
        v2(0x20, 0x00, &vec![0; 4097]),
    ] {
        assert_eq!(parse(&header), Err(Malformed), "{header:?}");
    }
    let longest = v2(0x20, 0x00, &[0; 4096]);
    assert!(matches!(parse(&longest), Ok(Parsed::Header(Header { length: LONGEST_V2, .. }))));
}

proptest! {
    #[test]
    fn any_bytes_are_a_header_or_not_and_more_bytes_never_change_an_answer(
        start in proptest::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 ", SIGNATURE]),
        rest in proptest::collection::vec(any::<u8>(), 0..64),
        more in proptest::collection::vec(any::<u8>(), 0..8),
    ) {
        let bytes = [start, &rest].concat();
        let longer = parse(&[&bytes[..], &more].concat());
        match parse(&bytes) {
            Ok(Parsed::Header(header)) => {
                prop_assert!(header.length <= bytes.len());
                prop_assert_eq!(longer, Ok(Parsed::Header(header)));
            }
            Err(Malformed) => prop_assert_eq!(longer, Err(Malformed)),
            Ok(Parsed::NeedsMore) => prop_assert!(bytes.len() < LONGEST_V2),
        }
    }
}
