//! What a client is told when there is no answer of a dyno's: a status of gRPC's, and the code in its message.

use std::net::SocketAddr;

use busbar_registry::{DynoProtocol, Millis};
use it::{App, Router, dyno::Refusing, fakes};

use super::{call, dyno::GrpcDyno, python::python, router};

/// What a client says about a call to this router, and the status and code in the log.
fn told(router: &mut Router, kind: &[&str]) -> Option<(String, String, String)> {
    let python = python()?;
    let said = call(&python, router.address, None, kind);
    let line = router.line();
    Some((said, line.get("status").to_owned(), line.get("code").to_owned()))
}

fn router_to(dyno: SocketAddr) -> Router {
    router(App::new([dyno]).routed(|routing| {
        routing.dyno_protocol = DynoProtocol::H2c;
        routing.connect_timeout_ms = Millis(300);
    }))
}

#[test]
fn a_dyno_that_refuses_is_unavailable_and_the_line_says_h21() {
    let Some(told) = told(&mut router_to(Refusing::new().address), &["fault"]) else { return };
    assert!(told.0.starts_with("UNAVAILABLE H21 Backend connection refused (request "), "{told:?}");
    assert_eq!((told.1.as_str(), told.2.as_str()), ("503", "H21"));
}

#[test]
fn a_dyno_that_speaks_http_1_is_unavailable_and_the_line_says_h17() {
    let dyno = fakes::answers("hello");
    let Some(told) = told(&mut router_to(dyno.address), &["fault"]) else { return };
    assert!(told.0.starts_with("UNAVAILABLE H17 "), "{told:?}");
}

#[test]
fn an_app_without_dynos_is_unavailable() {
    let none: [SocketAddr; 0] = [];
    let Some(told) = told(&mut router(App::new(none)), &["fault"]) else { return };
    assert!(told.0.starts_with("UNAVAILABLE H14 "), "{told:?}");
}

#[test]
fn a_dyno_that_is_too_late_is_deadline_exceeded() {
    let dyno = it::Dyno::listening();
    let mut router = router(App::new([dyno.address]).routed(|routing| {
        routing.dyno_protocol = DynoProtocol::H2c;
        routing.first_byte_timeout_ms = Millis(300);
    }));
    let served = std::thread::spawn(move || {
        let mut http2 = it::Http2::accept(&dyno);
        let (stream, _) = http2.request();
        assert_eq!(http2.reset_of(stream), it::http2::code::CANCEL);
    });
    if let Some(told) = told(&mut router, &["fault"]) {
        assert!(told.0.starts_with("DEADLINE_EXCEEDED H12 Request timeout"), "{told:?}");
        served.join().expect("it was cancelled");
    }
}

#[test]
fn a_dyno_that_dies_ends_its_call_and_the_next_dyno_serves() {
    let Some(python) = python() else { return };
    let (one, two) = (GrpcDyno::start(&python, "one"), GrpcDyno::start(&python, "two"));
    let mut router = router(App::new([one.address, two.address]).routed(|routing| {
        routing.dyno_protocol = DynoProtocol::H2c;
        routing.balance = busbar_registry::Balance::RoundRobin;
    }));
    assert_eq!(call(&python, router.address, None, &["who"]), "['one', 'two']");
    (0..20).for_each(|_| assert_eq!(router.code(), ""));
    let said = call(&python, router.address, None, &["fault", "die"]);
    assert!(said.starts_with("UNAVAILABLE H13 "), "{said}");
    assert_eq!(router.code(), "H13");
    let left = call(&python, router.address, None, &["who"]);
    assert!(left == "['one']" || left == "['two']", "{left}");
}
