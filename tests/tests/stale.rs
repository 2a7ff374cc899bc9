//! A kept connection that the dyno closes just when it is used again: who gets a second try, and with what.

use it::{Dyno, Message, Router, Wire, fakes::ok, filler};

/// A router with a kept connection, over which its dyno has got a second request and closed without an answer.
struct Closed {
    dyno: Dyno,
    router: Router,
    client: Wire,
    request: Message,
}

impl Closed {
    fn on(method: &str, body: &[u8]) -> Self {
        let dyno = Dyno::listening();
        let mut router = Router::to(dyno.address);
        let mut client = router.client();
        client.send("GET /first HTTP/1.1\r\nHost: app.test\r\n\r\n");
        let mut wire = dyno.accept();
        wire.request();
        wire.send(ok("first"));
        client.response();
        assert_eq!(router.code(), "");

        let length = body.len();
        client
            .send(format!("{method} /second HTTP/1.1\r\nHost: app.test\r\nContent-Length: {length}\r\n\r\n"));
        client.send(body);
        let request = wire.request();
        assert_eq!((request.method(), request.target()), (method, "/second"));
        Self { dyno, router, client, request }
    }

    /// The client is answered by the dyno's second connection, which gets the same request.
    fn comes_again(mut self) {
        let mut second = self.dyno.accept();
        let again = second.request();
        assert_eq!(again.head, self.request.head);
        assert!(again.body == self.request.body, "another body");
        second.send(ok("second"));
        assert_eq!(self.client.response().text(), "second");
        assert_eq!(self.router.code(), "");
    }

    fn fails(mut self) {
        assert_eq!(self.client.response().status(), 503);
        assert_eq!(self.router.code(), "H13");
        self.dyno.nobody_else_came();
    }
}

#[test]
fn a_get_on_a_stale_connection_is_repeated() {
    Closed::on("GET", b"").comes_again();
}

#[test]
fn a_put_on_a_stale_connection_is_repeated_with_its_body() {
    Closed::on("PUT", &filler(40_000)).comes_again();
}

#[test]
fn a_put_whose_body_was_too_long_to_keep_is_not_repeated() {
    Closed::on("PUT", &filler(1_000_000)).fails();
}

#[test]
fn a_post_that_was_sent_is_never_repeated() {
    Closed::on("POST", b"money").fails();
}
