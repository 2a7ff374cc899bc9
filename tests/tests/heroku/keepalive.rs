//! Who keeps which connection. "Off": `dyno_keepalive_ms` is 0, as Heroku's first router worked.

use it::{Dyno, Message, Router, Wire, fakes::ok, filler, router::no_keepalive};

use super::{GET, get, post};

struct Played {
    dyno: Dyno,
    router: Router,
    client: Wire,
    wire: Wire,
    request: Message,
    response: Message,
}

/// One exchange in which the client and the dyno say this in `Connection`, or nothing.
fn play(on: bool, client_says: &str, dyno_says: &str) -> Played {
    let dyno = Dyno::listening();
    let router = Router::with(dyno.address, |routing| {
        if !on {
            no_keepalive(routing);
        }
    });
    let option = |says: &str| if says.is_empty() { String::new() } else { format!("Connection: {says}\r\n") };
    let mut client = router.client();
    client.send(get(&option(client_says)));
    let mut wire = dyno.accept();
    let request = wire.request();
    wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{}\r\nok", option(dyno_says)));
    let response = client.response();
    Played { dyno, router, client, wire, request, response }
}

impl Played {
    fn dyno_was_told_to_close(self, told: bool) -> Self {
        assert_eq!(self.request.connection_has("close"), told);
        self
    }
    fn client_stays(mut self) -> Self {
        assert!(!self.response.connection_has("close"));
        self.router.still_serves(&mut self.client);
        self
    }
    fn client_closes(mut self) -> Self {
        assert!(self.response.connection_has("close"));
        self.client.is_closed();
        self
    }
    fn dyno_closes(mut self) -> Self {
        self.wire.is_closed();
        self
    }
    /// The next request comes over the same connection.
    fn dyno_stays(mut self) {
        let mut client = self.router.client();
        client.send(GET);
        self.wire.request();
        self.wire.send(ok("again"));
        assert_eq!(client.response().text(), "again");
        self.dyno.nobody_else_came();
    }
}

#[test]
fn s069_off_and_everybody_says_close() {
    play(false, "close", "close").dyno_was_told_to_close(true).client_closes().dyno_closes();
}

#[test]
fn s070_off_and_everybody_says_keep_alive() {
    play(false, "keep-alive", "keep-alive").dyno_was_told_to_close(true).client_stays().dyno_closes();
}

#[test]
fn s071_off_and_nobody_says_anything() {
    play(false, "", "").dyno_was_told_to_close(true).client_stays().dyno_closes();
}

#[test]
fn s072_off_and_the_client_says_close() {
    play(false, "close", "").dyno_was_told_to_close(true).client_closes().dyno_closes();
}

#[test]
fn s073_off_and_the_dyno_says_close() {
    play(false, "", "close").dyno_was_told_to_close(true).client_stays().dyno_closes();
}

#[test]
fn s074_on_and_the_client_says_close_is_the_clients_affair() {
    play(true, "close", "").dyno_was_told_to_close(false).client_closes().dyno_stays();
}

#[test]
fn s075_on_and_everybody_says_keep_alive() {
    play(true, "keep-alive", "keep-alive").dyno_was_told_to_close(false).client_stays().dyno_stays();
}

#[test]
fn s076_on_and_nobody_says_anything() {
    play(true, "", "").dyno_was_told_to_close(false).client_stays().dyno_stays();
}

#[test]
fn s077_on_and_the_client_says_close_the_dyno_keep_alive() {
    play(true, "close", "keep-alive").dyno_was_told_to_close(false).client_closes().dyno_stays();
}

#[test]
fn s078_on_and_the_dyno_says_close_the_next_request_gets_a_new_connection() {
    let mut played = play(true, "keep-alive", "close").client_stays().dyno_closes();
    played.client.send(GET);
    let mut wire = played.dyno.accept();
    wire.request();
    wire.send(ok("new"));
    assert_eq!(played.client.response().text(), "new");
}

#[test]
fn s080_an_http10_client_with_keep_alive_shares_the_dynos_connection() {
    let dyno = Dyno::listening();
    let router = Router::to(dyno.address);
    let mut client = router.client();
    let request = "GET / HTTP/1.0\r\nHost: app.test\r\nConnection: keep-alive\r\n\r\n";
    client.send(request);
    let mut wire = dyno.accept();
    for _ in 0..2 {
        wire.request();
        wire.send(ok("ok"));
        assert!(client.response().connection_has("keep-alive"));
        client.send(request);
    }
    wire.request();
    dyno.nobody_else_came();
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: echo\r\n";

fn upgraded() -> (Router, Wire, Wire) {
    let dyno = Dyno::listening();
    let router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(get(UPGRADE));
    let mut wire = dyno.accept();
    let request = wire.head();
    assert!(request.connection_has("upgrade"));
    assert_eq!(request.get("Upgrade"), Some("echo"));
    wire.send(format!("HTTP/1.1 101 Switching Protocols\r\n{UPGRADE}\r\n"));
    let response = client.head();
    assert_eq!(response.status(), 101);
    assert!(response.connection_has("upgrade"));
    assert_eq!(response.get("Upgrade"), Some("echo"));
    (router, client, wire)
}

#[test]
fn s081_an_upgraded_dyno_that_closes_takes_the_client_with_it() {
    let (_router, mut client, wire) = upgraded();
    drop(wire);
    client.is_closed();
}

#[test]
fn s081_an_upgraded_client_that_closes_takes_the_dyno_with_it() {
    let (_router, client, mut wire) = upgraded();
    drop(client);
    wire.is_closed();
}

#[test]
fn s082_chunked_bodies_pass_twice_over_the_same_connections() {
    let dyno = Dyno::listening();
    let router = Router::to(dyno.address);
    let mut client = router.client();
    let mut kept = None;
    for _ in 0..2 {
        client.send(super::post_chunked("5\r\nhello\r\n0\r\n\r\n"));
        let wire = kept.get_or_insert_with(|| dyno.accept());
        assert_eq!(wire.request().text(), "hello");
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
        assert_eq!(client.response().text(), "hi");
    }
    dyno.nobody_else_came();
}

#[test]
fn s083_a_body_that_ends_by_closing_closes_both() {
    let dyno = Dyno::listening();
    let router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(get("Connection: keep-alive\r\n"));
    let mut wire = dyno.accept();
    wire.request();
    wire.send("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\nto the end");
    wire.close_send();
    let response = client.response();
    assert!(response.connection_has("close"));
    assert_eq!(response.text(), "to the end");
    wire.is_closed();
}

#[test]
fn s084_a_large_body_passes_twice_over_the_same_connections() {
    let (dyno, body) = (Dyno::listening(), filler(200_000));
    let router = Router::to(dyno.address);
    let mut client = router.client();
    let mut kept = None;
    for _ in 0..2 {
        client.send(post(&format!("Content-Length: {}\r\n", body.len()), ""));
        let wire = kept.get_or_insert_with(|| dyno.accept());
        wire.head();
        for piece in body.chunks(20_000) {
            client.send(piece);
            assert_eq!(wire.exactly(piece.len()), piece);
        }
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
        assert_eq!(client.head().content_length(), Some(body.len()));
        for piece in body.chunks(20_000) {
            wire.send(piece);
            assert_eq!(client.exactly(piece.len()), piece);
        }
    }
    dyno.nobody_else_came();
}
