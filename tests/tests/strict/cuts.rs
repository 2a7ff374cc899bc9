//! A message cut at any byte means the same, in both directions.

#![expect(clippy::indexing_slicing, reason = "a value that is not there fails the test")]

use it::{Dyno, Router, Wire, fakes};

/// A chunked request with extensions and trailers, and another one behind it.
const REQUESTS: &str = "POST /a?b HTTP/1.1\r\nHost: app.test\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n\
    5;x=\"y\"\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 11\r\nHost: evil\r\n\r\nGET /next HTTP/1.1\r\nHost: app.test\r\n\r\n";

/// A 103 and a chunked response with extensions and trailers.
const RESPONSE: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nX-A: b\r\n\
    Transfer-Encoding: chunked\r\n\r\n5;x=\"y\"\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 11\r\nHost: evil\r\n\r\n";

/// The two requests as the dyno sees them, without what differs from request to request.
fn echoed(client: &mut Wire) -> [serde_json::Value; 2] {
    std::array::from_fn(|_| {
        let mut seen: serde_json::Value = serde_json::from_str(&client.response().text()).expect("JSON");
        let headers = seen["headers"].as_array_mut().expect("a list");
        headers.retain(|field| field[0] != "X-Request-Id" && field[0] != "X-Request-Start");
        seen
    })
}

#[test]
fn requests_cut_at_any_byte_reach_the_dyno_as_the_same_requests() {
    let dyno = fakes::echoes();
    let router = Router::to(dyno.address);
    let mut client = router.client();
    client.send(REQUESTS);
    let whole = echoed(&mut client);
    assert_eq!((&whole[0]["body"], &whole[1]["target"]), (&"hello world".into(), &"/next".into()));
    assert_eq!(whole[0]["trailers"], serde_json::json!([["X-Sum", "11"]]));

    let mut other = router.client();
    for cut in 1..REQUESTS.len() {
        let (first, second) = REQUESTS.split_at(cut);
        client.send(first);
        router.still_serves(&mut other); // so that the router has seen the first part alone
        client.send(second);
        assert_eq!(echoed(&mut client), whole, "cut at {cut}: {first:?}");
    }
    client.drip(REQUESTS);
    assert_eq!(echoed(&mut client), whole, "byte by byte");
}

#[test]
fn a_response_cut_at_any_byte_reaches_the_client_as_the_same_response() {
    let dyno = Dyno::listening();
    let router = Router::to(dyno.address);
    let (mut client, mut other) = (router.client(), router.client());
    let request = super::get("");
    client.send(&request);
    let mut wire = dyno.accept();
    let mut exchange = |client: &mut Wire, answer: &mut dyn FnMut(&mut Wire)| {
        wire.request();
        answer(&mut wire);
        let (hints, response) = (client.head(), client.response());
        assert_eq!((hints.status(), hints.get("Link")), (103, Some("</a>")));
        (response.head.fields.clone(), response.text(), response.trailers().to_vec())
    };
    let whole = exchange(&mut client, &mut |wire| wire.send(RESPONSE));
    assert_eq!((whole.1.as_str(), whole.2.as_slice()), ("hello world", &[("X-Sum".into(), "11".into())][..]));
    for cut in 1..RESPONSE.len() {
        let (first, second) = RESPONSE.split_at(cut);
        client.send(&request);
        let got = exchange(&mut client, &mut |wire| {
            wire.send(first);
            router.still_serves(&mut other);
            wire.send(second);
        });
        assert_eq!(got, whole, "cut at {cut}: {first:?}");
    }
    client.send(&request);
    assert_eq!(exchange(&mut client, &mut |wire| wire.drip(RESPONSE)), whole, "byte by byte");
}

#[test]
fn a_refused_head_cut_at_any_byte_is_refused_the_same() {
    const BAD: &str =
        "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
    let dyno = Dyno::listening();
    let router = Router::to(dyno.address);
    let mut other = router.client();
    for cut in 1..BAD.len() {
        let (first, second) = BAD.split_at(cut);
        let mut client = router.client();
        client.send(first);
        router.still_serves(&mut other);
        client.try_send(second);
        assert_eq!(client.response().status(), 400, "cut at {cut}");
        client.is_closed();
    }
    dyno.nobody_else_came();
}
