//! A host is a host: one canonical form, which is its own, whatever case, dot and port it came with; and the router and the
//! registry have the same one.

use busbar_registry::Domain;
use router_core::route::host::{Host, MAX_HOST};

/// See the page.
pub fn claim(raw: &[u8]) {
    if let Ok(domain) = String::from_utf8_lossy(raw).parse::<Domain>() {
        let concrete = domain.as_str().replacen('*', "any", 1);
        if concrete.len() <= MAX_HOST {
            assert_eq!(Host::parse(concrete.as_bytes()).map(|host| host.to_string()), Ok(concrete));
        }
        assert_eq!(domain.as_str().parse::<Domain>().as_ref(), Ok(&domain));
    }
    let Ok(host) = Host::parse(raw) else { return };
    let text = host.as_str();
    assert!(!text.is_empty() && text.len() <= MAX_HOST);
    assert!(text.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase()), "{text:?}");
    assert!(!text.contains(['/', '@', '?', '#', '\\', '%', ',']), "{text:?}");
    let is_ipv6 = text.starts_with('[');
    assert_eq!(text.contains(':'), is_ipv6);

    let same = |spelled: String, port| {
        let again = Host::parse(spelled.as_bytes()).expect("a spelling of the same host");
        assert_eq!((again.as_str(), again.port()), (text, port), "{spelled:?}");
    };
    same(text.to_owned(), None);
    same(text.to_ascii_uppercase(), None);
    same(format!("{text}:"), None);
    let port = host.port().unwrap_or(8080);
    same(format!("{text}:{port}"), Some(port));
    if !is_ipv6 {
        same(format!("{text}.:{port}"), Some(port));
    }
    // What the registry takes for a domain, it takes for the same one.
    if let Ok(domain) = text.parse::<Domain>() {
        assert_eq!(domain.as_str(), text);
    }
}
