//! One meaning, or a refusal: what is refused on the wire, in both directions, and what passes unchanged.
//!
//! - [`framing`], [`chunks`]: where a request's body ends.
//! - [`request_head`]: request line, header lines, Host, limits.
//! - [`response_head`], [`response_framing`]: the same of what a dyno sends; a doubtful connection is never used again.
//! - [`hop_by_hop`], [`underscores`]: what goes no further. [`trust`]: whom the router believes.
//! - [`order`]: pipelining, `100 Continue`, early responses, upgrades.
//! - [`cuts`]: a message cut anywhere means the same.
//!
//! Many inputs that share one sentence stand in one table, each with a label that a failure names.

mod chunks;
mod cuts;
mod framing;
mod hop_by_hop;
mod order;
mod request_head;
mod response_framing;
mod response_head;
mod trust;
mod underscores;

use it::{App, Dyno, Router, Wire, fakes::ok, message::latin1};
use router_core::server::ServerOptions;

/// A GET with these header lines, each with its CRLF.
fn get(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: app.test\r\n{fields}\r\n")
}

/// A POST with these header lines and this body.
fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: app.test\r\n{fields}\r\n{body}")
}

/// A chunked POST with this body, its framing included.
fn post_chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", body)
}

/// A table of requests that must be refused before any dyno hears of them.
#[derive(Default)]
struct Refused(Vec<Case>);

/// One request, and how it is refused.
struct Case {
    label: String,
    request: Vec<u8>,
    status: u16,
    code: &'static str,
    cause: &'static str,
}

impl Refused {
    /// Adds requests that are refused with this status and cause, and no code.
    fn with<L: Into<String>, R: AsRef<[u8]>>(
        self,
        status: u16,
        cause: &'static str,
        cases: impl IntoIterator<Item = (L, R)>,
    ) -> Self {
        self.and(status, "", cause, cases)
    }

    /// Adds requests that are refused with this status, this code and this cause.
    fn and<L: Into<String>, R: AsRef<[u8]>>(
        mut self,
        status: u16,
        code: &'static str,
        cause: &'static str,
        cases: impl IntoIterator<Item = (L, R)>,
    ) -> Self {
        self.0.extend(cases.into_iter().map(|(label, request)| Case {
            label: label.into(),
            request: request.as_ref().to_vec(),
            status,
            code,
            cause,
        }));
        self
    }

    /// Sends each over a connection of its own, and behind it a request that is sound: it is not served.
    #[track_caller]
    fn check(self) {
        self.check_with(|_| {});
    }

    /// The same at a router that works differently.
    #[track_caller]
    fn check_with(self, change: impl FnOnce(&mut ServerOptions)) {
        let dyno = Dyno::listening();
        let mut router = Router::start_with(App::new([dyno.address]), change);
        let mut wrong = Vec::new();
        for Case { label, request, status, .. } in &self.0 {
            let mut client = router.client();
            client.try_send([request, get("").as_bytes()].concat());
            wrong.extend(not_refused(&client.rest(), *status).map(|why| format!("{label}: {why}")));
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        for Case { label, status, code, cause, .. } in &self.0 {
            let line = router.line();
            let found = (line.number("status"), line.get("code"), line.get("cause"));
            if found != (u64::from(*status), *code, *cause) {
                wrong.push(format!("{label}: logged {found:?}, not {:?}", (status, code, cause)));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        dyno.nobody_else_came();
    }
}

/// Why these bytes are not exactly one answer with this status that announces the close; `None`: they are.
fn not_refused(answers: &[u8], status: u16) -> Option<String> {
    let text = latin1(answers);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Some(format!("answered {text:?}")) };
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let sound = head.starts_with(&format!("HTTP/1.1 {status} "))
        && field("Connection:") == Some("close")
        && field("Content-Length:").and_then(|length| length.parse().ok()) == Some(body.len());
    (!sound).then(|| format!("answered {:?}", text.get(..text.len().min(300)).unwrap_or_default()))
}

/// A router, a client that has sent `request`, and the dyno's end of the connection on which it arrives.
fn sent(request: impl AsRef<[u8]>) -> (Dyno, Router, Wire, Wire) {
    let dyno = Dyno::listening();
    let router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(request);
    let wire = dyno.accept();
    (dyno, router, client, wire)
}

/// The head and body a dyno gets for this request.
fn seen_by_dyno(request: impl AsRef<[u8]>) -> it::Message {
    seen_by_dyno_of(|_| {}, request)
}

/// The same of a router that works differently.
fn seen_by_dyno_of(change: impl FnOnce(&mut ServerOptions), request: impl AsRef<[u8]>) -> it::Message {
    let dyno = Dyno::listening();
    let router = Router::start_with(App::new([dyno.address]), change);
    let mut client = router.client();
    client.send(request);
    let mut wire = dyno.accept();
    let seen = wire.request();
    wire.send(ok("ok"));
    assert_eq!(client.response().status(), 200);
    seen
}
