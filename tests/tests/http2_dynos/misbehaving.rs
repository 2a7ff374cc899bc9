//! Dynos that reset, refuse, stall, or speak something else.

use busbar_registry::Millis;
use it::{App, Dyno, Fake, Http2, Router, Wire, fakes, filler, http2::code};

use super::{GET, POST, h2c, router_to};

/// A request that has reached a dyno, and its stream there.
struct Asked {
    dyno: Dyno,
    router: Router,
    client: Wire,
    http2: Http2,
    stream: u32,
}

impl Asked {
    fn with(request: &str, change: impl FnOnce(&mut busbar_registry::Routing)) -> Self {
        let dyno = Dyno::listening();
        let router = Router::with(dyno.address, |routing| {
            h2c(routing);
            change(routing);
        });
        let mut client = router.client();
        client.send(request);
        let mut http2 = Http2::accept(&dyno);
        let (stream, ends) = http2.request();
        if !ends && request == POST {
            assert_eq!(http2.body(stream), b"hello");
        }
        Self { dyno, router, client, http2, stream }
    }

    fn of(request: &str) -> Self {
        Self::with(request, |_| {})
    }

    /// The status the client gets, and the code in the log.
    #[track_caller]
    fn ends_with(&mut self, status: u16, code: &str) {
        assert_eq!((self.client.response().status(), self.router.code().as_str()), (status, code));
    }

    /// The dyno sends a head and half of the body.
    fn half_a_response(&mut self) {
        self.http2.fields(self.stream, &[(":status", "200"), ("content-length", "10")], false);
        self.http2.data(self.stream, b"12345", false);
    }

    /// That half arrives, then the response breaks off.
    #[track_caller]
    fn breaks_off_with(&mut self, code: &str) {
        assert_eq!(self.client.head().status(), 200);
        assert_eq!((self.client.rest(), self.router.code().as_str()), (b"12345".to_vec(), code));
    }
}

#[test]
fn a_dyno_that_speaks_http_1_is_h17_and_the_line_says_so() {
    let answers = fakes::sends_and_closes("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    for dyno in [answers, Fake::new(|wire| wire.send("HTTP/1.1 400 Bad Request\r\n\r\n")), Fake::new(|_| {})]
    {
        let mut router = router_to(dyno.address);
        let mut client = router.client();
        client.send(POST);
        assert_eq!(client.response().status(), 503);
        let line = router.line();
        assert_eq!((line.get("code"), line.get("cause")), ("H17", "dyno does not speak HTTP/2"));
        router.still_serves(&mut router.client());
    }
}

#[test]
fn nothing_is_sent_before_a_dyno_has_shown_that_it_speaks_http_2_so_another_one_is_tried() {
    let (wrong, right) = (Fake::new(|_| {}), Dyno::listening());
    let mut router = Router::start(App::new([wrong.address, right.address]).routed(|routing| {
        h2c(routing);
        routing.balance = busbar_registry::Balance::RoundRobin;
    }));
    let mut client = router.client();
    client.send(POST);
    let mut http2 = Http2::accept(&right);
    for again in [true, false] {
        let (stream, _) = http2.request();
        assert_eq!(http2.body(stream), b"hello");
        http2.answer(stream, "right");
        assert_eq!(client.response().text(), "right");
        if again {
            client.send(POST);
        }
    }
    assert_eq!([router.code(), router.code()], ["", ""]);
}

#[test]
fn a_dyno_that_accepts_and_says_nothing_is_h19() {
    let dyno = fakes::says_nothing();
    let mut router = Router::with(dyno.address, |routing| {
        h2c(routing);
        routing.connect_timeout_ms = Millis(300);
    });
    let mut client = router.client();
    client.send(GET);
    assert_eq!((client.response().status(), router.code().as_str()), (503, "H19"));
}

#[test]
fn a_reset_before_the_head_is_h13_and_the_connection_goes_on() {
    let mut asked = Asked::of(POST);
    asked.http2.reset(asked.stream, code::INTERNAL_ERROR);
    asked.ends_with(503, "H13");
    let mut other = asked.router.client();
    other.send(GET);
    let (stream, _) = asked.http2.request();
    asked.http2.answer(stream, "fine");
    assert_eq!(other.response().text(), "fine");
}

#[test]
fn a_reset_after_the_head_is_h18_and_cuts_the_client() {
    let mut asked = Asked::of(GET);
    asked.half_a_response();
    asked.http2.reset(asked.stream, code::INTERNAL_ERROR);
    asked.breaks_off_with("H18");
}

#[test]
fn a_refused_stream_is_sent_again_with_its_body_whatever_its_method() {
    let mut asked = Asked::of(POST);
    asked.http2.reset(asked.stream, code::REFUSED_STREAM);
    let (again, _) = asked.http2.request();
    assert_eq!(asked.http2.body(again), b"hello");
    asked.http2.answer(again, "at last");
    asked.ends_with(200, "");
    assert_eq!(asked.router.totals().retries, 1);
}

#[test]
fn who_refuses_again_and_again_is_h13() {
    let mut asked = Asked::of(POST);
    for _ in 0..3 {
        asked.http2.reset(asked.stream, code::REFUSED_STREAM);
        (asked.stream, _) = asked.http2.request();
        asked.http2.body(asked.stream);
    }
    asked.http2.reset(asked.stream, code::REFUSED_STREAM);
    asked.ends_with(503, "H13");
}

#[test]
fn a_stream_beyond_a_goaway_is_sent_again_over_another_connection_and_those_before_it_finish() {
    let mut early = Asked::of(POST);
    let mut late = early.router.client();
    late.send(POST);
    let (beyond, _) = early.http2.request();
    early.http2.body(beyond);
    early.http2.go_away(early.stream, code::NO_ERROR);
    let mut second = Http2::accept(&early.dyno);
    let (again, _) = second.request();
    assert_eq!(second.body(again), b"hello");
    second.answer(again, "late");
    assert_eq!((late.response().text().as_str(), early.router.code().as_str()), ("late", ""));
    early.http2.answer(early.stream, "early");
    early.ends_with(200, "");
    early.http2.ends();
}

#[test]
fn a_connection_that_breaks_ends_all_its_streams_each_with_its_code() {
    let Asked { dyno: _dyno, mut router, client: mut silent, mut http2, .. } = Asked::of(POST);
    let mut begun = router.client();
    begun.send(GET);
    let (stream, _) = http2.request();
    http2.fields(stream, &[(":status", "200")], false);
    http2.data(stream, b"some", false);
    assert_eq!(begun.head().status(), 200);
    assert_eq!(begun.chunk(), b"some");
    drop(http2);
    assert_eq!(silent.response().status(), 503);
    begun.is_closed();
    let mut codes = [router.code(), router.code()];
    codes.sort();
    assert_eq!(codes, ["H13", "H18"]);
}

#[test]
fn a_malformed_response_is_h17() {
    let malformed: [&[(&str, &str)]; 4] = [
        &[(":status", "200"), ("X-Upper", "1")],
        &[(":status", "200"), ("connection", "close")],
        &[("x-no-status", "1")],
        &[(":status", "200"), ("content-length", "1"), ("content-length", "2")],
    ];
    for fields in malformed {
        let mut asked = Asked::of(GET);
        asked.http2.fields(asked.stream, fields, true);
        asked.ends_with(503, "H17");
    }
}

#[test]
fn a_body_of_another_length_than_announced_never_looks_whole() {
    for sent in ["123", "1234567890"] {
        let mut asked = Asked::of(GET);
        asked.http2.fields(asked.stream, &[(":status", "200"), ("content-length", "5")], false);
        assert_eq!(asked.client.head().status(), 200);
        asked.http2.data(asked.stream, sent.as_bytes(), true);
        assert!(asked.client.rest().len() < 5);
        assert_eq!(asked.router.code(), "H17", "{sent}");
    }
}

#[test]
fn an_oversized_cookie_is_h25() {
    let mut asked = Asked::of(GET);
    asked.http2.fields(asked.stream, &[(":status", "200"), ("set-cookie", &"x".repeat(9000))], true);
    asked.ends_with(502, "H25");
}

#[test]
fn a_silent_dyno_is_h12_and_learns_that_it_is_too_late() {
    let mut asked = Asked::with(GET, |routing| routing.first_byte_timeout_ms = Millis(200));
    asked.ends_with(503, "H12");
    assert_eq!(asked.http2.reset_of(asked.stream), code::CANCEL);
}

#[test]
fn a_connection_on_which_nothing_comes_any_more_gets_no_new_requests() {
    let mut asked = Asked::with(GET, |routing| routing.first_byte_timeout_ms = Millis(300));
    asked.ends_with(503, "H12");
    let mut client = asked.router.client();
    client.send(GET);
    let mut other = Http2::accept(&asked.dyno);
    let (stream, _) = other.request();
    other.answer(stream, "here");
    assert_eq!(client.response().text(), "here");
    assert_eq!(asked.http2.reset_of(asked.stream), code::CANCEL);
    asked.http2.ends();
}

#[test]
fn a_dyno_that_falls_silent_is_h15() {
    let mut asked = Asked::with(GET, |routing| routing.idle_timeout_ms = Millis(1000));
    asked.half_a_response();
    asked.breaks_off_with("H15");
    assert_eq!(asked.http2.reset_of(asked.stream), code::CANCEL);
}

#[test]
fn a_dyno_that_takes_no_more_of_a_body_is_h12() {
    let head = "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 200000\r\n\r\n";
    let mut asked = Asked::with(head, |routing| routing.idle_timeout_ms = Millis(2000));
    // It gives nobody leave to send more than a window.
    asked.client.try_send(filler(200_000));
    asked.ends_with(503, "H12");
    assert_eq!(asked.http2.reset_of(asked.stream), code::CANCEL);
}

#[test]
fn a_client_that_leaves_is_h27_and_its_stream_is_cancelled() {
    let Asked { dyno: _dyno, mut router, client, mut http2, stream } = Asked::of(GET);
    drop(client);
    assert_eq!(http2.reset_of(stream), code::CANCEL);
    assert_eq!(router.code(), "H27");
}

#[test]
fn a_post_on_a_connection_that_breaks_is_never_repeated() {
    let mut asked = Asked::of(GET);
    asked.http2.answer(asked.stream, "first");
    asked.ends_with(200, "");
    asked.client.send(POST);
    let (stream, _) = asked.http2.request();
    asked.http2.body(stream);
    let Asked { dyno, mut router, mut client, http2, .. } = asked;
    drop(http2);
    assert_eq!((client.response().status(), router.code().as_str()), (503, "H13"));
    dyno.nobody_else_came();
}

#[test]
fn a_get_on_a_connection_that_breaks_is_repeated_over_another_one() {
    let mut asked = Asked::of(GET);
    asked.http2.answer(asked.stream, "first");
    asked.ends_with(200, "");
    asked.client.send(GET);
    asked.http2.request();
    let Asked { dyno, mut router, mut client, http2, .. } = asked;
    drop(http2);
    let mut http2 = Http2::accept(&dyno);
    let (stream, _) = http2.request();
    http2.answer(stream, "again");
    assert_eq!((client.response().text().as_str(), router.code().as_str()), ("again", ""));
}
