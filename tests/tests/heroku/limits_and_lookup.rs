//! How long a head may be, and what there is when there is no dyno.

use busbar_registry::{Millis, WebFormation};
use it::{App, Dyno, Router, dyno::Refusing, fakes, fakes::ok, filler, message::latin1};

use super::{GET, get, is_refused, seen_by_dyno};

fn path(len: usize) -> String {
    format!("GET /{} HTTP/1.1\r\nHost: app.test\r\n\r\n", latin1(&filler(len - 1)))
}

#[test]
fn s099_a_target_of_10_000_bytes_is_414_and_one_of_8000_passes() {
    is_refused(path(10_000), 414, "");
    assert_eq!(seen_by_dyno(path(8000)).target().len(), 8000);
}

#[test]
fn s099_a_request_line_of_8192_bytes_passes_and_one_more_is_414() {
    let rest = "GET  HTTP/1.1".len();
    seen_by_dyno(path(8192 - rest));
    is_refused(path(8193 - rest), 414, "");
}

#[test]
fn s100_a_name_of_2100_bytes_is_400_and_one_of_1000_passes() {
    let field = |len| get(&format!("{}: 1\r\n", "x".repeat(len)));
    is_refused(field(2100), 400, "");
    assert_eq!(seen_by_dyno(field(1000)).get(&"x".repeat(1000)), Some("1"));
}

#[test]
fn s101_a_value_of_9100_bytes_is_400_and_one_of_8192_passes() {
    let field = |len| get(&format!("X-Long: {}\r\n", latin1(&filler(len))));
    is_refused(field(9100), 400, "");
    assert_eq!(seen_by_dyno(field(8192)).get("X-Long").map(str::len), Some(8192));
}

#[test]
fn s102_1100_headers_are_400_and_1000_pass() {
    let fields = |count| get(&(1..count).map(|n| format!("X-{n}: {n}\r\n")).collect::<String>());
    is_refused(fields(1100), 400, "");
    assert_eq!(seen_by_dyno(fields(1000)).get("X-999"), Some("999"));
}

#[test]
fn s103_connect_is_400() {
    is_refused("CONNECT http://example.com:80 HTTP/1.1\r\nHost: app.test\r\n\r\n", 400, "");
    is_refused("CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\r\n", 400, "");
}

/// The status and the code for a request to this app.
fn answer(app: App) -> (u16, String) {
    let mut router = Router::start(app);
    let mut client = router.client();
    client.send(GET);
    let status = client.response().status();
    let line = router.line();
    assert_eq!(line.number("status"), u64::from(status));
    (status, line.get("code").to_owned())
}

fn none_up(web: WebFormation) -> App {
    App { web, ..App::new([] as [std::net::SocketAddr; 0]) }
        .routed(|routing| routing.hold_timeout_ms = Millis(50))
}

#[test]
fn s105_maintenance_is_503_h80_and_no_dyno_hears_of_it() {
    let dyno = Dyno::listening();
    assert_eq!(answer(App { maintenance: true, ..App::new([dyno.address]) }), (503, "H80".into()));
    dyno.nobody_else_came();
}

#[test]
fn s106_connection_upgrade_without_upgrade_is_400() {
    is_refused(get("Connection: upgrade\r\n"), 400, "H26");
}

#[test]
fn s107_blanks_between_connection_options_are_accepted() {
    let request = seen_by_dyno(get("Connection: Upgrade Keep-Alive\r\nUpgrade: WebSocket\r\n"));
    assert!(request.connection_has("upgrade"));
    assert_eq!(request.get("Upgrade"), Some("WebSocket"));
}

#[test]
fn s108_no_web_dynos_is_503_h14() {
    assert_eq!(answer(none_up(WebFormation::default())), (503, "H14".into()));
}

#[test]
fn s108_crashed_is_503_h10() {
    assert_eq!(answer(none_up(WebFormation { quantity: 2, starting: 0, crashed: 2 })), (503, "H10".into()));
}

#[test]
fn s108_starting_for_too_long_is_503_h20() {
    assert_eq!(answer(none_up(WebFormation { quantity: 1, starting: 1, crashed: 0 })), (503, "H20".into()));
}

#[test]
fn s108_refusing_is_503_h21_and_then_quarantined_is_503_h34() {
    let refusing = Refusing::new();
    let mut router = Router::with(refusing.address, |routing| routing.hold_timeout_ms = Millis(50));
    for code in ["H21", "H34"] {
        let mut client = router.client();
        client.send(GET);
        assert_eq!(client.response().status(), 503);
        assert_eq!(router.code(), code);
    }
}

#[test]
fn s108_a_deep_backlog_is_503_h11() {
    let dyno = Dyno::listening();
    let mut router = Router::with(dyno.address, |routing| routing.in_flight_per_dyno = 1);
    let (mut first, mut second) = (router.client(), router.client());
    first.send(GET);
    let mut wire = dyno.accept();
    wire.request();
    second.send(GET);
    assert_eq!(second.response().status(), 503);
    assert_eq!(router.code(), "H11");
    wire.send(ok("first"));
    assert_eq!(first.response().text(), "first");
}

#[test]
fn s108_the_connection_limit_is_503_h22() {
    let dyno = Dyno::listening();
    let mut router = Router::with(dyno.address, |routing| routing.request_limit = 1.try_into().ok());
    let (mut first, mut second) = (router.client(), router.client());
    first.send(GET);
    let mut wire = dyno.accept();
    wire.request();
    second.send(GET);
    assert_eq!(second.response().status(), 503);
    assert_eq!(router.code(), "H22");
    wire.send(ok("first"));
    assert_eq!(first.response().text(), "first");
}

#[test]
fn s108_an_unknown_host_is_404() {
    let dyno = fakes::answers("ok");
    let mut router = Router::to(dyno.address);
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: unknown.test\r\n\r\n");
    assert_eq!(client.response().status(), 404);
    assert_eq!(router.code(), "");
}

#[test]
fn s108_a_page_tells_who_can_read_it() {
    for (accept, content_type, begins) in [
        ("text/html", "text/html; charset=utf-8", "<!DOCTYPE html>"),
        (
            "application/json",
            "application/json",
            "{\"id\":\"no_web_processes\",\"code\":\"H14\",\"status\":503,",
        ),
        ("text/plain", "text/plain; charset=utf-8", "Application error\n"),
    ] {
        let router = Router::start(none_up(WebFormation::default()));
        let mut client = router.client();
        client.send(get(&format!("Accept: {accept}\r\n")));
        let response = client.response();
        assert_eq!(response.get("Content-Type"), Some(content_type));
        assert_eq!(response.get("Cache-Control"), Some("no-cache, no-store"));
        assert!(response.text().starts_with(begins), "{}", response.text());
    }
}

#[test]
fn the_apps_own_error_page_is_framed() {
    let app = none_up(WebFormation::default()).routed(|r| r.error_page_url = Some("//e.example/?a&b".into()));
    let router = Router::start(app);
    let mut client = router.client();
    client.send(GET);
    assert!(client.response().text().contains("src=\"//e.example/?a&amp;b\""));
}
