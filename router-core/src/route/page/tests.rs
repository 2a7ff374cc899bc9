use proptest::prelude::*;

use super::*;
use crate::route::fault::RequestFlaw;

fn id() -> RequestId {
    RequestId::accept(b"01234567-89ab-4def-8123-456789abcdef").unwrap()
}

fn page(fault: Fault, format: Format, page_url: Option<&str>) -> String {
    let mut out = Vec::new();
    render(fault, format, &id(), page_url, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn json_says_what_a_program_needs() {
    assert_eq!(
        page(Fault::RequestTimeout, Format::Json, Some("https://ignored.example")),
        "{\"id\":\"request_timeout\",\"code\":\"H12\",\"status\":503,\
         \"message\":\"The application did not answer in time. Please try again in a moment.\",\
         \"request_id\":\"01234567-89ab-4def-8123-456789abcdef\"}\n"
    );
    assert!(page(Fault::UnknownHost, Format::Json, None).contains("\"code\":null,\"status\":404,"));
    assert!(page(RequestFlaw::BareLf.into(), Format::Json, None).contains(" Cause: bare LF.\""));
}

#[test]
fn text_is_three_lines() {
    let text = page(Fault::Maintenance, Format::Text, None);
    assert_eq!(text.lines().count(), 3);
    assert!(text.ends_with("503 H80, request 01234567-89ab-4def-8123-456789abcdef\n"), "{text}");
}

/// Every `<name …>` is closed in order, apart from the void ones.
fn well_formed(html: &str) {
    let mut open = Vec::new();
    for tag in html.split('<').skip(1) {
        let name = tag.split(['>', ' ', '\n']).next().unwrap();
        match name.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop(), Some(closed), "{html}"),
            None if ["!DOCTYPE", "meta"].contains(&name) => {}
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?} {html}");
}

#[test]
fn every_page_is_small_and_well_formed() {
    for fault in Fault::ALL {
        let html = page(fault, Format::Html, None);
        well_formed(&html);
        assert!(html.len() < 1024 + 36, "{} {}", fault, html.len());
        assert!(html.contains(fault.visitor().title) && html.contains(id().as_str()));
        let json = page(fault, Format::Json, None);
        assert_eq!(json.matches('"').count() % 2, 0);
        assert!(!json.trim_end().contains(['\n', '\\']), "{json}");
    }
}

#[test]
fn a_page_url_fills_the_page_and_cannot_leave_its_attribute() {
    let html = page(Fault::AppCrashed, Format::Html, Some("https://e.example/?a=1&b=\"><script>'"));
    well_formed(&html);
    assert!(html.contains("src=\"https://e.example/?a=1&amp;b=&quot;&gt;&lt;script&gt;&#39;\""), "{html}");
}

#[test]
fn a_custom_page_stands_for_what_the_app_did_not_for_a_bad_request() {
    let routing = Routing {
        error_page_url: Some("E".into()),
        maintenance_page_url: Some("M".into()),
        ..Routing::default()
    };
    assert_eq!(custom(Fault::Maintenance, &routing), Some("M"));
    assert_eq!(custom(Fault::AppCrashed, &routing), Some("E"));
    assert_eq!(custom(Fault::UnknownHost, &routing), None);
    assert_eq!(custom(RequestFlaw::VersionNotSupported.into(), &routing), None);
    let only_error = Routing { maintenance_page_url: None, ..routing };
    assert_eq!(custom(Fault::Maintenance, &only_error), None);
}

#[test]
fn accept_decides_the_format() {
    use Format::{Html, Json, Text};
    for (accept, format) in [
        ("", Html),
        ("*/*", Html),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", Html),
        ("text/html, application/json", Html),
        ("application/json, text/html", Html),
        ("application/json", Json),
        ("application/json, text/plain, */*", Json),
        ("application/json;q=0.5, text/html;q=0.4", Json),
        ("application/json;q=0.4, text/html;q=0.5", Html),
        ("text/html;q=0, */*", Json),
        ("APPLICATION/JSON ; Q=1.0", Json),
        ("application/vnd.heroku+json; version=3", Json),
        ("application/problem+json", Json),
        ("application/*", Json),
        ("text/plain", Text),
        ("text/*, text/html;q=0", Text),
        ("text/plain, */*;q=0.1", Text),
        ("image/png", Html),
        ("application/json;q=0", Html),
        ("application/json;q=2, text/plain;q=0.1", Text),
        ("application/json;q=0.1234, text/plain", Text),
        (",,;;q=,/", Html),
        ("a/b;x=\"text/plain,application/json\"", Html),
    ] {
        assert_eq!(Format::preferred([accept.as_bytes()]), format, "{accept}");
    }
    assert_eq!(Format::preferred([]), Html);
    assert_eq!(Format::preferred(["text/html;q=0.1".as_bytes(), b"application/json"]), Json);
}

proptest! {
    #[test]
    fn any_accept_header_is_survived(accept in proptest::collection::vec(any::<u8>(), 0..100)) {
        Format::preferred([accept.as_slice()]);
    }

    #[test]
    fn the_order_of_ranges_does_not_matter(mut ranges in proptest::collection::vec(
        proptest::sample::select(vec![
            "text/html", "application/json;q=0.5", "text/plain;q=0.7", "*/*;q=0.6", "text/*;q=0.9", "application/*", "text/html;q=0",
        ]), 1..6,
    )) {
        let before = Format::preferred([ranges.join(",").as_bytes()]);
        ranges.reverse();
        prop_assert_eq!(Format::preferred([ranges.join(",").as_bytes()]), before);
    }
}
