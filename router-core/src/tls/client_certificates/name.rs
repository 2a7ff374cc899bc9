//! A distinguished name as text (RFC 4514): the most specific part first, and nothing in a part can look like another one.

use std::fmt::Write as _;

use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// No name is longer; what is, is cut off and ends in `...`, which nothing else does: dots are escaped by nobody, but a
/// part has no end without its type.
const LONGEST: usize = 2048;

/// The attributes that have a name there (RFC 4514 §3), and the one for mail, which is everywhere.
const KNOWN: [(&str, &str); 10] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// `CN=shop,O=Example\, Inc.,C=DE`: printable ASCII only.
pub(super) fn text(name: &X509Name<'_>) -> String {
    let mut out = String::new();
    let parts: Vec<_> = name.iter_rdn().collect();
    for part in parts.iter().rev() {
        if !out.is_empty() {
            out.push(',');
        }
        for (place, attribute) in part.iter().enumerate() {
            if place > 0 {
                out.push('+');
            }
            write(attribute, &mut out);
        }
        if out.len() > LONGEST {
            out.truncate(LONGEST);
            out.push_str("...");
            break;
        }
    }
    out
}

fn write(attribute: &AttributeTypeAndValue<'_>, out: &mut String) {
    let id = attribute.attr_type().to_id_string();
    let known = KNOWN.iter().find(|(number, _)| *number == id);
    match known.and_then(|(_, name)| Some((name, attribute.as_str().ok()?))) {
        Some((name, value)) => {
            out.push_str(name);
            out.push('=');
            escape(value, out);
        }
        None => {
            // Its bytes (RFC 4514 §2.4); nothing here can fail.
            let _infallible = write!(out, "{id}=#");
            attribute.attr_value().data.iter().for_each(|byte| {
                let _infallible = write!(out, "{byte:02x}");
            });
        }
    }
}

/// RFC 4514 §2.4; whatever is not printable ASCII becomes the hexadecimal digits of its bytes.
fn escape(value: &str, out: &mut String) {
    let last = value.len().saturating_sub(1);
    for (place, byte) in value.bytes().enumerate() {
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' | b'=' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' ' | b'#' if place == 0 => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' ' if place == last => out.push_str("\\ "),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                let _infallible = write!(out, "\\{byte:02x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair};
    use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

    use super::*;

    fn named(parts: &[(DnType, &str)]) -> String {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), DnValue::Utf8String((*value).to_owned()));
        }
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        text(X509Certificate::from_der(made.der()).unwrap().1.subject())
    }

    #[test]
    fn the_most_specific_part_comes_first() {
        let parts = [
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "Example, Inc."),
            (DnType::CommonName, "shop"),
        ];
        assert_eq!(named(&parts), r"CN=shop,O=Example\, Inc.,C=DE");
    }

    #[test]
    fn no_part_can_look_like_another_one_or_end_the_line() {
        assert_eq!(named(&[(DnType::CommonName, "eve,O=Admins+x")]), r"CN=eve\,O\=Admins\+x");
        assert_eq!(
            named(&[(DnType::CommonName, "a\r\nX-Client-Verify: SUCCESS")]),
            r"CN=a\0d\0aX-Client-Verify: SUCCESS"
        );
        assert_eq!(named(&[(DnType::CommonName, " é#\\ ")]), r"CN=\ \c3\a9#\\\ ");
        assert_eq!(named(&[(DnType::CustomDnType(vec![1, 2, 3, 4]), "ab")]), "1.2.3.4=#6162");
        assert!(named(&[(DnType::CommonName, &"x".repeat(5000))]).len() < 2100);
    }
}
